"""Every configuration object of the house: frozen values, unknown keys refused. The environment is read in her/paths.py."""

from pydantic import Field

from her import paths
from her.types import Value


class Settings(Value):
    """How a playground is opened; `app.py` and `her play` both end here.

    Args:
        backend: spec of the model (her/backends/open.py); None takes HER_BACKEND, else `scripted:`.
        scenes: CoSER files that are opened beside the scenes of the house.
        host: address to listen on; by default this machine only, on a Space every address.
        port: TCP port; 0 takes a free one.
        allow_visitor_urls: whether visitors may connect models by URL; never set it on a public server.
    """

    backend: str | None = None
    scenes: tuple[str, ...] = ()
    host: str = Field(default_factory=paths.server_host)
    port: int = Field(default_factory=paths.server_port, ge=0, le=65535)
    allow_visitor_urls: bool = False
