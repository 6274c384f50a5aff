"""her/judging/reward_models.py: what a reward model reads, and its endpoints in the shapes of vLLM."""

from collections.abc import Sequence
from typing import Any

import httpx
import pytest

from her.judging.reward_models import MOST_BYTES, MOST_TEXTS, app, reward_messages, score_turns, sigmoid
from her.types import Message, Part, Turn

PROMPT = [{"role": "system", "content": "You are Mara."}, {"role": "user", "content": "Tom: May I?"}]
MESSAGES = tuple(Message.model_validate(message) for message in PROMPT)


class LengthModel:
    """Reward model whose score is the number of characters; it keeps the texts that it was given."""

    name = "length"

    def __init__(self) -> None:
        self.texts: list[str] = []

    def render(self, messages: Sequence[Message]) -> str:
        return "\n".join(f"{message.role}: {message.content}" for message in messages)

    def score(self, texts: Sequence[str]) -> list[float]:
        self.texts += texts
        return [float(len(text)) for text in texts]


async def post(path: str, body: Any, model: LengthModel | None = None) -> httpx.Response:
    transport = httpx.ASGITransport(app=app(model or LengthModel()))
    async with httpx.AsyncClient(transport=transport, base_url="http://reward") as client:
        return await client.post(path, **({"content": body} if isinstance(body, bytes) else {"json": body}))


def test_a_reward_model_reads_thoughts_and_no_plan() -> None:
    parts = [
        Part(kind="system_thinking", text="Mara should agree."),
        Part(kind="role_thinking", text="At last."),
        Part(kind="role_action", text="opens"),
        Part(kind="speech", text="Come in."),
    ]
    with_plan, without = (Turn(speaker="Mara", parts=tuple(part)) for part in (parts, parts[1:]))
    *prompt, candidate = reward_messages(MESSAGES, with_plan)
    assert tuple(prompt) == MESSAGES and candidate.role == "assistant"
    assert "At last." in candidate.content and "should agree" not in candidate.content
    assert reward_messages(MESSAGES, with_plan) == reward_messages(MESSAGES, without)
    assert reward_messages(MESSAGES, Turn(speaker="Mara"))[-1].content == ""
    model = LengthModel()
    assert score_turns(model, MESSAGES, [with_plan, without]) == [len(text) for text in model.texts]


async def test_classify_has_the_shape_of_vllm() -> None:
    answer = (await post("/classify", {"model": "any", "input": ["four", ""], "use_activation": False})).json()
    assert answer["object"] == "list" and answer["model"] == "length"
    assert answer["data"] == [
        {"index": 0, "label": "LABEL_0", "probs": [4.0], "num_classes": 1},
        {"index": 1, "label": "LABEL_0", "probs": [0.0], "num_classes": 1},
    ]
    squashed = (await post("/classify", {"input": "four"})).json()
    assert squashed["data"][0]["probs"] == [pytest.approx(sigmoid(4.0))]
    chat = [*PROMPT, {"role": "assistant", "content": "Mara: Yes."}]
    model = LengthModel()
    await post("/classify", {"messages": chat}, model)
    assert model.texts == ["system: You are Mara.\nuser: Tom: May I?\nassistant: Mara: Yes."]


async def test_score_reads_candidates_as_a_model_writes_them() -> None:
    from her.format import render

    raw = render([Part(kind="system_thinking", text="Mara should agree."), Part(kind="speech", text="Yes.")], "Mara")
    model = LengthModel()
    body = {"prompt": PROMPT, "candidates": [raw, "Mara: Yes."], "speaker": "Mara"}
    answer = (await post("/v1/score", body, model)).json()
    first, second = answer["data"]
    assert first["object"] == "score" and first["score"] == second["score"]
    assert all(text.endswith("assistant: Mara: Yes.") for text in model.texts)


@pytest.mark.parametrize(
    ("path", "body", "status", "reason"),
    [
        ("/classify", {}, 422, "either input or messages"),
        ("/classify", {"input": "x", "messages": PROMPT}, 422, "either input or messages"),
        ("/classify", {"input": ["x"] * (MOST_TEXTS + 1)}, 422, "send at most"),
        ("/classify", b"not json", 422, "the body: Invalid JSON"),
        ("/v1/score", b"[]", 422, "send one JSON object with fields of model, prompt, candidates, speaker"),
        ("/v1/score", {"prompt": [], "candidates": ["x"], "speaker": "Mara"}, 422, "prompt"),
        ("/v1/score", {"prompt": PROMPT, "candidates": ["x"]}, 422, "speaker"),
        ("/v1/score", b" " * (MOST_BYTES + 1), 413, "bytes"),
    ],
)
async def test_requests_that_cannot_be_read_are_refused(path: str, body: Any, status: int, reason: str) -> None:
    answer = await post(path, body)
    assert answer.status_code == status and reason in answer.json()["error"]["message"]


async def test_models_and_health_answer() -> None:
    transport = httpx.ASGITransport(app=app(LengthModel()))
    async with httpx.AsyncClient(transport=transport, base_url="http://reward") as client:
        assert (await client.get("/v1/models")).json()["data"][0]["id"] == "length"
        assert (await client.get("/health")).json() == {"status": "ok"}


def test_the_sigmoid_does_not_overflow() -> None:
    assert (sigmoid(0), sigmoid(1e4), sigmoid(-1e4)) == (0.5, 1.0, 0.0)
