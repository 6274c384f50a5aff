"""Serve relative rewards over HTTP: engines post candidates one by one, and each gets its reward when its group is judged.

    POST /score    {"group": ID, "index": 0, "size": 8, "prompt": [messages], "text": "...", "speaker": "Mara"}
                   -> {"group": ID, "index": 0, "reward": 0.7 or null, "filled": 0.7, "group_rewards": [...], "missing": 1,
                       "judgements": [{"first": 0, "second": 3, "verdict": {...} or null, "problem": "..."}]}
    GET  /metrics  counts of groups, candidates and judgements, as one JSON object
    GET  /health   {"status": "ok"}

A group is judged when it is complete, or at its deadline with the candidates that have come. Posting a candidate again gives
the same answer, and the ledger keeps every judgement, so a restarted service asks no recorded pair again. `reward` is null for
a missing judgement; `filled` is for engines without null, with division by the group's deviation switched off (her/rewards.py).
"""

import asyncio
import logging
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Annotated

from pydantic import Field, StringConstraints, ValidationError, model_validator
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from her.errors import HerError, InputError
from her.format import parse
from her.judging.groups import Group, GroupRewards, PairVerdict
from her.rewards import WORST, fill_missing, malformation
from her.types import Language, Message, NonEmpty, Turn, Value

log = logging.getLogger(__name__)
MOST_BYTES = 2_000_000
MOST_GROUPS = 4096
"""Groups that are remembered: those open, and the answers of the last ones for candidates that are posted again."""
JudgeGroup = Callable[[Group], Awaitable[GroupRewards]]
Text = Annotated[str, StringConstraints(max_length=400_000)]


class ScoreRequest(Value):
    """One candidate of a group.

    Args:
        index: place in the group; engines that do not number siblings leave it out and name the candidate by a `key`.
        reference: the frozen answer, for designs that compare with one.
        gate: whether a malformed candidate gets the worst reward without being judged; the next three are for it.
        finished: whether the model ended the candidate itself.
        others: names whose line in it is a fault.
        plans: whether it needs system_thinking.
    """

    group: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    index: int | None = Field(default=None, ge=0, lt=256)
    key: str = ""
    size: int = Field(ge=1, le=256)
    prompt: tuple[Message, ...] = Field(min_length=1)
    text: Text
    speaker: NonEmpty
    reference: Text | None = None
    language: Language = "en"
    gate: bool = False
    finished: bool = True
    others: tuple[str, ...] = ()
    plans: bool = True

    @model_validator(mode="after")
    def _require_name(self) -> "ScoreRequest":
        if self.index is None and not self.key:
            raise ValueError("has neither an index nor a key; a candidate that is posted twice could not be told from another")
        return self

    @property
    def fault(self) -> str:
        """Return why the candidate fails the format gate; empty when it passes or none was asked for."""
        if not self.gate:
            return ""
        return malformation(self.text, self.speaker, self.others, finished=self.finished, plans=self.plans)


def _required_fields() -> str:
    needed = (name for name, field in ScoreRequest.model_fields.items() if field.is_required() or name == "index")
    return "with " + ", ".join(needed)


class OpenGroup:
    """A group while its candidates arrive; `rewards` is set once."""

    def __init__(self, first: ScoreRequest, judge: JudgeGroup, deadline: float) -> None:
        self._first, self._judge = first, judge
        self._candidates: dict[int, Turn] = {}
        self._places: dict[str, int] = {}
        self.faults: dict[int, str] = {}
        self._complete = asyncio.Event()
        self.task = asyncio.create_task(self._judged(deadline))

    def place(self, request: ScoreRequest) -> int:
        """Return the candidate's index: its own, or for one that is named by a key the next free one."""
        if request.index is not None:
            return request.index
        taken = {*self._candidates, *self._places.values()}
        free = next((index for index in range(self._first.size) if index not in taken), self._first.size)
        return self._places.setdefault(request.key, free)

    def add(self, request: ScoreRequest, index: int) -> bool:
        """Take a candidate; False when it came before. InputError when it belongs to another prompt or differs."""
        first = self._first
        if (request.prompt, request.size, request.speaker) != (first.prompt, first.size, first.speaker):
            raise InputError(f"group '{request.group}' was opened with another prompt, size or speaker; give it another id")
        if index >= request.size:
            raise InputError(f"index {index} is outside a group of {request.size}; count from 0")
        known = self._candidates.get(index)
        if known is not None:
            if known.raw != request.text:
                raise InputError(f"candidate {index} of group '{request.group}' was posted with another text")
            return False
        if not self.task.done():
            self._candidates[index] = parse(request.text, request.speaker, request.others)
            if fault := request.fault:
                self.faults[index] = fault
        if len(self._candidates) == request.size:
            self._complete.set()
        return True

    async def _judged(self, deadline: float) -> GroupRewards:
        """Wait for the group or its deadline, then judge what is there within as much time again."""
        try:
            await asyncio.wait_for(self._complete.wait(), deadline / 2)
        except TimeoutError:
            log.info("group '%s' is judged with %d of %d candidates", self._first.group, len(self._candidates), self._first.size)
        size = self._first.size
        candidates = tuple(None if index in self.faults else self._candidates.get(index) for index in range(size))
        reference = None if self._first.reference is None else parse(self._first.reference, self._first.speaker)
        group = Group(self._first.group, self._first.prompt, candidates, reference, self._first.language)
        if not any(candidates):
            return GroupRewards((None,) * size, 0, 0)
        try:
            return await asyncio.wait_for(self._judge(group), deadline / 2)
        except TimeoutError:
            log.warning("group '%s' missed its deadline; all of its rewards are missing", self._first.group)
        except HerError as error:
            log.error("group '%s' could not be judged: %s", self._first.group, error)
        return GroupRewards((None,) * size, 0, 0)


