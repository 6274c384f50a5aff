"""Sentences for visitors: what a stranger may read of an error.

Operators read the whole error in the log. A visitor learns what to do, and no address, path, user or host of the server: what
looks like one is replaced, whoever wrote the sentence.
"""

import re

from her.errors import BackendError, HerError, StoreError

FULL_DISK = "the disk of this playground is full, nothing was saved; tell the person who runs it and try again later"
NO_DATABASE = "this playground cannot reach its database, nothing was saved; tell the person who runs it and try again later"
SERVER = "the model's server"
_FULL = re.compile(r"full disk|disk is full")
_ADDRESS = re.compile(
    r"""(?ix)
    (?: openai: | local: | vllm: )? \b [a-z][a-z0-9+.-]* :// [^\s'"<>()]+       # a URL, with or without the kind of a spec
    | (?: openai: | local: | vllm: ) [^\s'"<>()]+                               # another spec
    | \b (?= [\w.-]* [a-z] ) (?: [\w-]+ \. )* [\w-]+ : \d{3,5} \b               # host:port
    | \[ [0-9a-f:]+ \] (?: : \d+ )? | \b \d{1,3} (?: \. \d{1,3} ){3} (?: : \d+ )? \b  # IP addresses
    """
)
_PATH = re.compile(r"""(?x) (?<! [\w/<] ) (?: ~ | / [\w.@+~-]+ ) (?: / [\w.@+~ -]* [\w.@+~-] )+ /? | \b [A-Za-z] : \\ [^\s'"]+""")


def visitor_sentence(error: HerError, spec: str = "") -> str:
    """Return the sentence of an error for a visitor.

    Args:
        spec: of the model that was asked.
    """
    if isinstance(error, StoreError):
        return FULL_DISK if _FULL.search(str(error)) else NO_DATABASE
    return without_addresses(str(error), spec) if isinstance(error, BackendError) else str(error)


def without_addresses(text: str, spec: str = "") -> str:
    """Return a text in which addresses of servers stand as "the model's server" and paths as an ellipsis.

    Args:
        spec: whose host is replaced as well, even where it is one word such as `gpu-box`.
    """
    if host := spec.partition("://")[2].partition("/")[0].partition("#")[0]:
        text = re.sub(rf"(?<![\w.-]){re.escape(host)}(?![\w-])", SERVER, text)
    return _PATH.sub("…", _ADDRESS.sub(SERVER, text))
