"""Define what a scalar reward model reads and serve one over HTTP, in the shapes of vLLM's pooling endpoints.

    POST /classify  {"input": TEXT or [TEXT, ...]} or {"messages": [...]}, "use_activation": true
                    -> {"data": [{"index": 0, "label": "LABEL_0", "probs": [0.7], "num_classes": 1}], ...}
    POST /v1/score  {"prompt": [messages], "candidates": [TEXT, ...], "speaker": "Mara"}
                    -> {"data": [{"index": 0, "object": "score", "score": 1.3}], ...}
    GET  /v1/manifest -> what the model was trained on, as hashes (her/training_data/overlap.py); 404 where that is not known
    GET  /health, GET /v1/models

`/classify` takes rendered texts as vLLM does, so clients of vLLM such as verl can use either server; with `use_activation` false
`probs` holds the raw score, otherwise its sigmoid. `/v1/score` takes a prompt and candidates as models write them: their plans
are taken out and the chat template is applied here. Its scores are raw.
"""

import math
import time
from collections.abc import Sequence
from typing import Annotated, Any, Protocol, TypeVar
from uuid import uuid4

from anyio import to_thread
from pydantic import Field, StringConstraints, ValidationError, model_validator
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from her.format import parse
from her.types import Message, NonEmpty, Turn, Value
from her.view import Viewer, line

VIEWER = Viewer(kind="reward_model")
MOST_BYTES = 8_000_000
"""Bytes of a request."""
MOST_TEXTS = 1024
Text = Annotated[str, StringConstraints(max_length=400_000)]
RequestT = TypeVar("RequestT", bound=Value)


class RewardModel(Protocol):
    """Scalar reward model, such as `pipelines.reward.scorer.ScalarScorer`."""

    @property
    def name(self) -> str:
        """Name in answers."""
        ...

    def render(self, messages: Sequence[Message]) -> str:
        """Return messages as the model's chat template renders them."""
        ...

    def score(self, texts: Sequence[str]) -> list[float]:
        """Return one score for each rendered text."""
        ...


def reward_messages(prompt: Sequence[Message], turn: Turn) -> tuple[Message, ...]:
    """Return what a reward model reads: the prompt and the candidate with thoughts and without system thinking."""
    return (*prompt, Message(role="assistant", content=line(turn, VIEWER)))


def score_turns(model: RewardModel, prompt: Sequence[Message], turns: Sequence[Turn]) -> list[float]:
    """Return one score for each candidate turn of a prompt."""
    return model.score([model.render(reward_messages(prompt, turn)) for turn in turns])


class ClassifyRequest(Value):
    """Request of vLLM's `/classify`: rendered texts, or the messages of one conversation with the candidate last."""

    model: str = ""
    input: Text | tuple[Text, ...] = ()
    messages: tuple[Message, ...] = ()
    use_activation: bool = True

    @model_validator(mode="after")
    def _require_one_kind(self) -> "ClassifyRequest":
        if bool(self.input) == bool(self.messages):
            raise ValueError("give either input or messages")
        if not isinstance(self.input, str) and len(self.input) > MOST_TEXTS:
            raise ValueError(f"has {len(self.input)} texts; send at most {MOST_TEXTS}")
        return self


class CandidatesRequest(Value):
    """Candidates of one prompt, as a model wrote them."""

    model: str = ""
    prompt: tuple[Message, ...] = Field(min_length=1)
    candidates: tuple[Text, ...] = Field(min_length=1, max_length=MOST_TEXTS)
    speaker: NonEmpty


def app(model: RewardModel, manifest: bytes | None = None) -> Starlette:
    """Return the HTTP application over a scalar reward model; scoring runs in a thread, one request at a time.

    Args:
        manifest: `manifest.json` of the model's run, by which RL refuses prompts that it was trained on; None where it is lost.
    """
    from anyio import CapacityLimiter

    limiter = CapacityLimiter(1)

    async def scored(texts: Sequence[str]) -> list[float]:
        return await to_thread.run_sync(model.score, texts, limiter=limiter)

    async def classify(request: Request) -> JSONResponse:
        body = await _read(request, ClassifyRequest)
        if isinstance(body, JSONResponse):
            return body
        texts = [model.render(body.messages)] if body.messages else [body.input] if isinstance(body.input, str) else body.input
        scores = await scored(texts)
        return _answer(model, "classify", [_class(index, score, body.use_activation) for index, score in enumerate(scores)])

    async def score(request: Request) -> JSONResponse:
        body = await _read(request, CandidatesRequest)
        if isinstance(body, JSONResponse):
            return body
        turns = [parse(text, body.speaker) for text in body.candidates]
        scores = await scored([model.render(reward_messages(body.prompt, turn)) for turn in turns])
        rows = [{"index": index, "object": "score", "score": value} for index, value in enumerate(scores)]
        return _answer(model, "score", rows)

    async def models(request: Request) -> JSONResponse:
        return JSONResponse({"object": "list", "data": [{"id": model.name, "object": "model"}]})

    async def trained(request: Request) -> Response:
        if manifest is None:
            return _refused(404, "the manifest of this model's run is not here")
        return Response(manifest, media_type="application/json")

    async def health(request: Request) -> JSONResponse:
        return JSONResponse({"status": "ok"})

    return Starlette(
        routes=[
            Route("/classify", classify, methods=["POST"]),
            Route("/v1/score", score, methods=["POST"]),
            Route("/v1/models", models),
            Route("/v1/manifest", trained),
            Route("/health", health),
        ]
    )


def sigmoid(score: float) -> float:
    """Return 1 / (1 + exp(-score)) without overflow."""
    if score >= 0:
        return 1 / (1 + math.exp(-score))
    return math.exp(score) / (1 + math.exp(score))


def _class(index: int, score: float, activation: bool) -> dict[str, Any]:
    probability = sigmoid(score) if activation else score
    return {"index": index, "label": "LABEL_0", "probs": [probability], "num_classes": 1}


def _answer(model: RewardModel, kind: str, rows: Sequence[dict[str, Any]]) -> JSONResponse:
    head = {"id": f"{kind}-{uuid4().hex}", "object": "list", "created": int(time.time()), "model": model.name}
    return JSONResponse({**head, "data": list(rows)})


async def _read(request: Request, kind: type[RequestT]) -> RequestT | JSONResponse:
    """Return the request's body as a value, or the refusal to send back."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MOST_BYTES:
            return _refused(413, f"the request has more than {MOST_BYTES:,} bytes")
    try:
        return kind.model_validate_json(bytes(body))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = f"field '{'.'.join(map(str, first['loc']))}'" if first["loc"] else "the body"
        fields = ", ".join(kind.model_fields)
        return _refused(422, f"{where}: {first['msg']}; send one JSON object with fields of {fields}")


def _refused(status: int, sentence: str) -> JSONResponse:
    return JSONResponse({"error": {"message": sentence, "code": status}}, status)
