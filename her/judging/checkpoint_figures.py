"""Measure a checkpoint by itself: ten greedy turns for fixed prompts and their free metrics, or ten scores of a reward model.

    figures = measure_checkpoint(folder)

`her publish` measures the folder that it sends, `her pull` the folder that arrived. All turns are generated in one batch, always
the same one, because its padding changes the last bits of logits.
"""

import asyncio
import json
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path

from her.backends.local import LocalBackend
from her.deploy.hub.figures import CheckpointFigures
from her.errors import BackendError, InputError
from her.format import parse
from her.judging.free_metrics import free_metrics
from her.runs.pipelines import pipeline_module
from her.types import CastMember, Language, Message, Part, Sampling, Scenario, Transcript, Turn
from her.view import messages

TOKENS = 256
"""Most tokens of a turn: a plan of a hundred words and a reply."""
MOST_PROMPTS = 16
Prompts = tuple[tuple[Message, ...], ...]
_PLAYED: dict[Language, tuple[CastMember, str, tuple[str, ...]]] = {
    "en": (
        CastMember(
            name="Ann", profile="A baker in the old mill. Patient, dry, proud of her bread.", motivation="To keep the mill."
        ),
        "A kitchen before dawn; the oven is hot and the street is empty.",
        (
            "May I come in? It is cold outside.",
            "Who else has a key to this door?",
            "They say that you are going to sell the mill.",
            "I have brought the money that I owe you.",
            "Why did you never answer my letter?",
        ),
    ),
    "zh": (
        CastMember(name="安娘", profile="老磨坊的面包师。有耐心，话少，以自己的手艺为傲。", motivation="保住磨坊。"),
        "天亮前的厨房，炉子已经烧热，街上没有人。",
        ("外面很冷，我能进来吗？", "这扇门还有谁有钥匙？", "听说你要卖掉磨坊。", "我把欠你的钱带来了。", "我的信你为什么不回？"),
    ),
}
"""Language -> who is played, where, and what is said to them; short, so that they fit a small context."""
_GUEST: dict[Language, str] = {"en": "Bell", "zh": "贝儿"}
_ANSWERS: dict[Language, str] = {
    "en": "Ann: Come in, the kettle is on.",
    "zh": "安娘：进来吧，水烧好了。",
}
"""What a scalar reward model scores."""


def measure_checkpoint(folder: Path, prompts: Prompts = ()) -> CheckpointFigures:
    """Return the figures of a checkpoint in a folder.

    Args:
        prompts: those of an earlier measurement that this one is compared with; without them those of this module.

    Raises:
        BackendError: torch and transformers are not installed, or the model cannot be read.
        InputError: the folder holds no model.
    """
    try:
        config = json.loads((folder / "config.json").read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(f"'{folder}' has no readable config.json, so its free metrics cannot be measured") from error
    if any("SequenceClassification" in str(name) for name in config.get("architectures") or ()):
        return _scored(folder, prompts)
    return asyncio.run(_spoken(folder, prompts))


async def _spoken(folder: Path, prompts: Prompts) -> CheckpointFigures:
    backend = LocalBackend(str(folder), batch_size=MOST_PROMPTS)
    try:
        asked = prompts or _fitting(backend)
        # They wait together for the weights, so one batch takes them all.
        said = await asyncio.gather(*(_answer(backend, prompt) for prompt in asked))
        device = (await backend.check()).partition(" is loaded on ")[2].partition(" ")[0]
    finally:
        await backend.close()
    turns = [parse(text, *_speakers(prompt)) for prompt, text in zip(asked, said, strict=True)]
    figures = free_metrics([[turn] for turn in turns]).figures()
    return CheckpointFigures(prompts=asked, turns=tuple(said), figures=figures, versions=_versions(device))


async def _answer(backend: LocalBackend, prompt: Sequence[Message]) -> str:
    try:
        return (await backend.complete(prompt, Sampling(temperature=0, max_tokens=TOKENS, seed=0))).text
    except BackendError as error:
        if error.reason != "empty":
            raise
        return ""


def _fitting(backend: LocalBackend) -> Prompts:
    """Return the prompts as the playground asks them, where they fit the context of the model, else a line for each."""
    whole = tuple(_whole_prompts())
    room = backend.describe().context - TOKENS
    return whole if max(map(backend.count_tokens, whole)) <= room else tuple(_brief_prompts())


def _whole_prompts() -> Iterator[tuple[Message, ...]]:
    for language, (member, setting, lines) in _PLAYED.items():
        guest = CastMember(name=_GUEST[language])
        for number, line in enumerate(lines):
            turn = Turn(id=f"{language}-{number}", speaker=guest.name, parts=(Part(kind="speech", text=line),))
            scenario = Scenario(id=f"checkpoint-{language}", language=language, setting=setting)
            yield messages(Transcript(id="checkpoint", scenario=scenario, cast=(member, guest), turns=(turn,)), member.name)


def _brief_prompts() -> Iterator[tuple[Message, ...]]:
    for language, (member, _, lines) in _PLAYED.items():
        for line in lines:
            yield Message(role="system", content=member.name), Message(role="user", content=f"{_GUEST[language]}: {line}")


def _speakers(prompt: Sequence[Message]) -> tuple[str, tuple[str, ...]]:
    """Return who is played in a prompt of this module, and the guest."""
    language: Language = next((each for each, (member, _, _) in _PLAYED.items() if member.name in prompt[0].content), "en")
    return _PLAYED[language][0].name, (_GUEST[language],)


def _scored(folder: Path, prompts: Prompts) -> CheckpointFigures:
    load = pipeline_module("reward", "scorer").load_scorer
    asked = prompts or tuple(_answered_prompts())
    scores = tuple(load(folder).score_messages(asked))
    figures = {"mean score": sum(scores) / len(scores), "lowest score": min(scores), "highest score": max(scores)}
    return CheckpointFigures(prompts=asked, scores=scores, figures=figures, versions=_versions("cpu"))


def _answered_prompts() -> Iterator[tuple[Message, ...]]:
    languages: list[Language] = [language for language, (_, _, lines) in _PLAYED.items() for _ in lines]
    for language, prompt in zip(languages, _brief_prompts(), strict=True):
        yield *prompt, Message(role="assistant", content=_ANSWERS[language])


def _versions(device: str) -> dict[str, str]:
    return {"device": device.partition(":")[0], **{name: metadata.version(name) for name in ("torch", "transformers")}}
