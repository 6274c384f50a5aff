"""her/ui/organiser.py behind her/ui/guard.py: who gets in, what everybody else gets, and what the pages show and leave out."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from her.feedback.playtest import Playtest
from her.feedback.votes import rater
from her.store import Seen, Store, Vote
from her.store.pseudonyms import pseudonym
from her.ui.guard import COOKIE, Guard
from her.ui.organiser import OrganiserDesk
from her.ui.organiser_door import OrganiserDoor
from her.ui.organiser_view import was_open
from tests.store.samples import ANNE, BEN, greeted, opened, rating, reply

ATTACK = '<script>alert(1)</script>"><img src=x onerror=alert(2)>'
DOORS = ("/organiser", "/organiser/", "/organiser/live", "/organiser/chats/1", "/organiser/export", "/organiser/nothing")
POSTS = ("/organiser/leave", "/organiser/revoke")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = opened(tmp_path)
    yield store
    store.close()


@pytest.fixture
def desk(store: Store, tmp_path: Path) -> OrganiserDesk:
    return OrganiserDesk(store, {"iago": "Iago of Venice"}, OrganiserDoor(tmp_path))


@pytest.fixture
def guarded(desk: OrganiserDesk) -> httpx.AsyncClient:
    """Return a client of the page behind the guard, as nobody."""
    return client_of(Guard(Starlette(routes=desk.routes()), door=desk.door))


@pytest.fixture
def bare(desk: OrganiserDesk) -> httpx.AsyncClient:
    """Return a client of the page alone, as if the guard let everything through."""
    return client_of(Starlette(routes=desk.routes()))


def client_of(app: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://her.example")


def link_of(desk: OrganiserDesk) -> str:
    return desk.door.link()


async def entered(client: httpx.AsyncClient, desk: OrganiserDesk) -> httpx.AsyncClient:
    assert (await client.get(link_of(desk))).status_code == 200
    return client


def secrets_that_open_nothing(desk: OrganiserDesk) -> dict[str, dict[str, str]]:
    """Return cookies by what is wrong with them."""
    used = link_of(desk).partition("key=")[2]
    ended = desk.door.enter(used)
    assert ended
    desk.door.leave(ended)
    foreign = OrganiserDoor(desk.door._path.parent / "..").link().partition("key=")[2]
    return {
        "none": {},
        "used link": {COOKIE: used},
        "ended": {COOKIE: ended},
        "foreign": {COOKIE: foreign},
        "empty": {COOKIE: ""},
    }


@pytest.mark.parametrize("which", ["none", "used link", "ended", "foreign", "empty"])
async def test_to_a_visitor_every_door_is_an_absent_page(
    desk: OrganiserDesk, guarded: httpx.AsyncClient, bare: httpx.AsyncClient, which: str
) -> None:
    cookies = secrets_that_open_nothing(desk)[which]
    for client in (guarded, bare):
        client.cookies.update(cookies)
    absent = await guarded.get("/there-is-no-such-page")
    closed = await guarded.post("/there-is-no-such-page", json={})
    for path in DOORS:
        for query in ("", f"?key={'0' * 43}"):
            answer = await guarded.get(path + query)
            assert (answer.status_code, answer.text, answer.headers) == (404, absent.text, absent.headers), path
            assert (await bare.get(path + query)).status_code == 404, "the page itself asks as well"
    for path in POSTS:
        answer = await guarded.post(path, json={})
        assert (answer.status_code, answer.text, answer.headers) == (403, closed.text, closed.headers), path
        assert (await bare.post(path, json={})).status_code == 404


async def test_without_a_door_there_is_no_page_and_no_key_to_it(desk: OrganiserDesk) -> None:
    client = client_of(Guard(Starlette(routes=desk.routes())))
    link = link_of(desk)
    assert (await client.get(link)).status_code == 404 and desk.door.admits(key=link.partition("key=")[2])


async def test_a_link_opens_once_and_leaves_a_cookie_that_no_script_reads(
    desk: OrganiserDesk, guarded: httpx.AsyncClient
) -> None:
    link = link_of(desk)
    first = await guarded.get(link)
    cookie = first.headers["set-cookie"]
    assert first.status_code == 200 and "HttpOnly" in cookie and "SameSite=strict" in cookie and "Path=/organiser" in cookie
    assert link.partition("key=")[2] not in first.text + cookie
    assert "no-store" in first.headers["cache-control"] and "default-src 'none'" in first.headers["content-security-policy"]
    assert (await guarded.get("/organiser")).status_code == 200, "the cookie"
    guarded.cookies.clear()
    assert (await guarded.get(link)).status_code == 404 == (await guarded.get("/organiser")).status_code


@pytest.mark.parametrize("act", POSTS)
async def test_leaving_ends_the_session_and_only_the_page_itself_can_ask(
    desk: OrganiserDesk, guarded: httpx.AsyncClient, act: str
) -> None:
    await entered(guarded, desk)
    session = guarded.cookies[COOKIE]
    assert (await guarded.post(act, content="{}", headers={"content-type": "text/plain"})).status_code == 415
    assert (await guarded.post(act, json={}, headers={"origin": "https://evil.example"})).status_code == 403
    assert (await guarded.get(act)).status_code in (404, 405) and (await guarded.get("/organiser")).status_code == 200
    assert (await guarded.post(act, json={})).status_code == 204
    guarded.cookies.update({COOKIE: session})
    assert (await guarded.get("/organiser")).status_code == 404


def fill(store: Store, visitor_id: str, text: str) -> str:
    """Rate, comment and vote in a chat of a visitor; return its id."""
    chat, asked = greeted(store, visitor_id)
    good, bad = (
        reply(store, asked, text, plan=f"plan {text}", visitor_id=visitor_id),
        reply(store, asked, "x", visitor_id=visitor_id),
    )
    seen = Seen(system_thinking=True, layout="narrow")
    store.rate(visitor_id, chat.id, good.id, rating(1, {"voice": 5}, comment=f"comment {text}", seen=seen))
    store.rate(visitor_id, chat.id, bad.id, rating(-1, {"voice": 1}))
    ballot = store.add_ballot(visitor_id, chat.id, (good.id, bad.id))
    store.vote(visitor_id, ballot.id, Vote(winner="a" if ballot.a_id == good.id else "b", comment=f"vote {text}"))
    return chat.id


@pytest.mark.parametrize("lang", ["en", "zh"])
async def test_pages_show_what_was_done_and_every_text_is_escaped(
    store: Store, desk: OrganiserDesk, guarded: httpx.AsyncClient, lang: str
) -> None:
    chat = fill(store, ANNE, ATTACK)
    await entered(guarded, desk)
    for path in ("/organiser", "/organiser/live", f"/organiser/chats/{chat}"):
        page = (await guarded.get(path, params={"lang": lang})).text
        assert pseudonym(ANNE) in page and ANNE not in page, path
        assert "&lt;script&gt;" in page and "<script>alert" not in page and "<img" not in page, path
    overview = (await guarded.get("/organiser", params={"lang": lang})).text
    assert "3.00" in overview, "mean of voice"
    assert ("Krippendorff's alpha".replace("'", "&#39;") if lang == "en" else "排行榜") in overview


async def test_a_replay_has_the_panels_as_they_were(store: Store, desk: OrganiserDesk, guarded: httpx.AsyncClient) -> None:
    chat = fill(store, ANNE, "Good.")
    await entered(guarded, desk)
    rated = next(fact for fact in store.ratings(ANNE, chat).values() if fact.rating.comment)
    page = (await guarded.get(f"/organiser/chats/{chat}", params={"moment": rated.id})).text
    assert '<details class="panel reasoning" open>' in page and "plan Good." in page
    other = next(fact for fact in store.ratings(ANNE, chat).values() if not fact.rating.comment)
    page = (await guarded.get(f"/organiser/chats/{chat}", params={"moment": other.id})).text
    assert "plan Good." not in page, "the other swipe was on the screen"
    vote = store.ballots(ANNE)[0].ballot.id
    page = (await guarded.get(f"/organiser/chats/{chat}", params={"moment": vote})).text
    assert page.count("<details") == 1 and "open>" not in page and 'class="pair"' in page
    for wrong in (f"/organiser/chats/{chat}?moment=x", "/organiser/chats/x", "/organiser/chats/%00"):
        assert (await guarded.get(wrong)).status_code == 404


async def test_who_withdrew_is_on_no_page_and_in_no_file(store: Store, desk: OrganiserDesk, guarded: httpx.AsyncClient) -> None:
    gone, stays = fill(store, ANNE, "gone"), fill(store, BEN, "stays")
    await entered(guarded, desk)
    assert "gone" in (await guarded.get("/organiser")).text
    store.withdraw_visitor(ANNE)
    desk._figures = None  # the page keeps its figures for two seconds
    pages = [
        (await guarded.get(path)).text
        for path in ("/organiser", "/organiser/live", "/organiser/export", f"/organiser/chats/{stays}")
    ]
    assert all("gone" not in page and pseudonym(ANNE) not in page for page in pages)
    assert all(pseudonym(BEN) in page for page in pages) and (await guarded.get(f"/organiser/chats/{gone}")).status_code == 404


async def test_an_export_is_limited_by_what_the_form_says(store: Store, desk: OrganiserDesk, guarded: httpx.AsyncClient) -> None:
    fill(store, ANNE, "one")
    fill(store, BEN, "two")
    await entered(guarded, desk)
    everything = await guarded.get("/organiser/export?format=jsonl&file=jsonl&persona=&rater=&since=&until=&dimension=")
    assert everything.text.count("\n") == 4 and "attachment" in everything.headers["content-disposition"]
    bens = await guarded.get("/organiser/export", params={"format": "verdicts", "rater": rater(BEN)})
    assert bens.text.count("\n") == 1 and "vote two" in bens.text
    refused = await guarded.get("/organiser/export?since=yesterday")
    assert refused.status_code == 400 and "write a day" in refused.text


async def test_missions_show_who_began_and_who_is_done(store: Store, desk: OrganiserDesk, guarded: httpx.AsyncClient) -> None:
    goal = {"en": f"Let him confess {ATTACK}", "zh": "让他承认"}
    mission = {"id": "confess", "persona": "iago", "goal": goal, "people": 3}
    desk.playtest = Playtest.model_validate_json(json.dumps({"name": "evening", "missions": [mission]}))
    for visitor_id in (ANNE, BEN):
        given = store.assign(visitor_id, "evening", {"confess": 3}, since=0)
        assert given
        store.begin_mission(visitor_id, given.id, fill(store, visitor_id, "x"))
        store.finish_mission(visitor_id, given.id)
    store.withdraw_visitor(BEN)
    page = (await (await entered(guarded, desk)).get("/organiser?lang=en")).text
    assert "1 of 3 done" in page and "1 began, 1 were given it" in page and "<script>alert" not in page
    assert "让他承认" in (await guarded.get("/organiser?lang=zh")).text


async def test_an_empty_playtest_says_what_to_do(desk: OrganiserDesk, guarded: httpx.AsyncClient) -> None:
    page = (await (await entered(guarded, desk)).get("/organiser?lang=en")).text
    assert "Share the address" in page and "her play --playtest" in page


SIGHTS = {"turn": {"open": True, "in_view": True, "ms": 9}, "role_thinking": {"open": False, "in_view": False, "ms": 0}}


@pytest.mark.parametrize(
    ("seen", "judged", "is_open"),
    [
        ({"role_thinking": True}, False, True),
        ({"opened": ["role_thinking"]}, True, True),
        ({"opened": ["role_thinking"]}, False, False),
        ({"version": 2, "role_thinking": True, "sights": SIGHTS}, True, False),
        ({"version": 2, "role_thinking": True, "sights": SIGHTS}, False, True),
        ({"version": 2, "role_thinking": True, "shut": ["role_thinking"], "sights": {"turn": SIGHTS["turn"]}}, True, False),
    ],
)
def test_a_panel_is_open_as_it_was_measured(seen: dict[str, Any], judged: bool, is_open: bool) -> None:
    assert was_open("role_thinking", Seen.model_validate_json(json.dumps(seen)), judged=judged) is is_open