class RewardService:
    """The groups of one service.

    Args:
        judge: usually `judge_group` with a judge and a design.
        deadline: seconds from the first candidate to the answer: half of it to wait for the others, half to judge.
    """

    def __init__(self, judge: JudgeGroup, *, deadline: float = 600) -> None:
        self._judge, self._deadline = judge, deadline
        self._groups: OrderedDict[str, OpenGroup] = OrderedDict()
        self.counts: Counter[str] = Counter()

    async def score(self, request: ScoreRequest) -> dict[str, object]:
        """Return the answer to one candidate when its group is judged.

        Raises:
            InputError: the candidate does not fit its group.
        """
        group = self._groups.get(request.group)
        if group is None:
            group = self._opened(request)
        index = group.place(request)
        if group.add(request, index):
            self.counts["candidates"] += 1
        found = await asyncio.shield(group.task)
        rewards = _gated(found.rewards, group.faults)
        return {
            "group": request.group,
            "index": index,
            "reward": rewards[index],
            "filled": fill_missing(rewards)[index],
            "fault": group.faults.get(index, ""),
            "group_rewards": list(rewards),
            "missing": sum(reward is None for reward in rewards),
            # Each judgement is in the answer to one candidate alone, so that a group's answers hold it once.
            "judgements": [_judgement(each) for each in found.judgements if _owner(each) == index],
        }

    def _opened(self, request: ScoreRequest) -> OpenGroup:
        while len(self._groups) >= MOST_GROUPS:
            oldest = next((name for name, group in self._groups.items() if group.task.done()), None)
            if oldest is None:
                raise InputError(f"{MOST_GROUPS:,} groups are open; post complete groups, or start another service")
            del self._groups[oldest]
        group = self._groups[request.group] = OpenGroup(request, self._counted, self._deadline)
        self.counts["groups"] += 1
        return group

    async def _counted(self, group: Group) -> GroupRewards:
        found = await self._judge(group)
        self.counts["judgements"] += found.asked
        self.counts["failed_judgements"] += found.failed
        self.counts["partial_groups"] += None in group.candidates
        return found

    def app(self) -> Starlette:
        """Return the HTTP application."""

        async def score(request: Request) -> JSONResponse:
            body = await _body(request)
            if body is None:
                return _refused(413, f"the request has more than {MOST_BYTES:,} bytes")
            try:
                return JSONResponse(await self.score(ScoreRequest.model_validate_json(body)))
            except ValidationError as error:
                first = error.errors(include_url=False, include_input=False)[0]
                where = f"field '{'.'.join(map(str, first['loc']))}'" if first["loc"] else "the body"
                return _refused(422, f"{where}: {first['msg']}; send one JSON object, {_required_fields()}")
            except InputError as error:
                return _refused(409, str(error))

        async def metrics(request: Request) -> JSONResponse:
            waiting = sum(not group.task.done() for group in self._groups.values())
            return JSONResponse({**self.counts, "open_groups": waiting})

        async def health(request: Request) -> JSONResponse:
            return JSONResponse({"status": "ok"})

        routes = [Route("/score", score, methods=["POST"]), Route("/metrics", metrics), Route("/health", health)]
        return Starlette(routes=routes)


async def _body(request: Request) -> bytes | None:
    """Return the body, None when it is larger than MOST_BYTES; it is never held whole then."""
    pieces, size = [], 0
    async for piece in request.stream():
        size += len(piece)
        if size > MOST_BYTES:
            return None
        pieces.append(piece)
    return b"".join(pieces)


def _gated(rewards: Sequence[float | None], faults: Mapping[int, str]) -> list[float | None]:
    """Return the rewards with the worst of the scale, or of the group where that is lower, for malformed candidates."""
    worst = min([WORST, *(reward for reward in rewards if reward is not None)])
    return [worst if index in faults else reward for index, reward in enumerate(rewards)]


def _owner(judgement: PairVerdict) -> int:
    return judgement.second if judgement.first < 0 else judgement.first


def _judgement(each: PairVerdict) -> dict[str, object]:
    verdict = None if each.verdict is None else each.verdict.model_dump(mode="json")
    return {"first": each.first, "second": each.second, "verdict": verdict, "problem": each.problem}


def _refused(status: int, sentence: str) -> JSONResponse:
    return JSONResponse({"error": sentence}, status)
