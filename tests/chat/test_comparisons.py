"""her/chat/comparisons.py, running_pair.py, pairs.py: replies that are written twice, by arms, on a real service and store."""

import asyncio
from collections import Counter

import pytest

from her.chat.comparisons import ComparedArm, Comparing, PlantedReply
from her.chat.pairs import Place, PlacedVote, cast_vote, go_on, passed_over
from her.chat.running_pair import Lockstep, RunningPair
from her.chat.service import ChatService
from her.chat.views import ChatView
from her.errors import BackendError, InputError
from her.store import Store
from her.store.exports import voted_pairs
from her.types import Part, Sampling
from tests.players import ANNE, BERT, Actor, Step, ended, followed, opened, reply, said, service, texts

FAILED = BackendError("no answer", "unreachable")


def arm(name: str, *replies: list[Step], **fields: object) -> ComparedArm:
    return ComparedArm(name, Actor(*replies, spec=f"secret-{name}:"), **fields)  # type: ignore[arg-type]


def comparing(*arms: ComparedArm, every: int = 1, catch: float = 0, repeat: float = 0, seed: int = 1) -> Comparing:
    planted = PlantedReply("assistant", "Mara: How can I help you further?")
    return Comparing(arms, lambda _: every, catch=catch, repeat=repeat, seed=seed, plant=lambda *_: planted)


def compared(store: Store, *arms: ComparedArm, **fields: object) -> ChatService:
    chats = service(store, Actor(reply("Alone.")))
    chats.comparing = comparing(*(arms or (arm("one", reply("One.")), arm("two", reply("Two.")))), **fields)  # type: ignore[arg-type]
    return chats


def shown(view: ChatView) -> list[str]:
    assert view.ballot is not None
    return [side[-1].text for side in view.ballot.sides]


async def asked(chats: ChatService) -> ChatView:
    view = await said(chats, (await opened(chats)).id)
    assert view.ballot is not None and view.turns[-1].mine
    return view


def vote(store: Store, view: ChatView, winner: str = "first", visitor: str = ANNE) -> None:
    assert view.ballot is not None
    placed = PlacedVote(id="vote-" + view.ballot.id, winner=winner)  # type: ignore[arg-type]
    cast_vote(store, visitor, view.ballot.id, placed.of(store.ballot(visitor, view.ballot.id)))


async def test_two_arms_answer_one_prompt_and_the_winner_goes_on(store: Store) -> None:
    arms = arm("one", reply("One."), sampling=Sampling(temperature=0.2)), arm("two", reply("Two."))
    chats = compared(store, *arms)
    view = await asked(chats)
    one, two = (each.backend for each in arms)
    assert isinstance(one, Actor) and isinstance(two, Actor) and one.sent == two.sent and len(one.sent) == 1
    assert (one.samplings[0].temperature, two.samplings[0].temperature) == (0.2, chats.sampling.temperature)
    assert sorted(shown(view)) == ["One.", "Two."] and view.ballot is not None and view.ballot.state == "vote"
    ballot = store.ballot(ANNE, view.ballot.id)
    arms_shown = [name.name for name in ballot.shown_arms or ()]
    assert arms_shown == [text.rstrip(".").lower() for text in shown(view)]
    vote(store, view, "second")
    after = await chats.view(ANNE, view.id)
    assert after.ballot is None and texts(after)[-1] == f"nods {shown(view)[1]}" and after.turns[-1].swipe_count == 2
    (pair,) = voted_pairs(store)
    assert pair.ballot == ballot and pair.a.prompt == pair.b.prompt and pair.a.generation != pair.b.generation


async def test_every_nth_reply_is_a_comparison_and_sides_are_drawn(store: Store) -> None:
    chats = compared(store, every=3)
    chat, kinds = (await opened(chats)).id, []
    for _ in range(6):
        view = await said(chats, chat)
        kinds.append(view.ballot is not None)
        if view.ballot:
            vote(store, view)
    assert kinds == [False, False, True] * 2
    chats = compared(store)
    first = {shown(await asked(chats))[0] for _ in range(8)}
    assert first == {"One.", "Two."}


@pytest.mark.parametrize(
    ("winner", "place", "text"), [("tie", None, 0), ("both_bad", "second", 1), ("both_bad", "first", 0), ("", "second", 1)]
)
async def test_a_tie_goes_on_with_the_first_and_other_answers_with_a_choice(
    store: Store, winner: str, place: Place | None, text: int
) -> None:
    chats = compared(store)
    view = await asked(chats)
    assert view.ballot is not None
    for act in (
        chats.send(ANNE, view.id, "And?"),
        chats.swipe(ANNE, view.id, view.turns[-1].turn.id, 1),
        chats.answer(ANNE, view.id),
    ):
        with pytest.raises(InputError, match="two replies wait"):
            await act
    if winner:
        vote(store, view, winner)
    if place:
        if winner:
            again = await chats.view(ANNE, view.id)
            assert again.ballot is not None and again.ballot.state == "choice" and again.ballot.sides == view.ballot.sides
            with pytest.raises(InputError, match="choose the reply"):
                await chats.send(ANNE, view.id, "And?")
        go_on(store, ANNE, view.ballot.id, place)
    after = await chats.view(ANNE, view.id)
    assert after.ballot is None and texts(after)[-1] == f"nods {shown(view)[text]}"
    assert len(list(voted_pairs(store))) == bool(winner)


