"""Rules on the source that import-linter (`lint-imports`, pyproject.toml) cannot express: one test a rule lists every offence.

Each rule is a function that yields the offences of one file. A second test gives every rule a fault and expects it to be found.
A rule that is in the way is changed here, in one commit that says why.
"""

import ast
import re
import subprocess
import sys
import tomllib
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.sources import ROOT, Source, is_module, sources

MODEL_PACKAGES = {"torch", "transformers", "trl", "peft", "vllm", "accelerate", "datasets", "safetensors"}
PLUGINS = ("her/backends/vllm_reasoning.py",)
"""Loaded by vLLM in its own process, never by her: its class must derive from one of vLLM's, so vLLM is imported at the top."""
DISTRIBUTIONS = {
    "json_repair": "json-repair",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
    "huggingface_hub": "huggingface-hub",
    "inspect_ai": "inspect-ai",
    "gradio_client": "gradio-client",
    "tomli_w": "tomli-w",
}
PROVIDED = {
    "httpx2": "openai",
    "markupsafe": "jinja2",
    "packaging": "huggingface-hub",
    "pandas": "evalica",
    "pydantic_core": "pydantic",
    "rich": "typer",
    "scipy": "scikit-learn",
    "spaces": "gradio",
    "starlette": "gradio",
    "tokenizers": "transformers",
    "uvicorn": "gradio",
}
"""Packages that come with a dependency which needs them itself; `spaces` only on a Space."""
TAGS = re.compile(r"</?(system_thinking|role_thinking|role_action|system_think|role_think|think|thinking)\b")
SQL = re.compile(r"\s*(SELECT .* FROM|INSERT INTO|UPDATE .* SET|DELETE FROM|CREATE (TABLE|INDEX)|DROP|PRAGMA)\b", re.DOTALL)
BANNED = {"data", "info", "result", "process", "handle", "utils", "helpers", "common", "manager"}
BANNED_IN_FILES = {"final", "new", "v2", "fixed"}
AT_IMPORT = {
    "re.compile re.escape frozenset tuple dict list set sorted map max min getattr float range len enumerate zip",
    "logging.getLogger TypeVar ParamSpec NewType namedtuple TypeAdapter ConfigDict Field StringConstraints",
    "typer.Typer typer.Option typer.Argument MetaData Table Column Index ForeignKey UniqueConstraint CheckConstraint",
    "_key _at _to _seq any_word",
    "dict.fromkeys MappingProxyType str.maketrans chr ord field dataclass ContextVar object np.array",
}
"""Calls that only make a value, so that a module may run them at import."""
TEXT_METHODS = {"split", "strip", "join", "items", "keys", "values", "lower", "encode", "removeprefix", "union", "resolve"}
REGISTRATIONS = {"add_typer"}
QUESTION_WORDS = {"What", "Which", "Who", "Whom", "Whose", "Whether", "Why", "Where", "When", "How", "Does", "Is", "Are"}
MIGRATIONS = "her/store/migrations/"
"""Run by Alembic at import, as long as the tables they write, and never changed once released."""
LONGEST_FUNCTION, LONGEST_FILE = 50, 400
NO_MODULE = {
    "tests/browser": "drives the page as a person does: no module, the whole playground",
    "tests/deploy/hub/test_ratings.py": "pipelines/ratings, from the database to the Hub and back out of it",
    "tests/store/test_crowd.py": "many processes on one database, and processes that are killed",
    "tests/pipelines/test_accelerate_configs.py": "pipelines/configs/accelerate/*.yaml, which accelerate reads",
    "tests/pipelines/models/test_sharded.py": "weights in shards, across sampling, merging and saving",
    "tests/judging/test_requirements.py": "requirements on the reward half by number, across judging and pipelines/reward",
    "tests/pipelines/evaluate/test_known_faults.py": "faults E1 to E17 of the published evaluation code, by number",
    "tests/test_attacks_benchmark.py": "benchmarks/attacks.py: its guards are where it says",
    "tests/test_gpu_benchmark.py": "benchmarks/gpu.py and its steps, on a CPU",
    "tests/test_layers.py": "rules on the source",
    "tests/test_selection.py": "tests/conftest.py: files that are not imported because -m deselects them",
    "tests/test_docs.py": "the pages in docs/ and README",
    "tests/training_data/test_published_defects.py": "faults of the published HER data code, across samples, splits and exports",
}
"""Tests without a module of their name, and why."""

