"""Every command in the pages a newcomer reads exists and parses: make targets, `her ...`, python modules, pip extras."""

import importlib.util
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main
from typer import Context

from her.cli import app

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "spaces" / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SHELLS = ("bash", "sh", "console", "shell")


def commands(page: Path) -> Iterator[tuple[str, list[str]]]:
    """(place, words) of every shell line in a fenced block, and of every inline `her ...`, `make ...` or `python ...`."""
    text = page.read_text("utf-8")
    for block in re.finditer(r"^```(\w+)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        if block[1] in SHELLS:
            for line in block[2].replace("\\\n", " ").splitlines():
                yield from split(f"{page.name}: {line}", line.removeprefix("$ "))
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    for inline in re.findall(r"`((?:her|make|python3?|pip) [^`]+)`", prose):
        yield from split(f"{page.name}: {inline}", inline)


def split(place: str, line: str) -> Iterator[tuple[str, list[str]]]:
    """The commands of one line, without comments, assignments and what follows a pipe."""
    for part in re.split(r"\s&&\s|\s;\s", line):
        words = shlex.split(part.split(" | ")[0], comments=True)
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            words.pop(0)
        if words:
            yield place, words


COMMANDS = [command for page in PAGES for command in commands(page)]


@pytest.mark.parametrize(("place", "words"), COMMANDS, ids=[place for place, _ in COMMANDS])
def test_a_command_exists_and_parses(place: str, words: list[str]) -> None:
    program = words[0].rpartition("/")[2] if words[0] != ".ci/run" else words[0]
    check = {
        "her": check_her,
        "make": check_make,
        "python": check_python,
        "python3": check_python,
        "pip": check_pip,
        ".ci/run": check_ci,
    }.get(program)
    assert check is not None or program in ("git", "cd"), f"{program} is not known here; teach this test, or write it otherwise"
    if check is not None:
        check(words[1:])


def check_her(words: list[str]) -> None:
    """Click resolves the subcommand and reads its options; nothing runs."""
    for word in words:
        if word.startswith(("@pipelines/", "pipelines/")):
            assert (ROOT / word.removeprefix("@")).is_file(), f"there is no {word}"
    command, context = typer.main.get_command(app), None
    while hasattr(command, "commands"):
        if not words and command.invoke_without_command:
            return
        assert words and words[0] in command.commands, f"no command {words[:1]}; there are {sorted(command.commands)}"
        context = Context(command, parent=context, info_name=command.name)
        command, words = command.commands[words[0]], words[1:]
    command.make_context(command.name, list(words), parent=context)


def check_make(words: list[str]) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    assert words and set(words) <= targets


def check_python(words: list[str]) -> None:
    if words[:1] == ["-m"]:
        assert importlib.util.find_spec(words[1]) is not None
    else:
        assert (ROOT / words[0]).is_file()


def check_pip(words: list[str]) -> None:
    assert words[0] == "install"
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    for word in words[1:]:
        assert not word.startswith("her"), "that name is another's package on PyPI; write -e '.[EXTRA]'"
        if named := re.fullmatch(r"\.\[(.+)\]", word):
            assert set(named[1].split(",")) <= extras.keys()


def check_ci(words: list[str]) -> None:
    assert not words
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111


def test_the_pages_say_how_to_begin() -> None:
    said = {" ".join(words) for place, words in COMMANDS if place.startswith("README.md")}
    assert {"make play", "make test", "python3 -m venv .venv", ".venv/bin/pip install -e ."} <= said


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_pictures_are_there(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
        assert (page.parent / target).exists(), f"{page.name} points to {target}, which is not there"


@pytest.mark.parametrize("wrong", ["her personas vaildate", "her play --prot 1", "her ratings export --format csv --out x"])
def test_a_wrong_command_would_be_found(wrong: str) -> None:
    with pytest.raises(Exception, match=r"no command|No such option|is not one of"):
        check_her(shlex.split(wrong)[1:])
