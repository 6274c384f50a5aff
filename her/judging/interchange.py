"""Write and read preferences and verdicts in the layouts of other projects.

| layout | of | used for |
| --- | --- | --- |
| verdict JSON | HER, arXiv:2601.21459, released reward model code | judging data of its teacher and student models |
| verl rows | verl 0.9: `data_source, prompt, ability, reward_model, extra_info` | RL of a generative reward model, Parquet |
| pair rows | RewardBench, arXiv:2403.13787: `prompt, chosen, rejected, subset, id` | scalar reward models and their tests |

What a layout has no field for travels in `extra_info` or under its own name, so that reading gives back what was written.
"""

import json
from collections.abc import Mapping
from typing import Any

from her.errors import InputError
from her.format import parse, render
from her.judging.judge import PairQuestion, pair_messages
from her.judging.verdicts import Slot, in_candidates
from her.types import Comparison, Message, Outcome, Preference, Principle, Turn, Verdict

DATA_SOURCE = "her_pairwise"
_TO_HER: dict[Outcome, str] = {"a": "cand_1", "b": "cand_2", "tie": "tie", "both_bad": "tie"}
_FROM_HER: dict[str, Outcome] = {"cand_1": "a", "cand_2": "b", "tie": "tie"}
Json = dict[str, Any]


def to_her_verdict(question: PairQuestion, verdict: Verdict, principles: Mapping[str, Principle]) -> Json:
    """Return a verdict as HER's reward model writes it, with the candidates without their plans.

    HER has no "both bad": it becomes a tie, and `both_bad` says so beside it.
    """
    rows = [_her_comparison(comparison, principles) for comparison in verdict.comparisons]
    answer = {
        "cand_1": _shown(question.a),
        "cand_2": _shown(question.b),
        "principle": {
            f"Principle {number}": _her_principle(comparison.principle, comparison.reason, principles)
            for number, comparison in enumerate(verdict.comparisons, 1)
        },
        "analysis": {"principle_comparisons": rows, "overall_analysis": verdict.reason, "principle_summary": ""},
        "better_response": _TO_HER[verdict.winner],
    }
    return {"result": [answer | ({"both_bad": True} if verdict.winner == "both_bad" else {})]}


def from_her_verdict(row: Mapping[str, Any], judge: str) -> Verdict:
    """Return the verdict of HER's JSON.

    Raises:
        InputError: not one result, or a `better_response` that names no candidate.
    """
    results = row.get("result")
    if not isinstance(results, list) or len(results) != 1 or not isinstance(results[0], Mapping):
        raise InputError("HER verdict: 'result' must be a list of one object")
    answer = results[0]
    if (winner := _FROM_HER.get(answer.get("better_response", ""))) is None:
        raise InputError(f"HER verdict: better_response is {answer.get('better_response')!r}; give cand_1, cand_2 or tie")
    analysis = answer.get("analysis") or {}
    return Verdict(
        comparisons=tuple(_comparison(each) for each in analysis.get("principle_comparisons", ())),
        winner="both_bad" if answer.get("both_bad") else winner,
        reason=analysis.get("overall_analysis", ""),
        judge=judge,
    )


def _her_principle(name: str, reason: str, principles: Mapping[str, Principle]) -> Json:
    known = principles.get(name)
    return {
        "principle_name": name,
        "dimension_name": known.dimension if known else "",
        "principle_level": "session" if known and known.level == "session" else "sentence",
        "main_content": known.definition if known else "",
        "reason_for_choosing": reason,
    }


def _her_comparison(comparison: Comparison, principles: Mapping[str, Principle]) -> Json:
    known = principles.get(comparison.principle)
    return {
        "principle_name": comparison.principle,
        "principle_level": "session" if known and known.level == "session" else "sentence",
        "cand_1_performance": "",
        "cand_2_performance": "",
        "comparison_reason": comparison.reason,
        "winner": _TO_HER[comparison.winner],
        "degree": comparison.degree,
        "evidence": list(comparison.evidence),
    }


