"""her/config.py: what words mean, where paths start, one sentence for each mistake, and TOML out."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, model_validator

from her.config import dump, load
from her.errors import InputError
from her.runs.pipelines import PIPELINES, pipeline_options
from her.types import Value


class Part(Value):
    rate: float = 0.5
    words: tuple[str, ...] = ()
    folder: Path | None = None


class Settings(Value):
    name: str = "run"
    count: int = Field(default=1, ge=1)
    flag: bool = False
    books: tuple[Path, ...] = ()
    part: Part = Part()
    prices: dict[str, float] = {}


def test_words_win_over_files_and_later_words_over_earlier(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text('name = "filed"\ncount = 3\n[part]\nrate = 0.25\nwords = ["x"]\n')
    settings, dry = load(Settings, [f"@{file}", "count=4", "part.rate=1", "count=5", "--dry-run"])
    assert (settings.name, settings.count, settings.part, dry) == ("filed", 5, Part(rate=1, words=("x",)), True)


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("name=plain", "plain"),
        ("name=two words", "two words"),
        ('name="3"', "3"),
        ("name=a=b", "a=b"),
        ("name=", ""),
        ("name=2026-11-21", "2026-11-21"),
    ],
)
def test_a_text_needs_no_quotes(word: str, name: str) -> None:
    assert load(Settings, [word])[0].name == name


def test_paths_of_a_file_start_at_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.toml").write_text('books = ["b.txt", "/c.txt"]\n[part]\nfolder = "f"\n')
    monkeypatch.chdir(tmp_path)
    filed, _ = load(Settings, ["@deep/a.toml"])
    assert filed.books == (tmp_path / "deep" / "b.txt", Path("/c.txt"))
    assert filed.part.folder == tmp_path / "deep" / "f"
    assert load(Settings, ['books=["b.txt"]'])[0].books == (tmp_path / "b.txt",)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["cuont=3"], r"no setting 'cuont'; did you mean 'count'\? There are books, count, flag"),
        (["part.rat=3"], r"no setting 'part\.rat'; did you mean 'part\.rate'\? There are folder, rate, words$"),
        (["rate=3"], r"no setting 'rate'; did you mean 'part\.rate'\? There are books, count"),
        (["rates=3"], r"no setting 'rates'; did you mean 'part\.rate'\? There are books, count"),
        (["part.count=3"], r"no setting 'part\.count'; did you mean 'count'\? There are folder, rate, words$"),
        (["zzz=3"], r"no setting 'zzz'; there are books, count, flag"),
        (["count=0"], r"'count' is 0; it should be greater"),
        (["part=3"], r"'part' is 3, but it is a table; write part\.KEY=\.\.\., with KEY one of folder, rate, words$"),
        (["part.words=x"], r"'part\.words' is 'x', but it is a list; write part\.words=\[\"x\"\]$"),
        (["part.rate=[]"], r"'part\.rate' is \[\]; it should be a valid"),
        (["runs/first.toml"], r"'runs/first\.toml' is not a setting; write @runs/first\.toml$"),
        (["count=many"], r"'count' is 'many'"),
        (["part.rate=inf"], r"'part\.rate' is inf; give a finite number"),
        (["part.rate=-nan"], r"'part\.rate' is nan; give a finite number"),
        (["--dryrun"], r"'--dryrun' is not a setting"),
        (["@absent.toml"], r"absent\.toml' cannot be read"),
    ],
)
def test_a_mistake_is_one_sentence(words: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        load(Settings, words)


def test_a_misspelt_setting_is_reported_before_the_one_it_leaves_missing() -> None:
    class Needy(Value):
        samples: str

    with pytest.raises(InputError, match="no setting 'sampels'; did you mean 'samples'"):
        load(Needy, ["sampels=x"])


def test_a_path_may_begin_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    settings, _ = load(Settings, ['books=["~/a.txt", "~nobody-of-that-name/b.txt"]', "part.folder=~/f"])
    assert settings.books == (tmp_path / "a.txt", Path.cwd() / "~nobody-of-that-name" / "b.txt")
    assert settings.part.folder == tmp_path / "f"


class Bounds(Value):
    least: int = 0
    most: int = 0

    @model_validator(mode="after")
    def _ordered(self) -> "Bounds":
        if self.least >= self.most:
            raise ValueError(f"nothing lies between bounds.least={self.least} and bounds.most={self.most}")
        return self


class Bounded(Value):
    bounds: Bounds


class Named(Value):
    name: str


class Naming(Value):
    named: Named


@pytest.mark.parametrize(
    ("model", "words", "message"),
    [
        (Bounded, [], "nothing lies between bounds.least=0 and bounds.most=0"),
        (Bounded, ["bounds.least=3"], "nothing lies between bounds.least=3 and bounds.most=0"),
        (Naming, [], "table 'named' is missing; write named.KEY=..., with KEY one of name"),
        (Naming, ["named={}"], "setting 'named.name' is missing; write named.name=..."),
    ],
)
def test_a_table_says_itself_what_is_wrong_with_it(model: type[Value], words: list[str], message: str) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        load(model, words)


def test_a_date_in_a_file_wants_quotes(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("name = 2026-11-21\n")
    with pytest.raises(InputError, match="setting 'name' is 2026-11-21, which TOML reads as a date or time; write it in quotes"):
        load(Settings, [f"@{tmp_path / 'a.toml'}"])


def test_a_file_that_is_no_toml_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_bytes(b"\xff\x00")
    with pytest.raises(InputError, match=r"a\.toml' is not TOML"):
        load(Settings, [f"@{tmp_path / 'a.toml'}"])


@given(
    st.builds(
        Settings,
        name=st.text(st.characters(exclude_categories=["Cs"])),
        count=st.integers(1, 9),
        flag=st.booleans(),
        part=st.builds(Part, rate=st.floats(allow_nan=False, allow_infinity=False), words=st.tuples(st.text('a"\n\\é\x7f'))),
        prices=st.dictionaries(st.text('a."é -', min_size=1), st.floats(0, 9)),
    )
)
@settings(max_examples=40)
def test_what_is_dumped_loads_as_the_same(tmp_path_factory: pytest.TempPathFactory, settings: Settings) -> None:
    file = tmp_path_factory.mktemp("dump") / "c.toml"
    file.write_text(dump(settings), encoding="utf-8")
    assert load(Settings, [f"@{file}"])[0] == settings


def optional_fields(model: type[BaseModel]) -> Iterator[tuple[str, Any]]:
    """Names and defaults of the fields that may be None, tables included."""
    for name, field in model.model_fields.items():
        kinds = get_args(field.annotation)
        if type(None) in kinds:
            yield f"{model.__name__}.{name}", field.get_default(call_default_factory=True)
        for kind in (field.annotation, *kinds):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from optional_fields(kind)


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_none_is_left_out_only_where_it_is_the_default(pipeline: str) -> None:
    """TOML has no None, so `dump` leaves it out; loading then gives the default, which has to be None."""
    assert [name for name, default in optional_fields(pipeline_options(pipeline)) if default is not None] == []
