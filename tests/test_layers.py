"""The walls of the house, read from the syntax trees: floors, who may import what, names, and no work at import.

A wall that bites is changed here, in one commit that says why.
"""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FLOORS = {
    1: "types errors",
    2: "paths tokens files format prompts",
    3: "config store characters capacity rewards statistics",
    4: "view backends runs feedback",
    5: "inference training_data chat deploy",
    6: "rollouts judging",
    7: "ui",
    8: "cli",
}
FLOOR = {name: floor for floor, names in FLOORS.items() for name in names.split()}
MODEL_LIBRARY = "pipelines.models"
PLUGINS = ("her/backends/vllm_reasoning.py",)
"""Loaded by vLLM in its own processes, never by the house: the class it asks for can only be made from one of its own."""
MODEL_PACKAGES = {"torch", "transformers", "trl", "peft", "vllm", "accelerate", "datasets", "safetensors"}
WALLS = {
    "gradio": ("her/ui/", "app.py"),
    "gradio_client": (),
    "spaces": ("her/ui/", "her/backends/local.py", "app.py"),
    "sqlalchemy": ("her/store/",),
    "alembic": ("her/store/",),
    "ray": ("her/inference/ray.py",),
    **dict.fromkeys(MODEL_PACKAGES, ("her/backends/local.py", "her/backends/vllm_engine.py", *PLUGINS, "pipelines/")),
}
DISTRIBUTIONS = {
    "json_repair": "json-repair",
    "yaml": "pyyaml",
    "huggingface_hub": "huggingface-hub",
    "gradio_client": "gradio-client",
}
PROVIDED = {
    "httpx2": "openai",
    "jinja2": "gradio",
    "markupsafe": "gradio",
    "packaging": "huggingface-hub",
    "pydantic_core": "pydantic",
    "rich": "typer",
    "spaces": "gradio",
    "starlette": "gradio",
}
"""Packages that come with a dependency which cannot do without them; `spaces` only on a Space."""
TAGS = re.compile(r"</?(system_thinking|role_thinking|role_action|system_think|role_think|think|thinking)\b")
TAG_HOMES = "her/format/"
BANNED = {"data", "info", "result", "process", "handle", "utils", "helpers", "common", "manager"}
BANNED_IN_FILES = {"final", "new", "v2", "fixed"}
AT_IMPORT = {
    "re.compile frozenset tuple dict list set sorted map max min getattr float range len enumerate zip",
    "logging.getLogger TypeVar ParamSpec NewType namedtuple TypeAdapter ConfigDict Field StringConstraints",
    "typer.Typer typer.Option typer.Argument MetaData Table Column Index ForeignKey UniqueConstraint CheckConstraint",
    "_key _at _to _seq",
    "dict.fromkeys MappingProxyType str.maketrans chr ord field dataclass ContextVar object",
}
TEXT_METHODS = {"split", "strip", "join", "items", "keys", "values", "lower", "encode", "removeprefix", "union", "resolve"}
REGISTRATIONS = {"add_typer"}
MIGRATIONS = "her/store/migrations/"
"""Written once, run by Alembic at import, and never touched again: as long as the tables are."""
LONGEST_FUNCTION, LONGEST_FILE = 50, 400
TALKED_ABOUT = {"her/format/parser.py": 450}
"""Files that may be longer, up to here. The parser is one state machine: every split so far passed its whole state about."""


@cache
def files(*folders: str) -> tuple[Path, ...]:
    """Python files of folders (or single files) of the repository."""
    found = [
        path for folder in folders for path in ([ROOT / folder] if folder.endswith(".py") else (ROOT / folder).rglob("*.py"))
    ]
    return tuple(sorted(path for path in found if path.is_file()))


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def module_of(path: Path) -> str:
    return name_of(path).removesuffix(".py").removesuffix("/__init__").replace("/", ".")


HOUSE = files("her", "app.py")
PROGRAM = files("her", "app.py", "pipelines", "benchmarks")
KEPT = tuple(path for path in PROGRAM if not name_of(path).startswith(MIGRATIONS))
EVERYTHING = files("her", "app.py", "pipelines", "benchmarks", "tests")


def imports(path: Path) -> Iterator[tuple[str, ast.stmt]]:
    """Every module a file imports, wherever it does: `from her import paths` gives `her.paths`."""
    package = module_of(path) if path.name == "__init__.py" else module_of(path).rpartition(".")[0]
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join(filter(None, [*package.split(".")[: len(package.split(".")) - node.level + 1], base]))
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                yield (inner if is_module(inner) else base), node


@cache
def is_module(name: str) -> bool:
    path = ROOT / name.replace(".", "/")
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def room(module: str) -> str:
    """The room of a module of the house: `her.store.tables` is in `store`."""
    return module.split(".")[1] if module.count(".") else module


def inside_function(path: Path) -> set[ast.stmt]:
    """The statements that run only when a function is called, or only for the type checker."""
    lazy: set[ast.stmt] = set()
    for node in ast.walk(tree(path)):
        checked = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        if checked or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            lazy |= {child for child in ast.walk(node) if isinstance(child, ast.stmt)}
    return lazy