HER = sources("her", "app.py")
SHIPPED = sources("her", "app.py", "pipelines")
PROGRAM = sources("her", "app.py", "pipelines", "benchmarks")
KEPT = tuple(source for source in PROGRAM if not source.name.startswith(MIGRATIONS))
EVERYTHING = sources("her", "app.py", "pipelines", "benchmarks", "tests", "tools")

Rule = Callable[[Source], Iterator[str]]


def models_are_imported_in_functions_only(source: Source) -> Iterator[str]:
    """The playground starts without torch, and `--help` of a pipeline is quick."""
    for module, node in source.imports:
        package = module.split(".")[0]
        if package in MODEL_PACKAGES and node not in source.deferred and not (source.name in PLUGINS and package == "vllm"):
            yield f"line {node.lineno}: {module}"


def imports_are_declared(source: Source) -> Iterator[str]:
    """At import, only base dependencies; inside functions, an extra as well."""
    base, extras = _declared()
    for module, node in source.imports:
        top = module.split(".")[0]
        if top in sys.stdlib_module_names or top in ("her", "pipelines"):
            continue
        declared = base | extras if node in source.deferred or source.name in PLUGINS else base
        if (PROVIDED.get(top) or DISTRIBUTIONS.get(top, top)) not in declared:
            yield f"line {node.lineno}: {top} is not declared in pyproject.toml for this use"


@cache
def _declared() -> tuple[set[str], set[str]]:
    """Names of the base dependencies, and of those of all extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = [line for lines in project["optional-dependencies"].values() for line in lines]
    return {_requirement(line) for line in project["dependencies"]}, {_requirement(line) for line in extras}


def _requirement(line: str) -> str:
    return re.split(r"[\[<>=!~ ;]", line)[0].lower()


def tags_are_spelled_in_format_only(source: Source) -> Iterator[str]:
    if not source.name.startswith("her/format/"):
        yield from _texts(source, TAGS.search)


def sql_is_in_the_store_only(source: Source) -> Iterator[str]:
    if not source.name.startswith("her/store/"):
        yield from _texts(source, SQL.match)


def _texts(source: Source, finds: Callable[[str], object]) -> Iterator[str]:
    """String literals, docstrings excepted, in which `finds` finds something."""
    documentation = {id(node.value) for node in source.nodes if isinstance(node, ast.Expr)}
    for node in source.nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation and finds(node.value):
            yield f"line {node.lineno}: {node.value[:40]!r}"


def the_environment_is_read_in_paths_and_backends(source: Source) -> Iterator[str]:
    readers = {"environ", "environb", "getenv", "putenv", "expandvars"}
    if source.name.startswith(("her/paths.py", "her/backends/")):
        return
    for node in source.nodes:
        if isinstance(node, ast.Attribute) and node.attr in readers:
            yield f"line {node.lineno}: {node.attr}"
        elif isinstance(node, ast.ImportFrom) and node.module == "os" and readers & {alias.name for alias in node.names}:
            yield f"line {node.lineno}: {ast.unparse(node)}"


def no_module_works_at_import(source: Source) -> Iterator[str]:
    yield from _work(source.tree.body)


def _work(body: list[ast.stmt]) -> Iterator[str]:
    """Statements of a module or class body that do more than define."""
    for node in body:
        if isinstance(node, (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.Pass)):
            continue
        if isinstance(node, ast.ClassDef):
            yield from _work(node.body)
        elif isinstance(node, ast.Try) and {type(each) for each in node.body} <= {ast.Import, ast.ImportFrom}:
            continue  # an import with a sentence for where it fails
        elif isinstance(node, ast.If):
            if not re.search(r"TYPE_CHECKING|__name__|sys\.platform", ast.unparse(node.test)):
                yield f"line {node.lineno}: if {ast.unparse(node.test)[:60]}"
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            yield from (f"line {call.lineno}: {name}" for call, name in _calls(node) if not _makes_a_value(name))
        elif not isinstance(node, ast.Expr) or not _harmless(node.value):
            yield f"line {node.lineno}: {ast.unparse(node)[:60]}"


def _harmless(value: ast.expr) -> bool:
    """A docstring, or the registration of a command."""
    registers = isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute) and value.func.attr in REGISTRATIONS
    return isinstance(value, ast.Constant) or registers


def _calls(node: ast.AST) -> Iterator[tuple[ast.Call, str]]:
    """Calls that run with this statement: those inside a lambda do not."""
    if isinstance(node, ast.Lambda):
        return
    if isinstance(node, ast.Call):
        yield node, ast.unparse(node.func)
    for child in ast.iter_child_nodes(node):
        yield from _calls(child)


def _makes_a_value(name: str) -> bool:
    """A listed call, a method of a text, or a class (its name begins with a capital)."""
    last = name.split(".")[-1]
    return name in {word for row in AT_IMPORT for word in row.split()} or last in TEXT_METHODS or last.lstrip("_")[:1].isupper()


def a_module_says_what_it_is(source: Source) -> Iterator[str]:
    header = ast.get_docstring(source.tree) or ""
    runs = any(isinstance(node, ast.If) and "__main__" in ast.unparse(node.test) for node in source.tree.body)
    commands = (f"python -m {source.module.removesuffix('.__main__')}", f"python {source.name}", f"{source.stem} ", "`her ")
    if not header:
        yield "begin the file with a docstring: what it is and, if it runs, the exact command"
    elif runs and not source.name.startswith(MIGRATIONS) and not any(command in header for command in commands):
        yield f"say how it is run, such as `python -m {source.module}`"


def a_docstring_begins_plainly(source: Source) -> Iterator[str]:
    """Ruff's D401 asks for an imperative verb where it knows the word; a question word is never one."""
    for node in source.nodes:
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            first = (ast.get_docstring(node) or "").partition(" ")[0]
            if first in QUESTION_WORDS:
                yield f"line {getattr(node, 'lineno', 1)}: {first} ..."


