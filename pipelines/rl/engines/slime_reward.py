"""Rewards of role play for slime, asked of `her serve reward`: `--group-rm --custom-rm-path her_slime_reward.group_reward`.

slime passes whole groups. `sample.metadata` holds what the export wrote: messages, speaker, others, language, reference. A
missing judgement becomes the mean of its group; switch the division by the group's deviation off. Needs aiohttp alone.
"""

import asyncio
import json
import math
import os
import uuid
from collections.abc import Sequence
from typing import Any

import aiohttp

PATIENCE = 1800.0
"""Seconds for one group."""


async def group_reward(args: Any, samples: Sequence[Any], **others: Any) -> list[float]:
    """Return one reward for each sample of one group.

    Raises:
        RuntimeError: the service is away, refuses, or answers no number.
    """
    group = uuid.uuid4().hex
    url, token = os.environ.get("HER_REWARD_URL", "http://127.0.0.1:8100").rstrip("/"), os.environ.get("HER_REWARD_TOKEN", "")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE), headers=headers) as session:
        bodies = [_body(sample, group, index, len(samples)) for index, sample in enumerate(samples)]
        return list(await asyncio.gather(*(_post(session, url, body) for body in bodies)))


def _body(sample: Any, group: str, index: int, size: int) -> dict[str, Any]:
    extra = sample.metadata or {}
    status = getattr(getattr(sample, "status", None), "value", getattr(sample, "status", ""))
    reference = extra.get("reference") or ""
    return {
        "group": group,
        "index": index,
        "size": size,
        "prompt": json.loads(extra["messages"]),
        "speaker": extra["speaker"],
        "others": json.loads(extra.get("others") or "[]"),
        "language": extra.get("language") or "en",
        "text": sample.response,
        "gate": True,
        "finished": str(status).lower() != "truncated",
        **({"reference": reference} if reference else {}),
    }


async def _post(session: aiohttp.ClientSession, url: str, body: dict[str, Any]) -> float:
    try:
        async with session.post(f"{url}/score", json=body) as answer:
            text, status = await answer.text(), answer.status
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise RuntimeError(f"reward service {url} does not answer ({type(error).__name__}); start `her serve reward`") from error
    score = json.loads(text).get("filled") if status == 200 else None
    if not isinstance(score, (int, float)) or not math.isfinite(score):
        raise RuntimeError(f"reward service {url} gave no reward ({status}): {text[:200]}")
    return float(score)
