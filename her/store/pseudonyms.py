"""Name people by made-up names: readable, the same each time, and nothing of their id or secret in them.

A name is drawn by a hash of the visitor's id: 4,096 pairs of words and 20 bits more. Of 1,000 people two have one name with a
probability of 1 in 8,000.
"""

import hashlib

_SALT = "her pseudonym"
_LETTERS = "23456789abcdefghijkmnpqrstuvwxyz"
_FIRST = (
    "amber ashen autumn azure bold brave bright bronze calm cedar civil clear copper coral crimson dapper "
    "dawn deft dusky eager early even fabled fair fern fleet fond frosty gentle gilded glad golden "
    "green hazel hidden honest humble indigo ivory jade jolly keen kind late linen lively lucid lunar "
    "mellow merry misty mossy noble olive pearl plain proud quick quiet rosy royal russet sage silver"
)
_SECOND = (
    "badger bear beaver bison bittern buzzard camel carp cat clam cod condor cormorant crab crane cricket "
    "crow curlew deer dove duck eagle egret elk falcon ferret finch fox frog gannet gecko goose "
    "grouse gull hare hawk heron ibis jackdaw jay kestrel kite lark linnet lizard lynx magpie marten "
    "mole moose moth newt otter owl panda perch pike plover puffin quail raven robin salmon seal"
)


def pseudonym(visitor_id: str) -> str:
    """Return the made-up name of a visitor, such as `amber-heron-k4t9`."""
    number = int.from_bytes(hashlib.sha256(f"{_SALT}\x00{visitor_id}".encode()).digest()[:8], "big")
    first, second = _FIRST.split()[number % 64], _SECOND.split()[number // 64 % 64]
    digits = "".join(_LETTERS[number >> shift & 31] for shift in (12, 17, 22, 27))
    return f"{first}-{second}-{digits}"
