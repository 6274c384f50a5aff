"""her/cli: what the commands print, and one line on stderr for every HerError."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from her import __version__
from her.cli import app
from her.config import Settings

YOURS = Path(__file__).resolve().parent.parent / "personas"
PERSONA = "name: Elara\nprofile: Keeps the light.\ncolour: '#5b3a29'\n"


def her(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def test_version() -> None:
    assert her("version").stdout == f"her {__version__}\n"


def test_no_words_are_answered_with_help() -> None:
    said = her().output
    assert all(name in said for name in ("play", "personas", "ratings", "space", "backends"))


@pytest.mark.parametrize("words", [("run", "sft"), ("run", "synthesize"), ("estimate",)])
def test_a_run_without_settings_is_answered_with_a_file_that_is_there(words: tuple[str, ...]) -> None:
    said = her(*words)
    assert (said.exit_code, said.stderr.count("\n")) == (2, 1)
    named = next(word.removeprefix("@") for word in said.stderr.split() if word.endswith(".toml"))
    assert (YOURS.parent / named).is_file()


def test_personas_are_listed(tmp_path: Path) -> None:
    (tmp_path / "elara.yaml").write_text(PERSONA + "tagline: Keeps the light\n", "utf-8")
    assert her("personas", "list", str(tmp_path)).stdout.split() == ["elara", "en", "Elara:", "Keeps", "the", "light"]


def test_personas_are_validated(tmp_path: Path) -> None:
    (tmp_path / "elara.yaml").write_text(PERSONA, "utf-8")
    said = her("personas", "validate", str(tmp_path))
    assert (said.exit_code, said.stdout.splitlines()[-1]) == (0, "1 personas and 0 scenes, no problems")


def test_problems_of_personas_and_scenes_are_printed_and_exit_1(tmp_path: Path) -> None:
    (tmp_path / "elara.yaml").write_text(PERSONA + "greeting: ''\n", "utf-8")
    (tmp_path / "scenes").mkdir()
    (tmp_path / "scenes" / "supper.yaml").write_text("title: Supper\nsetting: A room.\npersonas: [nobody]\n", "utf-8")
    said = her("personas", "validate", str(tmp_path))
    assert said.exit_code == 1
    assert said.stdout.splitlines() == [
        "persona 'elara.yaml': field 'greeting' is empty (line 4); write one line or delete it",
        "scene 'supper.yaml': field 'personas' names 'nobody', but there is no 'nobody.yaml'; correct or delete it",
    ]


@pytest.mark.parametrize("command", ["list", "validate"])
def test_an_error_is_one_line_and_exit_2(tmp_path: Path, command: str) -> None:
    said = her("personas", command, str(tmp_path))
    assert said.exit_code == 2
    assert said.stdout == ""
    assert said.stderr.startswith("her: no persona files")
    assert said.stderr.count("\n") == 1


def test_the_house_validates_itself() -> None:
    said = her("personas", "validate")
    assert said.exit_code == 0, said.stdout
    assert len(said.stdout.splitlines()) == len(list(YOURS.glob("*.yaml"))) + 1


@pytest.mark.parametrize(
    ("words", "settings"),
    [
        ([], Settings()),
        (["--port", "0", "--host", "0.0.0.0"], Settings(port=0, host="0.0.0.0")),
        (["--scenes", "a.json", "--scenes", "b.json"], Settings(scenes=("a.json", "b.json"))),
        (["--backend", "scripted:", "--allow-visitor-urls"], Settings(backend="scripted:", allow_visitor_urls=True)),
    ],
)
def test_play_opens_with_these_settings(monkeypatch: pytest.MonkeyPatch, words: list[str], settings: Settings) -> None:
    import her.ui.build

    opened: list[Settings] = []
    monkeypatch.setattr(her.ui.build, "launch", opened.append)
    said = CliRunner().invoke(app, ["play", *words])
    assert (said.exit_code, opened) == (0, [settings]), said.output


def test_there_is_no_share_option() -> None:
    said = her("play", "--share")
    assert said.exit_code == 2
    assert "No such option" in said.stderr


def test_a_book_that_is_none_stops_play(tmp_path: Path) -> None:
    said = her("play", "--port", "0", "--scenes", str(tmp_path / "none.json"))
    assert said.exit_code == 2
    assert said.stderr == "her: book 'none.json': cannot be read (No such file or directory)\n"


def test_statistics_of_nothing_are_json() -> None:
    said = her("ratings", "stats")
    assert said.exit_code == 0, said.output
    assert isinstance(json.loads(said.stdout), dict)


@pytest.mark.parametrize("form", ["jsonl", "sft", "preference", "kto"])
def test_an_export_of_nothing_is_an_empty_file(tmp_path: Path, form: str) -> None:
    out = tmp_path / "folder" / "out.jsonl"
    said = her("ratings", "export", "--format", form, "--out", str(out))
    assert said.exit_code == 0, said.output
    assert out.read_text("utf-8") == ""
    assert said.stderr == f"{out}: 0 lines\n"
    assert her("ratings", "export", "--format", form, "--out", "-").exit_code == 0


def test_an_export_that_cannot_be_written_keeps_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept", "utf-8")
    said = her("ratings", "export", "--format", "sft", "--out", str(tmp_path / "file" / "out.jsonl"))
    assert said.exit_code == 2
    assert "cannot be written" in said.stderr
    assert (tmp_path / "file").read_text("utf-8") == "kept"


def test_backends_are_checked() -> None:
    said = her("backends", "check", "scripted:")
    assert said.exit_code == 0, said.output
    assert said.stdout.count("\n") == 1
    assert her("backends", "check", "nonsense:x").exit_code == 2
    assert her("backends", "check", "openai:http://127.0.0.1:9/v1#m").exit_code == 2


def test_a_space_is_listed_exactly() -> None:
    if shutil.which("git") is None:
        pytest.fail("git is needed to list what a Space gets")
    said = her("space", "deploy", "ada/her", "--dry-run")
    assert said.exit_code == 0, said.output
    *files, last = said.stdout.splitlines()
    assert f"{len(files)} files" in last
    assert any(line.endswith("  app.py") for line in files)


def test_a_space_needs_a_name_and_a_token() -> None:
    assert "is not the name of a Space" in her("space", "deploy", "her", "--dry-run").stderr


def test_principles_are_listed_and_validated(tmp_path: Path) -> None:
    listed = her("principles", "list", "--language", "zh")
    assert listed.exit_code == 0 and "人物塑造" in listed.stdout and "no-mind-reading" in listed.stdout
    assert her("principles", "validate").stdout.endswith("principles, no problems\n")
    (tmp_path / "layers.yaml").write_text("en: Layers\nzh: 层次\nprinciples: []\n", "utf-8")
    broken = her("principles", "validate", str(tmp_path))
    assert broken.exit_code == 1 and "dimension 'layers' has no principle" in broken.stdout