async def test_a_new_reply_may_follow_two_bad_ones(store: Store) -> None:
    chats = compared(store)
    view = await asked(chats)
    vote(store, view, "both_bad")
    await ended(await chats.answer(ANNE, view.id))
    after = await chats.view(ANNE, view.id)
    assert texts(after)[-1] == "nods Alone." and after.turns[-1].swipe_count == 3 and after.ballot is None


async def test_what_only_one_arm_may_write_is_shown_of_neither(store: Store) -> None:
    thought = "<role_thinking>Hm.</role_thinking>Mara: No."
    for mode, kinds in (("full", 3), ("no_plan", 2), ("no_thoughts", 1)):
        arms = arm("a", reply("Yes. ")), arm("b", [thought], thinking=mode)
        view = await asked(compared(store, *arms))
        assert view.ballot is not None
        seen = {part.kind for side in view.ballot.sides for part in side}
        assert ("system_thinking" in seen) == (kinds == 3) and ("role_thinking" in seen) == (kinds >= 2)
        prompts = [each.backend.sent[0] for each in arms if isinstance(each.backend, Actor)]
        assert (prompts[0] == prompts[1]) == (mode == "full")
        if mode == "no_plan":
            ballot = store.ballot(ANNE, view.ballot.id)
            nodes = [store.node(ANNE, view.id, node_id).turn for node_id in ballot.shown_ids]
            assert not any(defect.name == "plan_missing" for turn in nodes for defect in turn.defects)


@pytest.mark.parametrize("failing", [0, 1])
async def test_a_failed_side_makes_no_vote_and_the_other_is_the_turn(store: Store, failing: int) -> None:
    replies: list[list[Step]] = [reply("Whole."), ["Mara: I", FAILED]]
    chats = compared(store, arm("one", replies[failing]), arm("two", replies[1 - failing]))
    chat = await opened(chats)
    last = await ended(await chats.send(ANNE, chat.id, "Hello."))
    view = await chats.view(ANNE, chat.id)
    assert (last.state, last.fallen, view.ballot) == ("done", True, None) and texts(view)[-1] == "nods Whole."
    assert view.turns[-1].swipe_count == 1 and not store.ballots(ANNE)


async def test_two_failed_sides_leave_the_chat_as_it_was(store: Store) -> None:
    chats = compared(store, arm("one", [FAILED]), arm("two", [FAILED]))
    chat = await opened(chats)
    last = await ended(await chats.send(ANNE, chat.id, "Hello."))
    assert last.state == "failed" and last.give_back == "Hello." and await chats.view(ANNE, chat.id) == chat


async def test_a_stopped_comparison_keeps_the_whole_side(store: Store) -> None:
    never = asyncio.Event()
    for steps, text in (([*reply("Half"), never], "nods Whole."), (reply("Whole."), "nods Whole.")):
        chats = compared(store, arm("one", steps), arm("two", reply("Whole.") if never in steps else [PLAN_ONLY, never]))
        chat = await opened(chats)
        live = await chats.send(ANNE, chat.id, "Hello.")
        assert isinstance(live, RunningPair)
        await asyncio.wait_for(_until(lambda: any(side.read for side in live.sides)), 10)  # noqa: B023  (called at once)
        await chats.stop(ANNE, chat.id)
        view = await chats.view(ANNE, chat.id)
        assert texts(view)[-1] == text and view.ballot is None and not store.ballots(ANNE)


PLAN_ONLY = "<system_thinking>Mara"


async def _until(is_so: object) -> None:
    while not is_so():  # type: ignore[operator]
        await asyncio.sleep(0)


async def test_equal_replies_are_no_comparison(store: Store) -> None:
    chats = compared(store, arm("one", reply("Same.")), arm("two", reply("Same.")))
    view = await said(chats, (await opened(chats)).id)
    assert view.ballot is None and texts(view)[-1] == "nods Same." and view.turns[-1].swipe_count == 1


async def test_a_comparison_takes_two_places_or_is_none(store: Store) -> None:
    go = asyncio.Event()
    slow = [go, *reply("One.")], [go, *reply("Two.")]
    chats = service(store, Actor(reply("Alone.")), max_live_per_visitor=3)
    chats.comparing = comparing(arm("one", slow[0]), arm("two", slow[1]))
    rooms = [(await opened(chats)).id for _ in range(3)]
    lives = [await chats.send(ANNE, room, "Hello.") for room in rooms[:2]]
    assert [isinstance(live, RunningPair) for live in lives] == [True, False]
    with pytest.raises(InputError, match="3 replies are being written"):
        await chats.send(ANNE, rooms[2], "Hello.")
    go.set()
    for live in lives:
        await ended(live)
    assert isinstance(await chats.send(ANNE, rooms[2], "Hello."), RunningPair)
    await chats.aclose()