def no_name_is_banned(source: Source) -> Iterator[str]:
    if BANNED_IN_FILES & set(re.split(r"\W|_", source.stem)) or source.stem in BANNED:
        yield "a banned word in the file's name"
    yield from (f"line {line}: {name}" for name, line in _defined(source) if name.strip("_").lower() in BANNED)


def _defined(source: Source) -> Iterator[tuple[str, int]]:
    """Names this file gives to something: functions, classes, arguments, variables, imports."""
    for node in source.nodes:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno
        elif isinstance(node, ast.alias) and node.asname:
            yield node.asname, node.lineno


def nothing_grows_too_long(source: Source) -> Iterator[str]:
    lines = len(source.text.splitlines())
    if lines > LONGEST_FILE:
        yield f"{lines} lines, more than {LONGEST_FILE}"
    for node in source.nodes:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            length = (node.end_lineno or 0) - node.lineno + 1
            if length > LONGEST_FUNCTION:
                yield f"{node.name}: {length} lines, more than {LONGEST_FUNCTION}"


def no_exception_is_swallowed(source: Source) -> Iterator[str]:
    """A handler of every exception must raise, call something such as a logger, or store the error."""
    for node in source.nodes:
        if not isinstance(node, ast.ExceptHandler):
            continue
        children = [child for statement in node.body for child in ast.walk(statement)]
        stored = any(isinstance(child, ast.Name) and child.id == node.name for child in children)
        every = node.type is None or ast.unparse(node.type) in ("Exception", "BaseException")
        if every and not stored and not any(isinstance(child, (ast.Raise, ast.Call)) for child in children):
            yield f"line {node.lineno}"


