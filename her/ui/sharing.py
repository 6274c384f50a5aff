"""The addresses at which others reach the playground: which host names are answered, and what is printed for them.

A playground for this machine alone answers at its loopback names, one that is shared at the addresses that it prints as well, and
at no other: a foreign page could otherwise reach it by a name of its own (DNS rebinding).
"""

import io
import ipaddress
import socket
from collections.abc import Iterable

from her.config import Settings

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
EVERYWHERE = ("0.0.0.0", "::", "")
_ELSEWHERE = ("192.0.2.1", 9)
"""An address that no machine has (RFC 5737); a UDP socket that is connected to it sends nothing, but knows its own address."""


def lan_addresses() -> list[str]:
    """Return the IPv4 addresses of this machine in its networks, the one that leads outside first."""
    found = [*_outward(), *_named()]
    return list(dict.fromkeys(text for text in found if _is_reachable(text)))


def answered_hosts(settings: Settings) -> tuple[str, ...]:
    """Return the host names that are answered, without port; empty answers all, as behind a proxy or in a container."""
    if settings.host in ("127.0.0.1", "localhost", "::1"):
        return LOOPBACK
    if settings.host not in EVERYWHERE:
        return (*LOOPBACK, _bracketed(settings.host.lower()))
    return (*LOOPBACK, *lan_addresses()) if settings.share_with else ()


def invitation(settings: Settings, port: int) -> str:
    """Return what is printed for the person who invites others: addresses and a QR code; empty where nobody else gets in."""
    if settings.host in ("127.0.0.1", "localhost", "::1"):
        return ""
    names = lan_addresses() if settings.host in EVERYWHERE else [_bracketed(settings.host)]
    if not names:
        return "This machine has no address in a local network; connect it to one and start again."
    urls = [f"http://{name}:{port}" for name in names]
    lines = ["Others in this network open", *(f"  {url}" for url in urls), qr_code(urls[0]).rstrip("\n")]
    if settings.playtest:
        lines.append(f"A link to one mission: {urls[0]}/#mission=ID, to a persona: {urls[0]}/#persona=ID")
    return "\n".join(lines)


def qr_code(text: str) -> str:
    """Return a QR code as lines of half blocks for a terminal, with a quiet zone around it."""
    import segno  # needed for this alone, and 40 ms to import

    drawn = io.StringIO()
    segno.make(text, error="m", micro=False).terminal(drawn, compact=True, border=2)
    return drawn.getvalue()


def _outward() -> Iterable[str]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(_ELSEWHERE)
        except OSError:
            return []  # no network leads outside; the machine's own name may still have an address
        return [str(probe.getsockname()[0])]


def _named() -> Iterable[str]:
    try:
        return socket.gethostbyname_ex(socket.gethostname())[2]
    except OSError:
        return []  # a machine whose name is in no table; its address is found by `_outward`


def _is_reachable(text: str) -> bool:
    address = ipaddress.ip_address(text)
    return not (address.is_loopback or address.is_link_local or address.is_unspecified or address.is_multicast)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
