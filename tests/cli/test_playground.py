"""her/cli/playground.py: what the commands print, and one line on stderr for every HerError."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from her.cli import app
from her.config import Settings
from tests.cli.commands import her

BUNDLED_PERSONAS = Path(__file__).resolve().parents[2] / "personas"
PERSONA = "name: Elara\nprofile: Keeps the light.\ncolour: '#5b3a29'\n"


def test_personas_are_listed(tmp_path: Path) -> None:
    (tmp_path / "elara.yaml").write_text(PERSONA + "tagline: Keeps the light\n", "utf-8")
    assert her("personas", "list", str(tmp_path)).stdout.split() == ["elara", "en", "Elara:", "Keeps", "the", "light"]


def test_personas_are_validated(tmp_path: Path) -> None:
    (tmp_path / "elara.yaml").write_text(PERSONA, "utf-8")
    answer = her("personas", "validate", str(tmp_path))
    assert (answer.exit_code, answer.stdout.splitlines()[-1]) == (0, "1 personas and 0 scenes, no problems")


def test_problems_of_personas_and_scenes_are_printed_and_exit_1(tmp_path: Path) -> None:
    (tmp_path / "elara.yaml").write_text(PERSONA + "greeting: ''\n", "utf-8")
    (tmp_path / "scenes").mkdir()
    (tmp_path / "scenes" / "supper.yaml").write_text("title: Supper\nsetting: A room.\npersonas: [nobody]\n", "utf-8")
    answer = her("personas", "validate", str(tmp_path))
    assert answer.exit_code == 1
    assert answer.stdout.splitlines() == [
        "persona 'elara.yaml': field 'greeting' is empty (line 4); write one line or delete it",
        "scene 'supper.yaml': field 'personas' names 'nobody', but there is no 'nobody.yaml'; correct or delete it",
    ]


@pytest.mark.parametrize("command", ["list", "validate"])
def test_an_error_is_one_line_and_exit_2(tmp_path: Path, command: str) -> None:
    answer = her("personas", command, str(tmp_path))
    assert answer.exit_code == 2
    assert answer.stdout == ""
    assert answer.stderr.startswith("her: no persona files")
    assert answer.stderr.count("\n") == 1


@pytest.mark.whole
def test_the_bundled_personas_are_valid() -> None:
    answer = her("personas", "validate")
    assert answer.exit_code == 0, answer.stdout
    assert len(answer.stdout.splitlines()) == len(list(BUNDLED_PERSONAS.glob("*.yaml"))) + 1


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
    answer = CliRunner().invoke(app, ["play", *words])
    assert (answer.exit_code, opened) == (0, [settings]), answer.output


def test_there_is_no_share_option() -> None:
    answer = her("play", "--share")
    assert answer.exit_code == 2
    assert "No such option" in answer.stderr


def test_a_missing_book_stops_play(tmp_path: Path) -> None:
    answer = her("play", "--port", "0", "--scenes", str(tmp_path / "none.json"))
    assert answer.exit_code == 2
    assert answer.stderr == "her: book 'none.json': cannot be read (No such file or directory)\n"


def test_statistics_without_ratings_are_json() -> None:
    answer = her("ratings", "stats")
    assert answer.exit_code == 0, answer.output
    assert isinstance(json.loads(answer.stdout), dict)


@pytest.mark.parametrize("form", ["jsonl", "sft", "preference", "kto"])
def test_an_export_without_ratings_is_an_empty_file(tmp_path: Path, form: str) -> None:
    out = tmp_path / "folder" / "out.jsonl"
    answer = her("ratings", "export", "--format", form, "--out", str(out))
    assert answer.exit_code == 0, answer.output
    assert out.read_text("utf-8") == ""
    assert answer.stderr == f"{out}: 0 lines\n"
    assert her("ratings", "export", "--format", form, "--out", "-").exit_code == 0


def test_an_export_that_cannot_be_written_keeps_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept", "utf-8")
    answer = her("ratings", "export", "--format", "sft", "--out", str(tmp_path / "file" / "out.jsonl"))
    assert answer.exit_code == 2
    assert "cannot be written" in answer.stderr
    assert (tmp_path / "file").read_text("utf-8") == "kept"


@pytest.mark.whole
def test_backends_are_checked() -> None:
    answer = her("backends", "check", "scripted:")
    assert answer.exit_code == 0, answer.output
    assert answer.stdout.count("\n") == 1
    assert her("backends", "check", "nonsense:x").exit_code == 2
    assert her("backends", "check", "openai:http://127.0.0.1:9/v1#m").exit_code == 2


def test_a_space_is_listed_exactly() -> None:
    if shutil.which("git") is None:
        pytest.fail("git is needed to list what a Space gets")
    answer = her("space", "deploy", "ada/her", "--dry-run")
    assert answer.exit_code == 0, answer.output
    *files, hardware, last = answer.stdout.splitlines()
    assert f"{len(files)} files" in last and hardware.startswith("hardware  as it is")
    assert any(line.endswith("  app.py") for line in files)


def test_a_space_needs_a_name_and_a_token() -> None:
    assert "is not the name of a Space" in her("space", "deploy", "her", "--dry-run").stderr
