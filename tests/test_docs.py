"""Check the pages: every command exists and parses, every link leads somewhere, every file that is named exists."""

import importlib.util
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main
from typer import Context

from her.cli import app
from tests.sources import sources

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
    for inline in re.findall(r"`((?:her|make|python3?|pip) [^`]+)`", prose(page)):
        yield from split(f"{page.name}: {inline}", inline)


def prose(page: Path) -> str:
    """Return a page without its fenced blocks."""
    return re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)


def split(place: str, line: str) -> Iterator[tuple[str, list[str]]]:
    """The commands of one line, without comments, assignments and what follows a pipe."""
    for part in re.split(r"\s&&\s|\s;\s", line):
        words = shlex.split(part.split(" | ")[0], comments=True)
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            words.pop(0)
        if words:
            yield place, words


COMMANDS = [command for page in PAGES for command in commands(page)]
OTHERS = ("git", "cd")
"""Programs that are not ours to check."""


def test_every_command_exists_and_parses() -> None:
    wrong = [f"{place}: {reason}" for place, words in COMMANDS if (reason := fault(words))]
    assert not wrong, "\n".join(wrong)


def fault(words: list[str]) -> str:
    """Return why a command would fail, or an empty text."""
    program = words[0].rpartition("/")[2] if words[0] != ".ci/run" else words[0]
    check = CHECKS.get(program)
    if check is None:
        return "" if program in OTHERS else f"{program} is not known here; teach this test, or write it otherwise"
    try:
        check(words[1:])
    except Exception as error:  # click raises its own errors, the checks raise AssertionError: both say what is wrong
        return str(error) or type(error).__name__
    return ""


def check_her(words: list[str]) -> None:
    """Click resolves the subcommand and reads its options; nothing runs."""
    for word in words:
        if word.startswith(("@pipelines/", "pipelines/")):
            assert (ROOT / word.removeprefix("@")).is_file(), f"there is no {word}"
    command, context = typer.main.get_command(app), None
    while hasattr(command, "commands"):
        if not words and command.invoke_without_command:
            return
        if hasattr(command, "with_command"):  # a group whose first word may be an argument of its usual command
            words = command.with_command(words)
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


CHECKS = {
    "her": check_her,
    "make": check_make,
    "python": check_python,
    "python3": check_python,
    "pip": check_pip,
    ".ci/run": check_ci,
}


@pytest.mark.parametrize(
    "wrong", ["her personas vaildate", "her play --prot 1", "make paly", "python -m her.nothing", "docker run x"]
)
def test_a_wrong_command_is_found(wrong: str) -> None:
    assert fault(shlex.split(wrong))


def test_the_readme_says_how_to_begin() -> None:
    texts = {" ".join(words) for place, words in COMMANDS if place.startswith("README.md")}
    assert {"make play", "make test", "python3 -m venv .venv"} <= texts


def test_every_link_leads_somewhere() -> None:
    missing = [
        f"{page.name}: {target}"
        for page in PAGES
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text("utf-8"))
        if not (page.parent / target).exists()
    ]
    assert not missing, "\n".join(missing)


def test_every_name_in_a_linked_file_is_there() -> None:
    """`NAME` in [file](file): a page must not send a reader to a name that has moved."""
    missing = [
        f"{page.name}: {name} in {target}"
        for page in PAGES
        for name, target in re.findall(r"`(\w+)` in \[[^]]+\]\(([^)#]+)", page.read_text("utf-8"))
        if not re.search(rf"\b{name}\b", (page.parent / target).read_text("utf-8"))
    ]
    assert not missing, "\n".join(missing)


def test_every_file_that_is_named_exists() -> None:
    """In the pages, docstrings and comments: a file of the repository, or one whose name the code writes or reads."""
    files, literals = repository_files(), written_names()
    lost = [
        f"{place}: {name}"
        for place, text in texts_about_files()
        for name in FILE_NAME.findall(text)
        if not is_known(name, Path(place).parent, files, literals)
    ]
    assert not lost, "\n".join(sorted(set(lost)))


FILE_NAME = re.compile(r"(?<![\w/*}~.])[\w@][\w@./-]*[a-z\d]\.(?:py|md|toml|jsonl?|html|yaml|jinja|js|css)\b(?![\w/(.])")
PLACEHOLDER = re.compile(r"\b[A-Z]{4,}(?=[._])")
"""A part of a name that stands for any, such as STAGE or NNNN."""
OUTSIDE = {
    "HER_dataset_full_info.jsonl": "a file of the published HER data set",
    "test_set.json": "the test set of CoSER",
    "trl/kernels/chunked_logprob.py": "a file of trl",
    "trl/trainer/utils.py": "a file of trl",
    "utils/fsdp_utils.py": "a file of accelerate",
}
"""Names of files that are neither in the repository nor written by it."""


def is_known(name: str, folder: Path, files: set[str], literals: str) -> bool:
    plain = name.removeprefix("@").removeprefix("./")
    ends = f"/{plain}"
    return (
        plain in OUTSIDE
        or PLACEHOLDER.search(plain) is not None
        or any(f"/{file}".endswith(ends) for file in files)
        or (ROOT / folder / plain).exists()
        or ("/" not in plain and plain in literals)
    )


def repository_files() -> set[str]:
    """Names relative to the root of what git would add."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    return set(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines())


def written_names() -> str:
    """All string literals of the program that are not docstrings, in one text."""
    return "\n".join(literal for source in sources("her", "pipelines", "benchmarks", "tests") for literal in source.literals)


def texts_about_files() -> Iterator[tuple[str, str]]:
    """(file, text) of every page without its blocks of commands, and of every docstring and comment."""
    for page in PAGES:
        yield (
            page.relative_to(ROOT).as_posix(),
            re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL),
        )
    for source in sources("her", "app.py", "pipelines", "benchmarks", "tests", "tools"):
        yield from ((source.name, text) for text in source.docstrings)
        # To find comments takes long, so it is done only where one may name a file.
        if any(map(FILE_NAME.search, re.findall(r"#.*", source.text))):
            yield from ((source.name, text) for text in source.comments)