def a_test_file_names_what_it_tests(source: Source) -> Iterator[str]:
    """`tests/chat/test_service.py` and `test_service_NAME` files test `her/chat/service.py`, or a module further down."""
    folder, file = source.name.rpartition("/")[::2]
    if not file.startswith("test_") or folder in NO_MODULE or source.name in NO_MODULE:
        return
    mirrored = folder.removeprefix("tests/") if folder.startswith("tests/pipelines") else f"her{folder.removeprefix('tests')}"
    stem = file.removesuffix(".py").removeprefix("test_")
    modules = {path.stem if path.stem != "__init__" else path.parent.name for path in (ROOT / mirrored).rglob("*.py")}
    if not any(stem == module or stem.startswith(f"{module}_") for module in modules):
        yield f"there is no module {stem} in {mirrored}/: name the file after the module it tests, or list it in NO_MODULE"


RULES: dict[Rule, tuple[Source, ...]] = {
    models_are_imported_in_functions_only: SHIPPED,
    imports_are_declared: SHIPPED,
    tags_are_spelled_in_format_only: SHIPPED,
    sql_is_in_the_store_only: SHIPPED,
    the_environment_is_read_in_paths_and_backends: HER,
    no_module_works_at_import: KEPT,
    a_module_says_what_it_is: EVERYTHING,
    a_docstring_begins_plainly: EVERYTHING,
    no_name_is_banned: PROGRAM,
    nothing_grows_too_long: KEPT,
    no_exception_is_swallowed: PROGRAM,
    a_test_file_names_what_it_tests: sources("tests"),
}

FAULTS = {
    models_are_imported_in_functions_only: "import torch",
    imports_are_declared: "import attrs",
    tags_are_spelled_in_format_only: "OPEN = '<role_thinking>'",
    sql_is_in_the_store_only: "QUERY = 'SELECT id FROM turns'",
    the_environment_is_read_in_paths_and_backends: "import os\ndef home(): return os.environ['HER_HOME']",
    no_module_works_at_import: "from pathlib import Path\nTEXT = open('file').read()",
    a_module_says_what_it_is: "import os",
    a_docstring_begins_plainly: 'def f():\n    """Whether it runs."""',
    no_name_is_banned: "def f(data): pass",
    nothing_grows_too_long: "def f():\n" + "    pass\n" * LONGEST_FUNCTION,
    no_exception_is_swallowed: "try:\n    f()\nexcept Exception:\n    pass",
    a_test_file_names_what_it_tests: "",
}


def _name(rule: Rule) -> str:
    return rule.__name__


@pytest.mark.parametrize("rule", RULES, ids=_name)
def test_rule(rule: Rule) -> None:
    offences = [f"{source.name}: {offence}" for source in RULES[rule] for offence in rule(source)]
    assert not offences, "\n".join([_name(rule), *offences])


@pytest.mark.parametrize("rule", RULES, ids=_name)
def test_rule_finds_a_fault(rule: Rule) -> None:
    name = "tests/chat/test_nothing.py" if rule is a_test_file_names_what_it_tests else "her/chat/faulty.py"
    assert list(rule(Source(name, FAULTS[rule])))


def test_no_two_files_import_each_other_in_a_circle() -> None:
    """import-linter compares siblings; a module and the `__init__` of its own package are none."""
    files = sources("her", "pipelines")
    graph = {source.module: {module for module, _ in source.imports if is_module(module)} - {source.module} for source in files}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_one_name_one_class() -> None:
    places = defaultdict(list)
    for source in sources("her", "pipelines"):
        for node in source.tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(f"{source.name}:{node.lineno}")
    offences = [f"{name}: {', '.join(where)}" for name, where in places.items() if len(where) > 1]
    assert not offences, "\n".join(offences)


def test_every_folder_of_tests_mirrors_a_package() -> None:
    folders = {path.parent.relative_to(ROOT).as_posix() for path in (ROOT / "tests").rglob("test_*.py")} - {"tests", *NO_MODULE}
    packages = {f"tests/{package.removeprefix('her/')}" for package in _packages()}
    assert not folders - packages


def _packages() -> set[str]:
    return {Path(source.name).parent.as_posix() for source in sources("her", "pipelines")}


def test_the_command_line_starts_light() -> None:
    heavy = {"gradio", "sqlalchemy", "openai", "huggingface_hub", "bm25s", "numpy", *MODEL_PACKAGES}
    program = f"import sys, her.cli; print(sorted({heavy!r} & set(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True)
    assert answer.stdout.strip() == "[]"