def test_every_module_has_a_floor() -> None:
    homeless = {room(module_of(path)) for path in files("her")} - FLOOR.keys() - {"her"}
    assert not homeless, f"give these a floor in FLOORS: {sorted(homeless)}"


@pytest.mark.parametrize("path", HOUSE, ids=name_of)
def test_a_floor_imports_only_floors_below(path: Path) -> None:
    """Rooms of one floor may import each other; test_rooms_do_not_go_in_circles keeps that in order."""
    own = FLOOR.get(room(module_of(path)), 9 if path.name == "app.py" else 0)
    above = [
        f"line {node.lineno}: {module}"
        for module, node in imports(path)
        if module.startswith("her.") and FLOOR.get(room(module), 0) > own
    ]
    assert not above


def test_rooms_do_not_go_in_circles() -> None:
    """Imports for the type checker alone do not count."""
    graph: dict[str, set[str]] = {}
    for path in files("her"):
        typing = {
            child
            for node in ast.walk(tree(path))
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
            for child in ast.walk(node)
        }
        wanted = {module for module, node in imports(path) if node not in typing and module.startswith("her.")}
        graph[module_of(path)] = wanted - {module_of(path)}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


@pytest.mark.parametrize("path", HOUSE, ids=name_of)
def test_the_house_does_not_know_the_pipelines(path: Path) -> None:
    assert not [module for module, _ in imports(path) if module.split(".")[0] in ("pipelines", "benchmarks", "tests")]


def test_pipelines_do_not_import_each_other() -> None:
    """All that train may import `pipelines.models`, which imports none of them: it is a library, and nothing runs in it."""
    for path in files("pipelines"):
        own = module_of(path).split(".")[:2]
        allowed = (own, MODEL_LIBRARY.split("."))
        others = [
            module for module, _ in imports(path) if module.startswith("pipelines.") and module.split(".")[:2] not in allowed
        ]
        assert not others, name_of(path)
    assert not is_module(f"{MODEL_LIBRARY}.__main__")


@pytest.mark.parametrize("path", files("her", "app.py", "pipelines"), ids=name_of)
def test_packages_stay_behind_their_walls(path: Path) -> None:
    through = [
        f"line {node.lineno}: {module}"
        for module, node in imports(path)
        if (homes := WALLS.get(module.split(".")[0])) is not None and not name_of(path).startswith(homes)
    ]
    assert not through


@pytest.mark.parametrize("path", files("her", "app.py", "pipelines"), ids=name_of)
def test_models_are_imported_in_functions_only(path: Path) -> None:
    lazy = inside_function(path)
    eager = [
        f"line {node.lineno}: {name}" for name, node in imports(path) if name.split(".")[0] in MODEL_PACKAGES and node not in lazy
    ]
    assert not eager or (name_of(path) in PLUGINS and all(": vllm." in place for place in eager))


def test_the_house_does_not_import_plugins() -> None:
    plugins = {module_of(ROOT / name) for name in PLUGINS}
    assert not [name_of(path) for path in PROGRAM for module, _ in imports(path) if module in plugins]


@pytest.mark.parametrize("path", HOUSE, ids=name_of)
def test_what_is_imported_is_declared(path: Path) -> None:
    """At import: base dependencies. Inside functions: an extra will do."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    base = {requirement_name(line) for line in project["dependencies"]}
    extras = {requirement_name(line) for lines in project["optional-dependencies"].values() for line in lines}
    lazy = inside_function(path)
    for module, node in imports(path):
        top = module.split(".")[0]
        if top in sys.stdlib_module_names or top == "her":
            continue
        wanted = PROVIDED.get(top) or DISTRIBUTIONS.get(top, top)
        allowed = base | extras if node in lazy or name_of(path) in PLUGINS else base
        assert wanted in allowed, f"line {node.lineno}: {top} is not declared in pyproject.toml for this use"


def requirement_name(line: str) -> str:
    return re.split(r"[\[<>=!~ ;]", line)[0].lower()


@pytest.mark.parametrize("path", files("her", "app.py", "pipelines"), ids=name_of)
def test_tags_are_spelled_in_one_place(path: Path) -> None:
    if name_of(path).startswith(TAG_HOMES):
        return
    documentation = {id(node) for node in docstrings(path)}
    spelled = [
        f"line {node.lineno}: {node.value[:40]!r}"
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in documentation
        and TAGS.search(node.value)
    ]
    assert not spelled


def docstrings(path: Path) -> Iterator[ast.Constant]:
    """Strings that stand alone as a statement."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.value


@pytest.mark.parametrize("path", HOUSE, ids=name_of)
def test_the_environment_is_read_in_two_rooms(path: Path) -> None:
    if name_of(path).startswith(("her/paths.py", "her/backends/")):
        return
    readers = {"environ", "environb", "getenv", "putenv", "expandvars"}
    named = [node for node in ast.walk(tree(path)) if isinstance(node, ast.Attribute) and node.attr in readers]
    taken = [
        node
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ImportFrom) and node.module == "os" and readers & {alias.name for alias in node.names}
    ]
    assert not [f"line {node.lineno}" for node in (*named, *taken)]


