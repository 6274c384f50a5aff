"""Model families, declared by whoever starts a run: a held-out judge is of none of the families it is held out from."""

from collections.abc import Mapping

from her.errors import InputError

UNKNOWN_FAMILIES = ("", "unknown", "other", "?")


def require_other_family(judge: str, others: Mapping[str, str]) -> None:
    """Refuse a held-out judge that is not held out: models prefer their own family.

    Args:
        judge: family of the held-out judge.
        others: name -> family of each model that it must be independent of.

    Raises:
        InputError: a family is not declared, or is the judge's.
    """
    own = judge.strip().casefold()
    families = {name: family.strip().casefold() for name, family in others.items()}
    undeclared = [name for name, family in families.items() if family in UNKNOWN_FAMILIES]
    if own in UNKNOWN_FAMILIES or undeclared:
        who = f"of {', '.join(undeclared)}" if undeclared else "of the held-out judge"
        raise InputError(f"the family {who} is not declared, so the judge cannot be held out; declare it, such as qwen or llama")
    if same := [name for name, family in families.items() if family == own]:
        raise InputError(
            f"the held-out judge is of the family '{judge}', as {', '.join(same)} is; models prefer their own family, "
            "so take a judge of another one"
        )
