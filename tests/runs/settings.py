"""Settings of a pipeline that the tests of her/runs open runs with."""

from pathlib import Path

from pydantic import Field

from her.types import Value


class RunSettings(Value):
    """A setting that must stay the same, one that may change, and a path."""

    lines: int = 3
    budget: float = Field(default=1, json_schema_extra={"may_change": True})
    source: Path | None = None
