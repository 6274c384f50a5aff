"""Read pairs and turns that people or judges have labelled: the project's own preferences, and rows as RewardBench has them.

role_play_benchmarks.py reads CharacterBench and RP-Bench, which have layouts of their own; `read_labelled` takes any of them.
"""

import csv
import hashlib
import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from her.errors import InputError
from her.judging.card_figures import JudgedPair
from her.judging.interchange import from_pair_row
from her.judging.judge import VIEWER, PairQuestion
from her.judging.preference_pairs import conversation_of
from her.training_data.preference_files import preferences_in
from her.types import Language, Message, Outcome, Preference, Turn, Verdict
from her.view import line

Json = dict[str, Any]
_WIDE = range(0x3400, 0xA000)


class LabelledQuestion(NamedTuple):
    """A pair with its label, None where people are undecided.

    Args:
        votes: of single people, in terms of candidates a and b.
        families: model families that wrote a and b, empty where unknown.
        dimension: what the pair is about, empty where unknown.
    """

    question: PairQuestion
    label: Outcome | None
    conversation: str
    dimension: str = ""
    votes: tuple[Outcome, ...] = ()
    families: tuple[str, str] = ("", "")


class LabelledTurn(NamedTuple):
    """A turn that people scored; scores of two dimensions may have two scales."""

    id: str
    prompt: tuple[Message, ...]
    turn: Turn
    score: float
    conversation: str
    language: Language = "en"
    dimension: str = ""


class LabelledSet(NamedTuple):
    """Pairs and turns of a source, and how many of its rows were left out, by reason."""

    pairs: tuple[LabelledQuestion, ...]
    turns: tuple[LabelledTurn, ...] = ()
    left_out: Mapping[str, int] = {}


def read_preferences(path: Path) -> LabelledSet:
    """Return the preferences of a JSONL file; votes of several raters on one pair become one pair.

    Raises:
        InputError: a line is no `Preference`.
    """
    return label_preferences(preferences_in(path))


def label_preferences(preferences: Iterable[Preference]) -> LabelledSet:
    """Return preferences as labelled pairs; votes of several raters on one pair become one pair."""
    votes: dict[str, list[Preference]] = {}
    for preference in preferences:
        votes.setdefault(_pair_key(preference), []).append(preference)
    left_out: Counter[str] = Counter()
    pairs = tuple(_from_votes(key, group) for key, group in votes.items() if _has_candidates(group[0], left_out))
    return LabelledSet(pairs, (), dict(left_out))


def judged_pair(pair: LabelledQuestion, forth: Verdict | None, back: Verdict | None) -> JudgedPair:
    """Return a labelled pair with the verdicts on it, for a report card."""
    question = pair.question
    return JudgedPair(
        id=question.id,
        conversation=pair.conversation,
        forth=forth,
        back=back,
        label=pair.label,
        lengths=(len(line(question.a, VIEWER)), len(line(question.b, VIEWER))),
        language=question.language,
        families=pair.families,
        dimension=pair.dimension,
        votes=pair.votes,
    )


def _reason(error: Exception) -> str:
    """Return an error's text; of a validation, the first fault without pydantic's address."""
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors(include_url=False)[0]
    return f"{'.'.join(map(str, first['loc'])) or 'the row'}: {first['msg']}"


def read_pair_rows(path: Path) -> LabelledSet:
    """Return rows with `prompt`, `chosen` and `rejected`; `subset` is the dimension.

    Raises:
        InputError: names the file and row without a candidate, or with a field of a wrong kind.
    """
    pairs, seen = [], set()
    for number, row in enumerate(rows(path), 1):
        try:
            preference = from_pair_row(row)
        except (InputError, ValidationError, TypeError, AttributeError) as error:
            raise InputError(f"'{path}' row {number} is no pair: {_reason(error)}; give prompt, chosen and rejected") from error
        name = str(row.get("id") or f"row {number}")
        subset = str(row.get("subset") or "")
        if (subset, name) in seen:  # joined files count their rows anew; one name would make them one conversation
            name = f"{name}, row {number}"
        seen.add((subset, name))
        conversation = preference.conversation or f"{subset} {name}"  # rows without one are independent
        pairs.append(_question(name, preference)._replace(dimension=subset, conversation=conversation))
    return LabelledSet(tuple(pairs))


