"""Ask a served reward: the relative-reward service (`her serve reward`) and a scalar reward model (`her serve scores`).

Both return what `judge_group` returns, so whoever needs the rewards of a group does not know where they come from. A server that
does not answer is a `BackendError`. NaN counts as missing; an answer for another group, or of another
size, is refused, since every reward of the run may belong to somebody else then.
"""

import asyncio
import hashlib
import json
import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

import aiohttp
from pydantic import ValidationError

from her.errors import BackendError, InputError, Reason
from her.judging.groups import Group, GroupRewards, PairVerdict
from her.rewards import on_scale
from her.types import Verdict

log = logging.getLogger(__name__)


class RewardClient:
    """Client of a server; an `async with` block closes its connections.

    Args:
        url: address of the server, such as `http://127.0.0.1:8100`.
        token: bearer token, empty for none.
        deadline: seconds for one group. A relative-reward service has one of its own, which should be shorter.
    """

    def __init__(self, url: str, token: str = "", deadline: float = 600) -> None:
        self.url, self._token, self.deadline = url.rstrip("/"), token, deadline

    async def post(self, session: aiohttp.ClientSession, path: str, body: Mapping[str, object]) -> dict[str, Any]:
        """Return the JSON object that answers a request.

        Raises:
            BackendError: no answer, or an error of the server.
            InputError: the server refuses the request.
        """
        status, text = await self._exchange(session, "POST", path, body)
        return _object(self.url, status, text)

    async def _exchange(
        self, session: aiohttp.ClientSession, method: str, path: str, body: Mapping[str, object] | None = None
    ) -> tuple[int, str]:
        """Return status and text of an answer; BackendError without one."""
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        try:
            async with session.request(method, f"{self.url}{path}", json=body, headers=headers) as answer:
                return answer.status, await answer.text()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            reason: Reason = "timeout" if isinstance(error, TimeoutError) else "unreachable"
            raise BackendError(f"reward service {self.url} does not answer ({type(error).__name__})", reason) from error

    def session(self) -> aiohttp.ClientSession:
        """Return a session whose every request ends within the deadline."""
        return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=self.deadline))


class ServiceJudge(RewardClient):
    """The relative-reward service as a judge of groups."""

    async def __call__(self, group: Group) -> GroupRewards:
        """Return the rewards of a group as the service gives them; None stands for a candidate that was not sent."""
        present = [index for index, turn in enumerate(group.candidates) if turn is not None]
        # Named by its content: a group that is asked again after a resume, or with another draw, is never mistaken for another.
        name = content_name(group)
        shared = {
            "group": name,
            "size": len(present),
            "prompt": [message.model_dump() for message in group.prompt],
            "language": group.language,
            **({} if group.reference is None else {"reference": group.reference.raw}),
        }
        async with self.session() as session:
            answers = await asyncio.gather(
                *(self.post(session, "/score", {**shared, **_candidate(group, index, at)}) for at, index in enumerate(present))
            )
        return _collected(self.url, group, name, present, answers)


class ScalarJudge(RewardClient):
    """A served scalar reward model as a judge of groups; its scores become rewards from -1 to 1 within the group."""

    async def manifest(self) -> str | None:
        """Return the manifest of the model's run as JSON; None where the server does not know it.

        Raises:
            BackendError: no answer, or an error of the server.
        """
        async with self.session() as session:
            status, text = await self._exchange(session, "GET", "/v1/manifest")
        if status == 404:
            return None
        _object(self.url, status, text)
        return text

    async def __call__(self, group: Group) -> GroupRewards:
        """Return the rewards of a group."""
        present = [index for index, turn in enumerate(group.candidates) if turn is not None]
        turns = [turn for turn in group.candidates if turn is not None]
        if not turns:
            return GroupRewards((None,) * len(group.candidates), 0, 0)
        prompt = [message.model_dump() for message in group.prompt]
        body = {"prompt": prompt, "candidates": [turn.raw for turn in turns], "speaker": turns[0].speaker}
        async with self.session() as session:
            answer = await self.post(session, "/v1/score", body)
        rows = answer.get("data")
        if not isinstance(rows, list) or [row.get("index") for row in rows] != list(range(len(turns))):
            raise InputError(f"reward model {self.url} answered for other candidates than the {len(turns)} it was asked about")
        scores: list[float | None] = [None] * len(group.candidates)
        for index, row in zip(present, rows, strict=True):
            scores[index] = finite(row.get("score"))
        return GroupRewards(tuple(on_scale(scores)), len(turns), sum(scores[index] is None for index in present))


def content_name(group: Group) -> str:
    """Return a name that follows from the prompt and the candidates of a group."""
    reference = group.reference.raw if group.reference else None
    texts = [[message.content for message in group.prompt], [turn and turn.raw for turn in group.candidates], reference]
    return hashlib.sha256(json.dumps(texts).encode("utf-8", "replace")).hexdigest()[:40]


def finite(value: object) -> float | None:
    """Return a reward as it is, None for what is no finite number: NaN from a server is a missing reward."""
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) else None


def _candidate(group: Group, index: int, at: int) -> dict[str, object]:
    turn = group.candidates[index]
    assert turn is not None
    return {"index": at, "text": turn.raw, "speaker": turn.speaker}


def _object(url: str, status: int, text: str) -> dict[str, Any]:
    try:
        body = json.loads(text)
    except ValueError:
        body = None
    if status >= 500 or not isinstance(body, dict):
        raise BackendError(f"reward service {url} answered {status} and no JSON object", "server_error")
    if status >= 400:
        raise InputError(f"reward service {url} refuses the request ({status}): {body.get('error', 'no reason given')}")
    return body


def _collected(url: str, group: Group, name: str, present: Sequence[int], answers: Sequence[dict[str, Any]]) -> GroupRewards:
    rewards: list[float | None] = [None] * len(group.candidates)
    judgements: list[PairVerdict] = []
    places = dict(enumerate(present))
    for at, answer in enumerate(answers):
        size = len(answer.get("group_rewards") or ())
        if answer.get("group", name) != name or answer.get("index", at) != at or size != len(present):
            raise InputError(
                f"reward service {url} answered for another group than it was asked about "
                f"({answer.get('group')!r}, candidate {answer.get('index')}, {size} rewards); restart it, or name the right one"
            )
        reward = rewards[places[at]] = finite(answer.get("reward"))
        if reward is None and answer.get("reward") is not None:
            log.warning("reward service %s answered %r, which is no number; that reward is missing", url, answer["reward"])
        judgements += [_verdict(each, places) for each in answer.get("judgements", ())]
    failed = sum(rewards[index] is None for index in present)
    return GroupRewards(tuple(rewards), len(judgements) or len(present), failed, tuple(judgements))


def _verdict(each: dict[str, Any], places: Mapping[int, int]) -> PairVerdict:
    found = each.get("verdict")
    try:
        verdict = None if found is None else Verdict.model_validate_json(json.dumps(found))
    except ValidationError:
        verdict = None
    first, second = (places.get(int(each[side]), -1) for side in ("first", "second"))
    return PairVerdict(first, second, verdict, str(each.get("problem", "")))