def _comparison(row: Mapping[str, Any]) -> Comparison:
    winner = _FROM_HER.get(row.get("winner", ""), "tie")
    return Comparison(
        principle=row.get("principle_name", ""),
        winner="tie" if winner == "both_bad" else winner,
        reason=row.get("comparison_reason", ""),
        degree=row.get("degree"),
        evidence=tuple(row.get("evidence") or ()),
    )


def to_verl(preference: Preference, first: Slot, name: str, index: int, speaker: str) -> Json:
    """Return a row for RL of a pairwise reward model: the prompt of our judge without a library, and the right letter.

    Args:
        first: the candidate, a the chosen one, that is shown as A; write both orders of each pair.
    """
    question = PairQuestion(name, preference.prompt, preference.chosen, preference.rejected)
    answer = in_candidates(preference.verdict.winner, (), first)[0]
    return {
        "data_source": DATA_SOURCE,
        "prompt": [message.model_dump() for message in pair_messages(question, first, "")],
        "ability": "roleplay",
        "reward_model": {"style": "rule", "ground_truth": answer},
        "extra_info": {
            "index": index,
            "pair": name,
            "order": first,
            "preference": preference.model_dump(mode="json"),
            "speaker": speaker,
        },
    }


def from_verl(row: Mapping[str, Any]) -> tuple[Preference, Slot]:
    """Return the preference and order of a row written by `to_verl`; InputError for rows of others."""
    if row.get("data_source") != DATA_SOURCE:
        raise InputError(f"verl row: data_source is {row.get('data_source')!r}; only '{DATA_SOURCE}' holds a preference")
    extra = row["extra_info"]
    return Preference.model_validate_json(json.dumps(extra["preference"])), extra["order"]


def to_pair_row(preference: Preference, name: str, subset: str = "her") -> Json:
    """Return a RewardBench row: chat messages up to the answer, and both answers without their plans."""
    return {
        "id": name,
        "subset": subset,
        "prompt": [message.model_dump() for message in preference.prompt],
        "chosen": [{"role": "assistant", "content": _shown(preference.chosen)}],
        "rejected": [{"role": "assistant", "content": _shown(preference.rejected)}],
        "speaker": preference.chosen.speaker,
        "margin": preference.margin,
        "weight": preference.weight,
        "conversation": preference.conversation,
        "split": preference.split,
        "verdict": preference.verdict.model_dump(mode="json"),
    }


def from_pair_row(row: Mapping[str, Any], judge: str = "imported") -> Preference:
    """Return the preference of a RewardBench row; a prompt or answer that is one text is read as well.

    Raises:
        InputError: an answer is missing or empty.
    """
    prompt = row.get("prompt") or ()
    if not isinstance(prompt, str | list | tuple):
        raise InputError(f"pair row {row.get('id')!r}: 'prompt' is {prompt!r}; give a text or a list of messages")
    messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    speaker = row.get("speaker") or "Assistant"
    verdict = Verdict.model_validate_json(json.dumps(row["verdict"])) if row.get("verdict") else Verdict(winner="a", judge=judge)
    return Preference(
        prompt=tuple(Message.model_validate(message) for message in messages),
        chosen=_answer(row, "chosen", speaker),
        rejected=_answer(row, "rejected", speaker),
        verdict=verdict,
        margin=row.get("margin", 1),
        weight=row.get("weight", 1),
        conversation=row.get("conversation", ""),
        split=row.get("split", ""),
    )


def _answer(row: Mapping[str, Any], side: str, speaker: str) -> Turn:
    value = row.get(side)
    text = value if isinstance(value, str) else value[-1].get("content", "") if value else ""
    if not text.strip():
        raise InputError(f"pair row {row.get('id')!r}: '{side}' is missing or empty; give a text or a list of messages")
    return parse(text, speaker)


def _shown(turn: Turn) -> str:
    return render([part for part in turn.parts if part.kind != "system_thinking"], turn.speaker)
