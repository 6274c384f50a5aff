"""Ask a judge to write about pairs, and a model to write the candidates: what a generative reward model learns from.

Every answer is in the run's ledger, so a run that starts again asks nothing twice. The judge gets the full instructions and the
principle library; the model that is trained on its words gets neither, and names its principles by itself.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from her.files import jsonl
from her.format import parse
from her.inference.call import Answer, Call
from her.inference.caller import Caller, Ledger
from her.judging.designs import all_pairs
from her.judging.judge import Ask, PairJudge
from her.judging.pointwise import PointJudge
from her.judging.principles import library_hash, load_principles
from her.types import Language, Principle, Sample, Sampling, Turn
from pipelines.reward.labelled_pairs import SIDES, Critique, LabelledPair, language_of
from pipelines.reward.options import CandidateOptions, GenerativeOptions

LEDGER = "calls.sqlite3"
AGAIN = ":again"


class Written(NamedTuple):
    """Critiques of labelled pairs, and how many questions came to nothing, by reason."""

    critiques: list[Critique]
    left_out: Counter[str]


class RecordingAsk:
    """An `Ask` that keeps the text of every answer under the id of its call; of a question asked again the second one."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self.texts: dict[str, str] = {}

    async def __call__(self, call: Call) -> Answer:
        """Ask, and keep what came."""
        answer = await self._ask(call)
        if not answer.error:
            self.texts[call.id.removesuffix(AGAIN)] = answer.text
        return answer


def write_critiques(options: GenerativeOptions, pairs: Sequence[LabelledPair], folder: Path) -> Written:
    """Return what the judge wrote about labelled pairs, whose labels stay as they are."""
    return asyncio.run(_write_critiques(options, pairs, folder))


def label_candidates(options: GenerativeOptions, folder: Path) -> Written:
    """Return pairs of candidates that a model wrote, with label and words of a judge that was asked about both orders."""
    return asyncio.run(_label_candidates(options, folder))


async def _write_critiques(options: GenerativeOptions, pairs: Sequence[LabelledPair], folder: Path) -> Written:
    with Ledger(folder / LEDGER) as ledger:
        async with Caller(options.judges, ledger) as caller:
            recording = RecordingAsk(caller.ask)
            judge = _point_judge(options, recording) if options.form == "point" else _pair_judge(options, recording, caller)
            for first in range(0, len(pairs), caller.limits.ahead):
                chunk = pairs[first : first + caller.limits.ahead]
                await asyncio.gather(*(_ask_about(judge, pair, side) for pair in chunk for side in SIDES))
            return _written(pairs, recording, caller.model, options.form)


async def _label_candidates(options: GenerativeOptions, folder: Path) -> Written:
    with Ledger(folder / LEDGER) as ledger:
        async with Caller(options.candidates.endpoints, ledger) as writer:
            pairs, left_out = await _candidate_pairs(options.candidates, writer)
        async with Caller(options.judges, ledger) as caller:
            recording = RecordingAsk(caller.ask)
            judge = _pair_judge(options, recording, caller)
            judged = await asyncio.gather(*(judge.judge_both(pair.question) for pair in pairs))
            labels = {each.question.id: each.verdict.winner for each in judged if each.verdict is not None}
            kept = [pair.model_copy(update={"label": labels[pair.id]}) for pair in pairs if pair.id in labels]
            left_out["no verdict"] += len(pairs) - len(kept)
            written = _written(kept, recording, caller.model, "pair")
            return Written(written.critiques, written.left_out + left_out)


async def _ask_about(judge: PairJudge | PointJudge, pair: LabelledPair, side: str) -> None:
    if isinstance(judge, PairJudge):
        await judge.judge(pair.question, "a" if side == "a" else "b")
    else:
        await judge.score(f"{pair.id}:{side}", pair.prompt, pair.a if side == "a" else pair.b, pair.language)


async def _candidate_pairs(options: CandidateOptions, writer: Caller) -> tuple[list[LabelledPair], Counter[str]]:
    """Return pairs of answers to the samples' prompts, still without a label, and how many answers could not be used."""
    samples = [sample for path in options.samples for sample in jsonl.read(path, Sample)]
    groups = await asyncio.gather(*(_answers(options, writer, sample, at) for at, sample in enumerate(samples)))
    pairs: list[LabelledPair] = []
    left_out: Counter[str] = Counter()
    for at, (sample, turns) in enumerate(zip(samples, groups, strict=True)):
        left_out["answer failed"] += options.answers - len(turns)
        pairs.extend(_paired(options, sample, turns, f"candidates-{at}"))
    return pairs, left_out


async def _answers(options: CandidateOptions, writer: Caller, sample: Sample, at: int) -> list[Turn]:
    """Return the turns that the model wrote for one prompt; a failed or truncated answer is no turn."""
    sampling = Sampling(temperature=options.temperature, max_tokens=options.tokens)
    calls = [Call(f"candidates-{at}-{n}", "candidates", sample.messages[:-1], sampling, number=n) for n in range(options.answers)]
    answers = await asyncio.gather(*map(writer.ask, calls))
    return [
        parse(answer.text, sample.speaker, reasoning=answer.reasoning)
        for answer in answers
        if not answer.error and not answer.truncated
    ]


def _paired(options: CandidateOptions, sample: Sample, turns: Sequence[Turn], name: str) -> list[LabelledPair]:
    if len(turns) < 2:
        return []
    drawn = random.Random(name).sample(all_pairs(len(turns)), min(options.pairs, len(turns) * (len(turns) - 1) // 2))
    return [
        LabelledPair(
            id=f"{name}-{first}-{second}",
            prompt=sample.messages[:-1],
            a=turns[first],
            b=turns[second],
            label="tie",  # until the judge has spoken
            conversation=sample.transcript,
            language=language_of(turns[first]),
        )
        for first, second in drawn
    ]


def _written(pairs: Sequence[LabelledPair], recording: RecordingAsk, judge: str, form: str) -> Written:
    """Return the recorded texts; a pointwise judge names its calls by the number of the sample as well."""
    end = ":0" if form == "point" else ""
    critiques = [
        Critique(pair=pair, side=side, text=recording.texts[name], judge=judge)
        for pair in pairs
        for side in SIDES
        if (name := f"{pair.id}:{side}{end}") in recording.texts
    ]
    return Written(critiques, Counter({"no answer": 2 * len(pairs) - len(critiques)}))


def _pair_judge(options: GenerativeOptions, ask: Ask, caller: Caller) -> PairJudge:
    return PairJudge(
        ask,
        name=caller.model,
        model=caller.model,
        principles=_principles(),
        library=library_hash(),
        sampling=Sampling(temperature=0, max_tokens=options.judge_tokens),
    )


def _point_judge(options: GenerativeOptions, ask: Ask) -> PointJudge:
    return PointJudge(
        ask,
        principles=_principles(),
        library=library_hash(),
        sampling=Sampling(temperature=0, max_tokens=options.judge_tokens),
    )


def _principles() -> dict[Language, Sequence[Principle]]:
    return {"en": load_principles("en"), "zh": load_principles("zh")}