@pytest.mark.parametrize("path", KEPT, ids=name_of)
def test_no_work_at_import(path: Path) -> None:
    assert not list(work_at_import(tree(path).body))


def work_at_import(body: list[ast.stmt]) -> Iterator[str]:
    """Statements of a module or class body that do more than define."""
    allowed = {name for row in AT_IMPORT for name in row.split()}
    for node in body:
        if isinstance(node, (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.Pass)):
            continue
        if isinstance(node, ast.ClassDef):
            yield from work_at_import(node.body)
        elif isinstance(node, ast.Try) and {type(each) for each in node.body} <= {ast.Import, ast.ImportFrom}:
            continue  # an import with a sentence for where it fails
        elif isinstance(node, ast.If):
            if not re.search(r"TYPE_CHECKING|__name__|sys\.platform", ast.unparse(node.test)):
                yield f"line {node.lineno}: if {ast.unparse(node.test)[:60]}"
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            yield from (f"line {call.lineno}: {name}" for call, name in calls(node) if not known(name, allowed))
        elif not isinstance(node, ast.Expr) or not harmless(node.value):
            yield f"line {node.lineno}: {ast.unparse(node)[:60]}"


def harmless(value: ast.expr) -> bool:
    """A docstring, or the registration of a command."""
    registers = isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute) and value.func.attr in REGISTRATIONS
    return isinstance(value, ast.Constant) or registers


def calls(node: ast.AST) -> Iterator[tuple[ast.Call, str]]:
    """Calls that run with this statement: those inside a lambda do not."""
    if isinstance(node, ast.Lambda):
        return
    if isinstance(node, ast.Call):
        yield node, ast.unparse(node.func)
    for child in ast.iter_child_nodes(node):
        yield from calls(child)


def known(name: str, allowed: set[str]) -> bool:
    """A call that only makes a value: a listed one, a method of a text, or a class (it begins with a capital)."""
    last = name.split(".")[-1]
    return name in allowed or last in TEXT_METHODS or last.lstrip("_")[:1].isupper()


@pytest.mark.parametrize("path", EVERYTHING, ids=name_of)
def test_a_module_says_what_it_is(path: Path) -> None:
    told = ast.get_docstring(tree(path)) or ""
    assert told, "begin the file with a docstring: what it is and, if it runs, the exact command"
    runs = any(isinstance(node, ast.If) and "__main__" in ast.unparse(node.test) for node in tree(path).body)
    commands = (f"python -m {module_of(path).removesuffix('.__main__')}", f"python {name_of(path)}", f"{path.stem} ", "`her ")
    if runs and not name_of(path).startswith(MIGRATIONS):
        assert any(command in told for command in commands), f"say how it is run, such as `python -m {module_of(path)}`"


@pytest.mark.parametrize("path", PROGRAM, ids=name_of)
def test_no_banned_names(path: Path) -> None:
    assert not BANNED_IN_FILES & set(re.split(r"\W|_", path.stem)), "a banned word in the file's name"
    assert path.stem not in BANNED
    found = [f"line {line}: {name}" for name, line in defined(path) if name.strip("_").lower() in BANNED]
    assert not found, f"{found}; say what it is instead"


def defined(path: Path) -> Iterator[tuple[str, int]]:
    """Names this file gives to something: functions, classes, arguments, variables, imports."""
    for node in ast.walk(tree(path)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno
        elif isinstance(node, ast.alias) and node.asname:
            yield node.asname, node.lineno


@pytest.mark.parametrize("path", KEPT, ids=name_of)
def test_nothing_grows_too_long(path: Path) -> None:
    """Longer may be right once in a while: then it is in TALKED_ABOUT, with the reason."""
    assert len(path.read_text("utf-8").splitlines()) <= TALKED_ABOUT.get(name_of(path), LONGEST_FILE)
    long = [
        f"{node.name}: {node.end_lineno - node.lineno + 1} lines"
        for node in ast.walk(tree(path))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 > LONGEST_FUNCTION
    ]
    assert not long


@pytest.mark.parametrize("path", PROGRAM, ids=name_of)
def test_no_exception_is_swallowed(path: Path) -> None:
    silent = [
        f"line {node.lineno}"
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or ast.unparse(node.type) in ("Exception", "BaseException"))
        and not any(isinstance(child, (ast.Raise, ast.Call)) for statement in node.body for child in ast.walk(statement))
    ]
    assert not silent


def test_the_command_line_starts_light() -> None:
    heavy = {"gradio", "sqlalchemy", "openai", "huggingface_hub", "bm25s", "numpy", *MODEL_PACKAGES}
    program = f"import sys, her.cli; print(sorted({heavy!r} & set(sys.modules)))"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True)
    assert said.stdout.strip() == "[]"
