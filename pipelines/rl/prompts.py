"""Collect the prompts of a run: books, consented chats, and scenes of personas; those that the policy then answers.

    books      the `rl` split of synthesis runs, or files of samples
    chats      `her ratings export --format sft`, of which only conversations of the split `rl` are taken
    personas   the lines of visitors in chats with personas, where no model has answered yet

Equal prompts count once. Prompts that leave no room for an answer are left out and counted. Rows have the columns that the
reward function reads (reward.py); `reference` is the frozen answer and is empty until it is sampled.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, model_validator

from her.errors import InputError
from her.runs.folder import run_folder
from her.training_data.overlap import TrainedOn, message_lines, prompt_hash, stock_lines
from her.training_data.splits import chat_split
from her.types import Language, Message, NonEmpty, Sample, Transcript, Value
from her.view import opening, prompts
from pipelines.models.persona_chats import BUNDLED, PersonaChat, persona_chats
from pipelines.models.sample_rows import read_file
from pipelines.models.sampled_turns import other_speakers

log = logging.getLogger(__name__)
SPLIT = "rl"
SHOWN = 3
"""Overlapping conversations that a refusal names."""


class PromptOptions(Value):
    """Prompts of a run.

    Args:
        runs: names of synthesis runs, whose `dataset/SPLIT/trl.parquet` is used.
        split: SPLIT of these runs.
        files: files of samples, taken whole.
        chats: exports of ratings; only conversations whose split is `rl` are taken.
        personas: persona folders whose scenes are played; `bundled` for the personas of this project.
        scenes: chats for each persona; `exchanges` visitor's lines in each.
        most: most prompts; 0 for all. Which ones follows from the seed.
        reward_models: run folders or manifests of the reward models in use; a prompt that one was trained on stops the run.
    """

    runs: tuple[NonEmpty, ...] = ()
    split: NonEmpty = SPLIT
    files: tuple[Path, ...] = ()
    chats: tuple[Path, ...] = ()
    personas: tuple[str, ...] = ()
    scenes: int = Field(default=8, ge=1)
    exchanges: int = Field(default=6, ge=1)
    most: int = Field(default=0, ge=0)
    reward_models: tuple[Path, ...] = ()

    @model_validator(mode="after")
    def _require_source(self) -> "PromptOptions":
        if not (self.runs or self.files or self.chats or self.personas):
            raise ValueError(
                f'there is nothing to answer: give prompts.runs=["synthesize"], prompts.files, prompts.chats or '
                f'prompts.personas=["{BUNDLED}"]'
            )
        return self


class RolloutPrompt(Value):
    """One prompt that the policy answers; `id` follows from its messages.

    Args:
        others: names whose line in an answer is a fault.
        conversation: id of the transcript or chat that it comes from.
        start: the chat so far, for `unit = session`; None where only messages are known.
        written: whether its history consists of lines that were written for personas: others may know them.
    """

    id: NonEmpty
    messages: tuple[Message, ...]
    speaker: NonEmpty
    others: tuple[str, ...] = ()
    language: Language = "en"
    conversation: str = ""
    reference: str = ""
    start: Transcript | None = None
    written: bool = False

    def row(self) -> dict[str, Any]:
        """Return the row of the data set: `prompt` for TRL, the other columns for the reward."""
        return {
            "prompt": [message.model_dump() for message in self.messages],
            "id": self.id,
            "speaker": self.speaker,
            "others": list(self.others),
            "language": self.language,
            "conversation": self.conversation,
            "reference": self.reference,
        }


def read_prompts(
    options: PromptOptions, seed: int, *, room: int, count: Callable[[Sequence[Message]], int]
) -> list[RolloutPrompt]:
    """Return the prompts of a run in an order drawn by the seed.

    Args:
        room: most tokens of a prompt, so that prompt and answer fit the context.
        count: counts the tokens of messages, as the policy's chat template writes them.

    Raises:
        InputError: a file cannot be read, no prompt is left, or a reward model was trained on one of them.
    """
    left_out: Counter[str] = Counter()
    kept: dict[str, RolloutPrompt] = {}
    for prompt in _all(options, seed, left_out):
        if prompt.id in kept:
            left_out["equal prompt"] += 1
        elif count(prompt.messages) > room:
            left_out[f"more than {room} tokens"] += 1
        else:
            kept[prompt.id] = prompt
    found = sorted(kept.values(), key=lambda prompt: prompt_hash((*prompt.messages, Message(role="user", content=str(seed)))))
    reasons = "; ".join(f"{number} with {why}" for why, number in left_out.items())
    if not found:
        raise InputError(
            f"no prompt is left to answer ({reasons or 'the sources are empty'}); a context of {room} tokens and more"
        )
    log.info("%d prompts%s", len(found), f"; left out: {reasons}" if reasons else "")
    found = found[: options.most] if options.most else found
    refuse_overlap(found, options.reward_models)
    return found


def refuse_overlap(prompts: Sequence[RolloutPrompt], reward_models: Iterable[Path]) -> None:
    """Refuse prompts that a reward model was trained on: it would reward what it remembers.

    Raises:
        InputError: a conversation, a whole prompt or lines of one are in a manifest, or a manifest cannot be read.
    """
    for path in reward_models:
        refuse_trained(prompts, read_trained_on(path), str(path))


def refuse_trained(prompts: Sequence[RolloutPrompt], trained: TrainedOn, source: str) -> None:
    """Refuse prompts that a model was trained on; `source` is its folder or address.

    Raises:
        InputError: with the conversations.
    """
    stock = stock_lines((prompt.conversation, prompt.messages) for prompt in prompts)
    stock |= {line for prompt in prompts if prompt.written for line in message_lines(prompt.messages)}
    reasons: dict[str, str] = {}
    for prompt in prompts:
        if why := trained.why(prompt.conversation, prompt.messages, stock):
            reasons.setdefault(prompt.conversation or prompt.id, why)
    if reasons:
        shown = "; ".join(f"{name}: {why}" for name, why in list(reasons.items())[:SHOWN])
        raise InputError(
            f"{len(reasons)} conversations of the prompts are in the training of reward model '{source}' ({shown}); give the "
            f"prompts of split '{SPLIT}', or a reward model that was trained on rm_sft and rm_rl alone"
        )


def read_trained_on(path: Path) -> TrainedOn:
    """Return what the manifest of a reward run says; `path` is the manifest, its folder, or `model/` in it.

    Raises:
        InputError: there is no manifest, or it is none.
    """
    path = path.expanduser()
    files = [path, path / "manifest.json", path.parent / "manifest.json"]
    file = next((each for each in files if each.is_file() and each.suffix == ".json"), None)
    if file is None:
        raise InputError(
            f"'{path}' has no manifest.json, so nobody knows what the reward model was trained on; give the folder of its run"
        )
    return parse_trained_on(file.read_bytes(), str(file))


def parse_trained_on(manifest: bytes | str, source: str) -> TrainedOn:
    """Return what a manifest says; `source` is named in errors.

    Raises:
        InputError: it is no manifest of a reward run.
    """
    try:
        found = _Manifest.model_validate_json(manifest)
    except ValidationError as error:
        raise InputError(f"'{source}' is not the manifest of a reward run; give the folder of the run") from error
    content = found.content or TrainedOn()
    return content.model_copy(update={"conversations": content.conversations | set(found.trained)})


class _Manifest(Value):
    """Fields of `manifest.json` of a reward run that are read here; it is written by pipelines/reward/report.py."""

    run: str = ""
    base: str = ""
    trained: tuple[str, ...]
    held_out: tuple[str, ...] = ()
    content: TrainedOn | None = None


def _all(options: PromptOptions, seed: int, left_out: Counter[str]) -> Iterator[RolloutPrompt]:
    for name in options.runs:
        yield from map(sample_prompt, read_file(run_folder(name) / "dataset" / options.split / "trl.parquet"))
    for path in options.files:
        yield from map(sample_prompt, read_file(path))
    for path in options.chats:
        for sample in read_file(path):
            if chat_split(sample.transcript) != SPLIT:
                left_out["another split"] += 1
            else:
                yield sample_prompt(sample)
    for name in options.personas:
        for chat in persona_chats(name, options.scenes, options.exchanges, seed):
            yield from chat_prompts(chat)


def sample_prompt(sample: Sample) -> RolloutPrompt:
    """Return the prompt of a sample; its target is not used."""
    messages = sample.messages[: sample.trained[0]] if sample.trained else sample.messages[:-1]
    return _prompt(messages, sample.speaker, other_speakers(sample), sample.transcript)


def chat_prompts(chat: PersonaChat) -> Iterator[RolloutPrompt]:
    """Yield the moments of a persona's chat at which it has to answer."""
    others = tuple(member.name for member in chat.transcript.cast if member.name != chat.speaker)
    first = True
    for turn, messages in prompts(chat.transcript, {chat.speaker}):
        if turn.id not in chat.replies:
            continue
        start = None
        if first:  # one session a chat
            place = next(place for place, each in enumerate(chat.transcript.turns) if each.id == turn.id)
            start = chat.transcript.model_copy(update={"turns": chat.transcript.turns[:place]})
        first = False
        prompt = _prompt(messages, chat.speaker, others, chat.transcript.id)
        language = chat.transcript.scenario.language
        yield prompt.model_copy(update={"start": start, "language": language, "written": True})


def _prompt(messages: Sequence[Message], speaker: str, others: Sequence[str], conversation: str) -> RolloutPrompt:
    text = opening(messages)
    language: Language = "zh" if any("\u3400" <= letter <= "\u9fff" for letter in text) else "en"
    return RolloutPrompt(
        id=prompt_hash(messages),
        messages=tuple(messages),
        speaker=speaker,
        others=tuple(others),
        language=language,
        conversation=conversation,
    )
