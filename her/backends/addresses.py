"""Addresses and keys as people paste them: what cannot be right is refused in one sentence that repeats no key."""

import re
import unicodedata

from her.errors import InputError

_KEY = re.compile(r"(?i)\b(?:sk|hf|key|tok|gsk|xai|AIza)[-_][\w.*-]{6,}|\b(?=[a-z]*\d)(?=\d*[a-z])[\da-z]{24,}\b")
"""Prefixes of common providers' keys, and long words of letters and digits."""
LONGEST = 2_000
"""Most characters of an address with its model."""


def refuse_strange(scheme: str, rest: str) -> None:
    """Raise InputError for an address that no server can have: too long, or with characters that are not typed on purpose."""
    if len(rest) > LONGEST:
        raise InputError(f"backend '{scheme}:' has an address of {len(rest):,} characters; at most {LONGEST:,} can be right")
    address = rest.partition("#")[0]
    strange = next((char for char in rest if not char.isprintable()), "") or next(
        (char for char in address if char.isspace()), ""
    )
    if strange:
        raise InputError(
            f"backend '{scheme}:{_printable(rest)}' holds the character U+{ord(strange):04X}; type the address again without it"
        )
    host = re.sub(r"^\w+://", "", address)
    if not host.isascii() and unicodedata.normalize("NFKC", address) != address:
        plain = unicodedata.normalize("NFKC", address)
        raise InputError(
            f"backend '{scheme}:{hidden(address)}' is written in wide letters; perhaps '{scheme}:{hidden(plain)}' was meant"
        )


def _printable(text: str) -> str:
    return hidden("".join(char if char.isprintable() else "?" for char in text[:120]))


def check_key(key: str) -> str:
    """Return the key of a server as it is sent.

    Raises:
        InputError: it holds what no header may hold. The sentence does not repeat the key.
    """
    if not key.isascii():
        raise InputError(
            "the key holds characters outside ASCII; copy it again from where it was issued, without quotation marks"
        )
    if any(not char.isprintable() for char in key):
        raise InputError("the key holds a line break or another control character; copy it again, on one line")
    return key


def hidden(text: str) -> str:
    """Return the text without what stands before an @, without a query and without what looks like a key: people mistake them."""
    bare = re.sub(r"\?[^#]*", "?***", re.sub(r"[^/@\s]+@", "***@", text))
    return _KEY.sub("***", bare)
