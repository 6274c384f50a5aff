"""Settings of a data set of ratings, with their defaults.

    python -m pipelines.ratings @pipelines/configs/ratings.toml --dry-run

Unknown keys and impossible values are refused.
"""

from typing import Literal

from pydantic import Field

from her.types import NonEmpty, Value

PublicFormat = Literal["rm", "kto", "verdicts"]


class RatingsOptions(Value):
    """Settings of one data set.

    Args:
        name: name of the run.
        database: file or address of the playground's database; empty for that of this machine (HER_DATABASE_URL, HER_HOME).
        formats: files that are written, as in `her ratings export`: `rm` has pairs with margins, `kto` single replies with a
            label, `verdicts` the blind votes.
        least_raters: the run is refused when fewer people than this are in the rows: a data set of one is a portrait.
    """

    name: NonEmpty
    database: str = ""
    formats: tuple[PublicFormat, ...] = Field(default=("rm", "kto", "verdicts"), min_length=1)
    least_raters: int = Field(default=2, ge=1)