async def test_both_sides_grow_at_one_pace(store: Store) -> None:
    go = asyncio.Event()
    fast, slow = arm("fast", ["Mara: " + "a long answer " * 9]), arm("slow", ["Mara: It", go, " is late."])
    chats = compared(store, fast, slow)
    chat = await opened(chats)
    live = await chats.send(ANNE, chat.id, "Hello.")
    following = asyncio.create_task(followed(chats, chat.id))
    await asyncio.sleep(0.3)
    go.set()
    running = [snapshot.pair for snapshot in await following if snapshot.state == "running"]
    await ended(live)
    shown_texts = [["".join(part.text for part in side) for side in pair] for pair in running if pair]
    before = [pair for pair in shown_texts if "It" in pair]  # the slow one still waits
    assert before and all(len(side) <= 2 for pair in before for side in pair)
    view = await chats.view(ANNE, chat.id)
    assert sorted(map(len, shown(view))) == [11, 125]


def test_the_longer_side_goes_on_when_the_shorter_one_is_over() -> None:
    now = [0.0]
    pace = Lockstep(lambda: now[0])
    second = Part(kind="role_action", text="y" * 30), Part(kind="speech", text="z" * 300)
    sides = (Part(kind="speech", text="x" * 50),), second
    both, one, none = (False, False), (True, False), (True, True)
    shown_lengths = []
    for seconds, over in ((0.0, both), (0.1, both), (1.0, both), (1.1, one), (9.0, none)):
        now[0] = seconds
        shown_lengths.append(tuple(sum(len(part.text) for part in side) for side in pace.cut(sides, over)))
    assert shown_lengths == [(0, 0), (40, 40), (50, 50), (50, 90), (50, 330)]


async def test_a_pair_is_shown_again_after_a_kill(store: Store) -> None:
    view = await asked(compared(store))
    again = service(store, Actor(reply("Alone.")))  # another process, without the playtest
    assert store.show_unanswered() == 0
    resumed = await again.view(ANNE, view.id)
    assert resumed.ballot == view.ballot
    vote(store, resumed)
    assert texts(await again.view(ANNE, view.id))[-1] == f"nods {shown(view)[0]}"


async def test_a_planted_reply_never_becomes_the_turn(store: Store) -> None:
    for winner in ("first", "second", "tie", "both_bad"):
        chats = compared(store, catch=1)
        view = await asked(chats)
        assert view.ballot is not None and "How can I help you further?" in shown(view)
        bad = shown(view).index("How can I help you further?")
        ballot = store.ballot(ANNE, view.ballot.id)
        assert ballot.shown_arms and ballot.shown_arms[bad].name == "planted:assistant"
        vote(store, view, winner)
        placed = PlacedVote(id="x" * 8, winner=winner).of(ballot)
        chosen = {"first": 0, "second": 1, "tie": 0}.get(winner)
        assert passed_over(ballot, placed) == (chosen == bad)
        if winner == "both_bad":
            go_on(store, ANNE, ballot.id, "second" if bad else "first")
        after = await chats.view(ANNE, view.id)
        assert texts(after)[-1] in ("nods One.", "nods Two.") and after.turns[-1].swipe_count == 1
        assert texts(await chats.swipe(ANNE, view.id, after.turns[-1].turn.id, 1)) == texts(after)


async def test_a_repeat_comes_after_an_ordinary_reply_with_sides_swapped(store: Store) -> None:
    chats = compared(store)
    first = await asked(chats)
    vote(store, first)
    second = await asked(chats)
    vote(store, second)
    chats.comparing = comparing(arm("one"), arm("two"), repeat=1)
    view = await said(chats, second.id)
    assert view.ballot is not None and view.ballot.repeat and shown(view) == shown(first)[::-1]
    assert view.ballot.question and view.ballot.question.raw == "Hello." and texts(view)[-1] == "nods Alone."
    path = texts(view)
    vote(store, view)
    after = await chats.view(ANNE, second.id)
    assert after.ballot is None and texts(after) == path
    assert [ballot.ballot.repeat_of is not None for ballot in store.ballots(ANNE)] == [False, False, True]


async def test_another_person_is_not_asked(store: Store) -> None:
    chats = compared(store)
    view = await asked(chats)
    await opened(chats, BERT)
    with pytest.raises(Exception, match="there is no ballot"):
        vote(store, view, visitor=BERT)


async def test_an_eighth_of_the_comparisons_are_catches_and_an_eighth_repeats(store: Store) -> None:
    chats = compared(store)
    page = await chats.page(ANNE, (await opened(chats)).id)
    draws = comparing(arm("one"), arm("two"), arm("three"), catch=0.125, repeat=0.125)
    chat = page.conversation
    drawn = [
        draws.draw(type(page)(chat.model_copy(update={"id": "c", "head_id": str(number)}), page.path)) for number in range(4000)
    ]
    kinds = Counter(draw.kind for draw in drawn if draw)
    assert 440 < kinds["catch"] < 560 and 440 < kinds["repeat"] < 560 and sum(kinds.values()) == 4000
    arms = Counter(tuple(each.name for each in draw.arms) for draw in drawn if draw)
    assert len(arms) == 6 and all(560 < count < 780 for count in arms.values())