def rows(path: Path) -> list[Json]:
    """Return the objects of a JSON list, a JSONL file or a CSV file.

    Raises:
        InputError: it cannot be read, or holds something else; the message names the file and line.
    """
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"'{path}' cannot be read as text: {error}") from error
    if path.suffix == ".csv":
        return _table(path, text)
    found = _whole(text) if text.lstrip().startswith("[") else list(_lines(path, text))
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        raise InputError(f"'{path}' is no list of JSON objects; give one, or a JSONL file")
    return found


def language_of(text: str) -> Language:
    """Return Chinese for a text with a Chinese character."""
    return "zh" if any(ord(letter) in _WIDE for letter in text) else "en"


def oriented(name: str, label: Outcome) -> tuple[bool, Outcome]:
    """Return whether the better candidate stands second, by a hash of the name, and the label that follows.

    Files say which candidate won by its place; judges that always choose one place must not look good.
    """
    turned = bool(hashlib.sha256(name.encode("utf-8", "replace")).digest()[0] % 2)
    return turned, swapped(label) if turned else label


def swapped(outcome: Outcome) -> Outcome:
    """Return the outcome with the candidates exchanged."""
    return "b" if outcome == "a" else "a" if outcome == "b" else outcome


def majority(votes: Iterable[Outcome]) -> Outcome | None:
    """Return the most frequent vote; None where two are."""
    ranked = Counter(votes).most_common(2)
    return None if not ranked or (len(ranked) == 2 and ranked[0][1] == ranked[1][1]) else ranked[0][0]


def _whole(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _table(path: Path, text: str) -> list[Json]:
    reader = csv.DictReader(io.StringIO(text, newline=""))
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))  # the module's own limit is shorter than some turns
    try:
        return [dict(row) for row in reader]
    except csv.Error as error:
        raise InputError(f"'{path}' line {reader.line_num} is not CSV: {error}; save it again") from error


def _lines(path: Path, text: str) -> Iterator[Any]:
    for number, row in enumerate(text.split("\n"), 1):  # JSON strings may hold U+2028 and U+0085, where splitlines would cut
        if row.strip():
            try:
                yield json.loads(row)
            except ValueError as error:
                raise InputError(f"'{path}' line {number} is not JSON: {error}") from error
            except RecursionError as error:
                raise InputError(f"'{path}' line {number} is nested too deeply; give one object a line") from error


def _pair_key(preference: Preference) -> str:
    """Return what two votes on one pair have in common, whichever candidate won."""
    texts = [message.content for message in preference.prompt]
    texts += sorted(turn.raw or turn.text("speech") for turn in (preference.chosen, preference.rejected))
    return hashlib.sha256("\0".join(texts).encode("utf-8", "replace")).hexdigest()[:20]


def _has_candidates(preference: Preference, left_out: Counter[str]) -> bool:
    fit = bool(preference.prompt) and bool(preference.chosen.parts or preference.rejected.parts)
    if not fit:
        left_out["without prompt or candidates"] += 1
    return fit


def _from_votes(key: str, group: list[Preference]) -> LabelledQuestion:
    """Return one pair of all votes on it, in the orientation of the first."""
    first = _question(key, group[0])
    if len(group) == 1 and not group[0].rater:
        return first
    chosen = first.question.a if first.label in ("a", "both_bad", "tie") else first.question.b
    votes = tuple(
        first.label if same else swapped(first.label)
        for same in (_text(each.chosen) == _text(chosen) for each in group)
        if first.label is not None
    )
    return first._replace(label=majority(votes), votes=votes)


def _text(turn: Turn) -> str:
    return turn.raw or turn.text("speech")


def _question(name: str, preference: Preference) -> LabelledQuestion:
    """Return the pair of a preference; its winner is the chosen candidate unless the verdict is no decision."""
    winner: Outcome = "a" if preference.verdict.winner in ("a", "b") else preference.verdict.winner
    turned, label = oriented(name, winner)
    a, b = (preference.rejected, preference.chosen) if turned else (preference.chosen, preference.rejected)
    language = language_of(preference.chosen.text("speech"))
    question = PairQuestion(name, preference.prompt, a, b, language)
    return LabelledQuestion(question, label, conversation_of(preference), _decided(preference))


def _decided(preference: Preference) -> str:
    """Return the one principle or dimension on which the candidates differ; empty for none or several."""
    decided = {comparison.principle for comparison in preference.verdict.comparisons if comparison.winner != "tie"}
    return decided.pop() if len(decided) == 1 else ""
