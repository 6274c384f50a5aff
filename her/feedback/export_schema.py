"""Give the Arrow schema of each export, derived from the values that are written, so that a new field is never forgotten."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType, NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from her.feedback.export import ExportFormat
from her.feedback.rubric import RUBRIC
from her.store import Seen
from her.types import Message, Sampling, Turn, Verdict

NOTHING: Mapping[str, Any] = MappingProxyType({})
_PLAIN = {bool: "bool_", int: "int64", float: "float64", str: "string"}


def schema_of(format: ExportFormat, dimensions: Iterable[str] = (), changed: Mapping[str, Any] = NOTHING) -> Any:
    """Return the schema of an export; stars have a column for each dimension of the rubric, then for `dimensions`.

    Args:
        changed: columns that are added or have another type; None takes one out.
    """
    import pyarrow as pa

    columns = _COLUMNS[format]
    if "rating" in columns:
        columns = columns | {"rating": _RATING | {"stars": _STARS | dict.fromkeys(dimensions, int)}}
    kept = {name: kind for name, kind in {**columns, **changed}.items() if kind is not None}
    return pa.schema([pa.field(name, arrow_type(kind)) for name, kind in kept.items()])


def arrow_type(kind: Any) -> Any:
    """Return the Arrow type of an annotation: a value is a struct, a tuple a list; a table of names is a struct as well.

    Raises:
        TypeError: a dict whose keys are any text, which has no fixed type.
    """
    import pyarrow as pa

    if isinstance(kind, Mapping):
        return pa.struct([pa.field(name, arrow_type(inner)) for name, inner in kind.items()])
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return arrow_type(arguments[0])
    if origin in (Union, UnionType):
        return arrow_type(next(inner for inner in arguments if inner is not NoneType))
    if origin is Literal:
        return arrow_type(type(arguments[0]))
    if origin in (tuple, list):
        return pa.list_(arrow_type(arguments[0]))
    if origin is dict and get_origin(arguments[0]) is Literal:
        return arrow_type(dict.fromkeys(get_args(arguments[0]), arguments[1]))
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return arrow_type({name: field.annotation for name, field in kind.model_fields.items()})
    if kind not in _PLAIN:
        raise TypeError(f"{kind} has no type in Parquet; give its columns by name in {__name__}")
    return getattr(pa, _PLAIN[kind])()


_STARS = {label.id: int for label in RUBRIC.dimensions}
_RATING = {"thumb": int, "stars": _STARS, "tags": tuple[str, ...], "comment": str}
_MESSAGES = tuple[Message, ...]
_CALL: dict[str, Any] = {"model": str, "revision": str, "sampling": Sampling}
_CANDIDATE = {"turn": Turn, "completion": _MESSAGES, "origin": str, **_CALL, "seen": Seen}
_ABOUT_CHAT = dict.fromkeys(("conversation_id", "persona_id", "speaker", "language", "rater", "rubric"), str)
_PAIR: dict[str, Any] = dict.fromkeys(("prompt", "chosen", "rejected"), _MESSAGES)
_FROM: dict[str, Any] = {"rater": str, "conversation": str, "turns": tuple[str, ...]}
"""By these a withdrawal finds a row."""
_COLUMNS: dict[ExportFormat, dict[str, Any]] = {
    "jsonl": {
        **_ABOUT_CHAT,
        "seen": Seen,
        "rating": _RATING,
        "created_at": int,
        "origin": str,
        "turn": Turn,
        "prompt": _MESSAGES,
        **_CALL,
        "finish": str,
    },
    "sft": {"prompt": _MESSAGES, "completion": _MESSAGES, "turn": str, "transcript": str, "speaker": str},
    "preference": {**_PAIR, "speaker": str, **_FROM},
    "kto": {"prompt": _MESSAGES, "completion": _MESSAGES, "label": bool, **_FROM},
    "rm": {**_PAIR, "margin": float, "source": str, "speaker": str, **_FROM},
    "verdicts": {
        **dict.fromkeys(("id", "pair", "conversation", "persona", "language"), str),
        "prompt": _MESSAGES,
        "a": _CANDIDATE,
        "b": _CANDIDATE,
        "verdict": Verdict,
        "comment": str,
        "worse": str,
        "repeat_of": str,
        "created_at": int,
    },
}
