"""Keep the best of n answers as samples for supervised fine-tuning (rejection sampling), the cheapest use of a reward.

The answers of every prompt are judged as a group. The best becomes a line of `samples.jsonl`, which `her run sft
samples.files=[...]` trains; a group whose rewards are equal or missing teaches nothing and gives none.
"""

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from her.errors import InputError
from her.files import atomic as files
from her.rewards import malformation
from her.types import Message, Sample
from pipelines.models.chat_template import ChatTemplate
from pipelines.models.loading import load_model
from pipelines.models.sampled_turns import SampledTurn, evaluation_mode, generate
from pipelines.rl.metrics import Metric
from pipelines.rl.options import RlOptions
from pipelines.rl.prompts import RolloutPrompt
from pipelines.rl.redrawing import Reward, RewardMemory, flat_groups

log = logging.getLogger(__name__)
SAMPLES = "samples.jsonl"


def keep_best(
    options: RlOptions,
    template: ChatTemplate,
    prompts: Sequence[RolloutPrompt],
    reward: Reward,
    folder: Path,
    metric: Metric,
    device: str,
) -> Path:
    """Sample, judge and write the best answers; return the file.

    Answers follow from the seed and the prompt, so a run that was killed repeats them and asks no judge twice.

    Raises:
        InputError: no group had a best answer.
    """
    model = load_model(options.model, options.lora, template.tokenizer, device).to(device)
    memory = RewardMemory(folder / "judged-0.jsonl")
    path = folder / SAMPLES
    left_out: Counter[str] = Counter()
    kept = 0
    chosen = list(prompts[: options.steps * max(1, options.batch // options.rollout.answers)])
    with files.replacing(path) as lines:
        for number, prompt in enumerate(chosen):
            answers = _draw(model, template, prompt, options, number)
            rewards = _judge(memory, reward, template, prompt, answers)
            best = best_answer(prompt, answers, rewards, options.reward.plans if options.reward else True)
            if isinstance(best, str):
                left_out[best] += 1
            else:
                kept += 1
                lines.write(best.model_dump_json() + "\n")
            known = [value for value in rewards if value is not None]
            metric(step=number + 1, kept=kept, reward=sum(known) / max(1, len(known)), best=max(known, default=0.0))
        if not kept:
            counted = ", ".join(f"{count} {why}" for why, count in left_out.items())
            raise InputError(
                f"no prompt of {len(chosen)} has a best answer ({counted}); raise rollout.answers or rollout.temperature"
            )
    log.info("%d samples of %d prompts; left out: %s", kept, len(chosen), dict(left_out))
    return path


def best_answer(
    prompt: RolloutPrompt, answers: Sequence[SampledTurn], rewards: Sequence[float | None], plans: bool = True
) -> Sample | str:
    """Return the answer with the highest reward as a sample, or why there is none.

    Args:
        plans: whether an answer without system_thinking is malformed.
    """
    if flat_groups(rewards, len(rewards)):
        return "without a difference"
    place = max((value, -number) for number, value in enumerate(rewards) if value is not None)
    answer = answers[-place[1]]
    if malformation(answer.text, prompt.speaker, prompt.others, finished=answer.finished, plans=plans):
        return "malformed at best"
    messages = (*prompt.messages, Message(role="assistant", content=answer.text))
    return Sample(
        messages=messages,
        trained=(len(messages) - 1,),
        transcript=prompt.conversation,
        turn=f"best of {len(answers)} for {prompt.id}",
        speaker=prompt.speaker,
        source="best_of_n",
    )


def _draw(model: Any, template: ChatTemplate, prompt: RolloutPrompt, options: RlOptions, number: int) -> list[SampledTurn]:
    ids = template.ids(prompt.messages, ask=True)
    rollout = options.rollout
    with evaluation_mode(model, options.seed + number):
        return generate(model, template.tokenizer, [ids] * rollout.answers, rollout.temperature, rollout.tokens)


def _judge(
    memory: RewardMemory, reward: Reward, template: ChatTemplate, prompt: RolloutPrompt, answers: Sequence[SampledTurn]
) -> list[float | None]:
    row = prompt.row()
    count = len(answers)
    stop = [template.tokenizer.eos_token_id]
    columns = {name: [value] * count for name, value in row.items()}
    return memory.ask(
        reward,
        lambda name, value: None,
        prompts=columns.pop("prompt"),
        completions=[[{"role": "assistant", "content": answer.text}] for answer in answers],
        completion_ids=[stop if answer.finished else [] for answer in answers],
        **columns,
    )
