"""Python files of the repository with their syntax trees: what the rules in `tests/test_layers.py` read."""

import ast
import io
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Source:
    """One Python file: its path in the repository with `/`, and its text."""

    name: str
    text: str

    @property
    def stem(self) -> str:
        return Path(self.name).stem

    @property
    def module(self) -> str:
        return self.name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, self.name)

    @cached_property
    def nodes(self) -> tuple[ast.AST, ...]:
        return tuple(ast.walk(self.tree))

    @cached_property
    def imports(self) -> tuple[tuple[str, ast.stmt], ...]:
        """Every imported module with its statement, at any depth; `from her import paths` counts as `her.paths`."""
        return tuple(self._imports())

    def _imports(self) -> Iterator[tuple[str, ast.stmt]]:
        for node in self.nodes:
            if isinstance(node, ast.Import):
                yield from ((alias.name, node) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    inner = f"{node.module}.{alias.name}"
                    yield (inner if is_module(inner) else str(node.module)), node

    @cached_property
    def deferred(self) -> frozenset[ast.AST]:
        """Nodes that do not run at import: they are inside a function, or for the type checker only."""
        return frozenset(
            child
            for node in self.nodes
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
            or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test))
            for child in ast.walk(node)
        )

    @cached_property
    def docstrings(self) -> tuple[str, ...]:
        """Strings that stand alone as a statement."""
        values = [node.value for node in self.nodes if isinstance(node, ast.Expr)]
        return tuple(value.value for value in values if isinstance(value, ast.Constant) and isinstance(value.value, str))

    @cached_property
    def literals(self) -> tuple[str, ...]:
        """String literals that are not docstrings."""
        documentation = {id(node.value) for node in self.nodes if isinstance(node, ast.Expr)}
        strings = (node for node in self.nodes if isinstance(node, ast.Constant) and isinstance(node.value, str))
        return tuple(str(node.value) for node in strings if id(node) not in documentation)

    @cached_property
    def comments(self) -> tuple[str, ...]:
        tokens = tokenize.generate_tokens(io.StringIO(self.text).readline)
        return tuple(token.string for token in tokens if token.type == tokenize.COMMENT)


@cache
def sources(*places: str) -> tuple[Source, ...]:
    """Return the files of folders; a place that ends in `.py` is one file."""
    return tuple(_source(path) for place in places for path in _paths(ROOT / place))


@cache
def _source(path: Path) -> Source:
    return Source(path.relative_to(ROOT).as_posix(), path.read_text("utf-8"))


def _paths(place: Path) -> list[Path]:
    return [place] if place.suffix == ".py" else sorted(place.rglob("*.py"))


@cache
def is_module(name: str) -> bool:
    """Report whether this repository has a module or package of this name."""
    path = ROOT / name.replace(".", "/")
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()
