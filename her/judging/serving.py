"""Run the relative-reward service (service.py) as a process: `her serve reward --endpoint openai:http://127.0.0.1:8000/v1`,
and a scalar reward model (reward_models.py): `her serve scores RUN`.

Every judgement goes through a caller with a ledger, so a service that was killed asks no recorded pair again. An endpoint that
is away for a while costs the groups of that time, never the service: calls wait for it until their group's deadline.
"""

import asyncio
import hmac
import ipaddress
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

import uvicorn
from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from her.errors import InputError
from her.inference.caller import Caller, CallLimits, Ledger
from her.judging import reward_models
from her.judging.groups import Design, GroupDesign, judge_group, score_group
from her.judging.judge import Instructions, PairJudge
from her.judging.pointwise import PointJudge
from her.judging.principles import LIBRARY, library_hash, load_principles
from her.judging.reward_models import RewardModel
from her.judging.service import JudgeGroup, RewardService
from her.judging.soft import CHOICES
from her.types import Language, NonEmpty, Principle, Sampling, Value

FOREVER = 1e9
"""Seconds of patience: a service outlives an outage of its judge."""
LEAST_TOKEN = 16
LEDGER = "calls.sqlite3"


class ServiceOptions(Value):
    """Settings of the service.

    Args:
        endpoints: backend specs of the judge, all of one model.
        folder: of the ledger; created when missing.
        judge: `pairwise` compares candidates in pairs, `pointwise` scores each alone.
        principles: folder of a library; None for a model that names its own, as a reward model does.
        instructions: `short` for a generative reward model that was trained with the short ones.
        design: pairs that the pairwise judge is asked about; `rounds` as in `her.judging.groups.GroupDesign`.
        soft: whether verdicts and scores are read from log-probabilities, where the judge's server gives them.
        samples: answers for each candidate of the pointwise judge.
        deadline: seconds from a group's first candidate to its answer.
        in_flight: most calls at once for each endpoint.
        token: bearer token that clients must send; needed for a host that others can reach.
    """

    endpoints: tuple[NonEmpty, ...] = Field(min_length=1)
    folder: Path
    host: str = "127.0.0.1"
    port: int = Field(default=8100, ge=0, le=65535)
    judge: Literal["pairwise", "pointwise"] = "pairwise"
    principles: Path | None = LIBRARY
    instructions: Instructions = "full"
    design: Design = "circulant"
    rounds: int = Field(default=2, ge=1)
    soft: bool = True
    samples: int = Field(default=1, ge=1)
    deadline: float = Field(default=600, gt=0)
    in_flight: int = Field(default=64, ge=1)
    token: str = ""


def check_access(host: str, token: str) -> None:
    """Refuse an address under which strangers could use the judge.

    Raises:
        InputError: a public host without a token, or a token that can be guessed.
    """
    if token and len(token) < LEAST_TOKEN:
        raise InputError(
            f"the token has {len(token)} characters; give at least {LEAST_TOKEN}, such as from `openssl rand -hex 16`"
        )
    if not token and not _is_loopback(host):
        raise InputError(
            f"host '{host}' can be reached by others, who could use your judge at your cost; set HER_REWARD_TOKEN to a "
            "secret that clients send as `Authorization: Bearer ...`, or listen on 127.0.0.1"
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def serve_rewards(options: ServiceOptions, started: Callable[[str], object] = print) -> None:
    """Serve until the process is stopped.

    Args:
        started: called with the address once the service listens.

    Raises:
        InputError: settings that are refused, a library with a fault, a ledger in use, or an address that is taken.
        BackendError: no endpoint names the judge's model.
    """
    check_access(options.host, options.token)
    options.folder.mkdir(parents=True, exist_ok=True)
    with Ledger(options.folder / LEDGER) as ledger:
        asyncio.run(_serve(options, ledger, started))


async def _serve(options: ServiceOptions, ledger: Ledger, started: Callable[[str], object]) -> None:
    limits = CallLimits(max_in_flight=options.in_flight, timeout=max(1, options.deadline / 2), patience=FOREVER)
    async with Caller(options.endpoints, ledger, limits) as caller:
        service = RewardService(group_judge(options, caller), deadline=options.deadline)
        await _listen(service.app(), options.host, options.port, options.token, started)


def serve_scores(
    model: RewardModel,
    host: str,
    port: int,
    token: str = "",
    started: Callable[[str], object] = print,
    manifest: bytes | None = None,
) -> None:
    """Serve a scalar reward model until the process is stopped; arguments and errors as in `serve_rewards`.

    Args:
        manifest: as in `her.judging.reward_models.app`.
    """
    check_access(host, token)
    asyncio.run(_listen(reward_models.app(model, manifest), host, port, token, started))


async def _listen(app: ASGIApp, host: str, port: int, token: str, started: Callable[[str], object]) -> None:
    config = uvicorn.Config(
        BearerToken(app, token), host=host, port=port, log_level="warning", lifespan="off", timeout_graceful_shutdown=5
    )
    await _Server(config, started).serve()


def group_judge(options: ServiceOptions, caller: Caller) -> JudgeGroup:
    """Return the function that judges one group."""
    languages: tuple[Language, ...] = ("en", "zh")
    principles: dict[Language, tuple[Principle, ...]] = {}
    library = ""
    if options.principles is not None:
        principles = {language: load_principles(language, options.principles) for language in languages}
        library = library_hash(options.principles)
    if options.judge == "pointwise":
        sampling = None if options.samples == 1 else Sampling(temperature=0.8, max_tokens=1000)
        point = PointJudge(
            caller.ask,
            principles=dict(principles),
            library=library,
            sampling=sampling,
            samples=options.samples,
            instructions=options.instructions,
            choices=CHOICES if options.soft else 0,
        )
        return partial(score_group, point)
    pair = PairJudge(
        caller.ask,
        name=caller.model,
        model=caller.model,
        principles=dict(principles),
        library=library,
        instructions=options.instructions,
        choices=CHOICES if options.soft else 0,
    )
    design = GroupDesign(design=options.design, rounds=options.rounds)
    return lambda group: judge_group(pair, group, design)


class BearerToken:
    """Middleware that answers 401 to requests without the token; `/health` needs none, and nothing does where none is set."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app, self._expected = app, f"Bearer {token}".encode() if token else b""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if self._expected and scope["type"] == "http" and scope["path"] != "/health":
            given = Request(scope).headers.get("authorization", "").encode()
            if not hmac.compare_digest(given, self._expected):
                refusal = JSONResponse({"error": "send the service's token as `Authorization: Bearer ...`"}, 401)
                return await refusal(scope, receive, send)
        await self._app(scope, receive, send)
        return None


class _Server(uvicorn.Server):
    """A server that says where it listens, and names the address when it cannot."""

    def __init__(self, config: uvicorn.Config, started: Callable[[str], object]) -> None:
        super().__init__(config)
        self._say = started

    async def startup(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]
        """Bind, then report the address; port 0 takes any free one."""
        try:
            await super().startup()
        except SystemExit as error:
            raise InputError(
                f"{self.config.host}:{self.config.port} cannot be listened on; choose another --port or --host"
            ) from error
        port = self.servers[0].sockets[0].getsockname()[1]
        self._say(f"http://{self.config.host}:{port}")
