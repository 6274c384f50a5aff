"""her/ui/requests.py: one type for each act; anything else from a browser is refused in one sentence."""

import logging
from typing import Any, get_args

import pytest

from her.errors import Forbidden, InputError
from her.ui import requests

TOKEN = {"token": "ab" * 32}
TURN = {**TOKEN, "chat": "c", "node": "n"}
BOOT = {**TOKEN, "act": "boot"}
SWIPE = {**TURN, "act": "swipe", "step": 1}


def nested(levels: int) -> Any:
    value: Any = []
    for _ in range(levels - 1):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("payload", "kind"),
    [
        (BOOT, requests.BootRequest),
        ({**TOKEN, "act": "start", "persona": "emma"}, requests.StartRequest),
        (SWIPE, requests.SwipeRequest),
        ({**TURN, "act": "keep", "seen": {"opened": ["role_thinking"]}}, requests.KeepRequest),
        ({**TOKEN, "act": "rate", "chat": "c", "node": None, "rating": {"thumb": 1}}, requests.RateRequest),
        ({**TURN, "act": "edit", "text": "Hm."}, requests.EditPlayedRequest),
    ],
)
def test_a_request_of_the_page_is_read_as_the_type_of_its_act(payload: dict[str, Any], kind: type[requests.Request]) -> None:
    assert type(requests.read_act(payload)) is kind


def test_an_edit_means_another_turn_at_each_endpoint() -> None:
    payload = {**TURN, "act": "edit", "text": "Hm."}
    assert type(requests.read_act(payload)) is requests.EditPlayedRequest
    assert type(requests.read_run(payload)) is requests.EditOwnRequest


@pytest.mark.parametrize(
    ("payload", "error", "sentence"),
    [
        ({"act": "boot"}, Forbidden, "visitor token"),
        ({**BOOT, "token": "AB" * 32}, Forbidden, "visitor token"),
        ({**BOOT, "token": "ab" * 31}, Forbidden, "visitor token"),
        ({**BOOT, "token": 7}, Forbidden, "visitor token"),
        (None, InputError, "request: None is not an object; send an object"),
        ([], InputError, r"request: \[\] is not an object"),
        ("x", InputError, "request: 'x' is not an object"),
        (TOKEN, InputError, "request: field 'act' is missing; name the act"),
        ({**TOKEN, "act": "fly"}, InputError, "request: act 'fly' does not exist; there are boot, safety, persona, chats, "),
        ({**TOKEN, "act": ["boot"]}, InputError, "request: act .* does not exist"),
        ({**TOKEN, "act": "send", "chat": "c", "text": "x"}, InputError, "request: act 'send' does not exist"),
        ({**BOOT, "visitor": "me"}, InputError, "request: field 'visitor' does not belong to act 'boot'; leave it out"),
        ({**SWIPE, "text": "x"}, InputError, "field 'text' does not belong to act 'swipe'"),
        ({**TOKEN, "act": "swipe", "chat": "c", "step": 1}, InputError, "field 'node' is missing; act 'swipe' needs it"),
        ({**SWIPE, "node": ""}, InputError, "field 'node' is ''; "),
        ({**SWIPE, "chat": "../../etc"}, InputError, "field 'chat' is '../../etc'; String should match"),
        ({**SWIPE, "chat": "c" * 201}, InputError, "field 'chat' is 'ccc.*at most 200 characters"),
        ({**SWIPE, "chat": "c\n"}, InputError, r"field 'chat' is 'c\\n'"),
        ({**SWIPE, "step": 2}, InputError, "field 'step' is 2; Input should be -1 or 1"),
        ({**SWIPE, "step": "1"}, InputError, "field 'step' is '1'"),
        ({**TOKEN, "act": "replay", "chat": "c", "count": -1}, InputError, "field 'count' is -1; Input should be greater"),
        ({**TURN, "act": "edit", "text": "x" * 1_000_001}, InputError, "field 'text' is 'xxxx.*at most 1000000"),
        (
            {**TOKEN, "act": "export", "chat": "c", "format": "exe"},
            InputError,
            "field 'format' is 'exe'; Input should be",
        ),
        ({**TURN, "act": "keep", "seen": {"dwell_ms": -1}}, InputError, r"field 'seen.dwell_ms' is -1"),
        ({**TOKEN, "act": "rate", "chat": "c", "rating": {}}, InputError, "field 'node' is missing"),
        ({**TURN, "act": "rate", "rating": nested(9)}, InputError, "nested deeper than 8 levels"),
        ({**TURN, "act": "rate", "rating": nested(900)}, InputError, "nested deeper than 8 levels"),
        ({**BOOT, "x" * 1_000_000: 1}, InputError, "field 'x{60}' does not belong"),
        ({**BOOT, "\ud83d": 1}, InputError, "field '\ufffd' does not belong"),
        ({**SWIPE, "step": "\ud83d" * 1_000_000}, InputError, "field 'step' is '\ufffd+\\.\\.\\."),
    ],
)
def test_a_request_that_the_page_never_sends_is_refused(payload: Any, error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence) as caught:
        requests.read_act(payload)
    shown = str(caught.value)
    shown.encode()
    assert "\n" not in shown and len(shown) < 400 and TOKEN["token"] not in shown


def test_deep_nesting_is_logged_in_one_short_line(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), pytest.raises(InputError):
        requests.read_run({**TURN, "act": "edit", "text": nested(900)})
    assert caplog.messages == ["a request nested deeper than 8 levels was refused"]
    assert not caplog.records[0].exc_info


def test_half_characters_become_replacement_characters() -> None:
    request = requests.read_run({**TOKEN, "act": "send", "chat": "c", "text": "a\ud83db\U0001f600"})
    assert isinstance(request, requests.SendRequest) and request.text == "a\ufffdb\U0001f600"


def test_the_visitor_is_a_hash_of_the_token() -> None:
    request = requests.read_act(BOOT)
    assert request.visitor == requests.visitor_id(TOKEN["token"]) == requests.token_owner(TOKEN["token"])
    assert len(request.visitor) == 64 and request.visitor != TOKEN["token"]


def test_lists_of_the_browser_become_tuples() -> None:
    request = requests.read_act({**TURN, "act": "keep", "seen": {"opened": ["role_thinking"]}})
    assert isinstance(request, requests.KeepRequest) and request.seen.opened == ("role_thinking",)


@pytest.mark.parametrize("union", [requests.ActRequest, requests.RunRequest])
def test_each_act_has_one_type(union: Any) -> None:
    acts = [get_args(kind.model_fields["act"].annotation) for kind in get_args(union)]
    assert all(len(names) == 1 for names in acts) and len(set(acts)) == len(acts)
