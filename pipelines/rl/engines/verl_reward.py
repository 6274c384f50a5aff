"""Rewards of role play for verl 0.9, asked of `her serve reward`; copied beside exported data, it needs aiohttp alone.

    reward.custom_reward_function.path=her_verl_reward.py reward.custom_reward_function.name=compute_score
    reward.reward_manager.source=importlib reward.reward_manager.module.path=her_verl_reward.py
    reward.reward_manager.name=GroupRewardManager

verl calls `run_single` for one answer at a time, in any of its reward workers, so siblings meet in the service: the group is the
answer's `uid`, and the service answers when all are there or at its deadline. A missing judgement becomes the mean of its group,
which has advantage 0 when `algorithm.norm_adv_by_std_in_grpo=False`. A malformed answer gets the worst reward there.

Settings from the environment: HER_REWARD_URL, HER_REWARD_TOKEN, HER_GROUP_SIZE (default actor_rollout_ref.rollout.n).
"""

import asyncio
import json
import math
import os
import uuid
from typing import Any

import aiohttp

PATIENCE = 1800.0
"""Seconds for one answer, retries included; longer than the service's deadline."""


async def compute_score(
    data_source: str, solution_str: str, ground_truth: str, extra_info: dict[str, Any], **others: Any
) -> dict[str, Any]:
    """Return the reward of one answer alone, for verl's own managers.

    A service whose design compares with a reference is needed: alone in its group an answer has nothing else to be compared with.
    """
    body = {"group": uuid.uuid4().hex, "size": 1, **_question(extra_info), "text": solution_str}
    return _scored(await _ask(body))


class GroupRewardManager:
    """verl's reward manager for groups; `run_single` returns the reward of one answer when its group is judged.

    It has the methods of `verl.experimental.reward_loop.reward_manager.base.RewardManagerBase` and does not inherit from it, so
    that this file can be read without verl.
    """

    def __init__(self, config: Any, tokenizer: Any, compute_score: Any = None, **others: Any) -> None:
        self.config, self.tokenizer, self.compute_score = config, tokenizer, compute_score

    @classmethod
    def init_class(cls, config: Any, tokenizer: Any) -> None:
        """Do nothing: there is no state that instances share."""

    @classmethod
    def assemble_rm_scores(cls, batch: Any, scores: list[float]) -> Any:
        """Return a tensor of zeros with each score at the last token of its answer, shape (answers, tokens)."""
        start = batch.batch["prompts"].size(1)
        lengths = batch.batch["attention_mask"][:, start:].sum(dim=1).tolist()
        found = batch.batch["responses"].new_zeros(batch.batch["responses"].shape).float()
        for row, (length, score) in enumerate(zip(lengths, scores, strict=True)):
            found[row, int(length) - 1] = score
        return found

    async def run_single(self, answers: Any) -> dict[str, Any]:
        """Return the reward of one answer: `reward_score`, and the same keys in `reward_extra_info` for every row."""
        item = answers[-1:][0]
        fields = item.non_tensor_batch
        ids = item.batch["responses"]
        length = int(item.batch["attention_mask"][-ids.shape[-1] :].sum())
        tokens = ids[:length].tolist()
        text = await asyncio.get_running_loop().run_in_executor(
            None, lambda: self.tokenizer.decode(tokens, skip_special_tokens=True)
        )
        body = {
            "group": str(fields["uid"]),
            "key": uuid.uuid4().hex,
            "size": int(os.environ.get("HER_GROUP_SIZE") or self.config.actor_rollout_ref.rollout.n),
            **_question(fields["extra_info"]),
            "text": text,
            "finished": self.tokenizer.eos_token_id in tokens,
        }
        found = _scored(await _ask(body))
        return {"reward_score": found["score"], "reward_extra_info": found}


def _question(extra: dict[str, Any]) -> dict[str, Any]:
    """Return what the service needs of a row's `extra_info`."""
    reference = extra.get("reference") or ""
    return {
        "prompt": json.loads(extra["messages"]),
        "speaker": extra["speaker"],
        "others": json.loads(extra.get("others") or "[]"),
        "language": extra.get("language") or "en",
        "gate": True,
        **({"reference": reference} if reference else {}),
    }


async def _ask(body: dict[str, Any]) -> dict[str, Any]:
    """Return the service's answer; wait for a service that is away.

    Raises:
        RuntimeError: it refuses, or gave no answer in time. verl stops then, and resumes from its last checkpoint.
    """
    url, token = os.environ.get("HER_REWARD_URL", "http://127.0.0.1:8100").rstrip("/"), os.environ.get("HER_REWARD_TOKEN", "")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    body = {"key": uuid.uuid4().hex, **body}
    loop, pause = asyncio.get_running_loop(), 1.0
    ends = loop.time() + PATIENCE
    problem = "no answer"
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE)) as session:
        while loop.time() < ends:
            try:
                async with session.post(f"{url}/score", json=body, headers=headers) as answer:
                    if answer.status == 200:
                        found: dict[str, Any] = json.loads(await answer.text())
                        return found
                    problem = f"{answer.status} {(await answer.text())[:200]}"
                    if answer.status < 500:
                        break
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
                problem = f"{type(error).__name__}: {error}"
            await asyncio.sleep(pause)
            pause = min(2 * pause, 30.0)
    raise RuntimeError(f"reward service {url} gave no reward ({problem}); start `her serve reward`, then resume")


def _scored(answer: dict[str, Any]) -> dict[str, Any]:
    """Return the row for verl: numbers alone, the same keys always, never NaN, since one NaN poisons its group."""
    score = answer.get("filled")
    if not isinstance(score, (int, float)) or not math.isfinite(score):
        raise RuntimeError(f"the reward service answered {score!r}, which is no reward; is it `her serve reward`?")
    missing = answer.get("reward") is None
    return {"score": float(score), "missing": float(missing), "malformed": float(bool(answer.get("fault")))}
