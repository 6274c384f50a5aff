"""her/training_data/overlap.py: a conversation is found again by its id, by a whole prompt, and by its lines."""

from her.training_data.overlap import TrainedOn, stock_lines, trained_on
from her.training_data.splits import SHARES, chat_split
from her.types import Message

LINES = [
    "Tom: Where were you when the lamp went out on the ninth of May?",
    "Mara: <role_thinking>He knows.</role_thinking>I was below, counting the oil barrels as I always do.",
    "Tom: And who, may I ask, was up there with the lamp instead?",
    "Mara: Nobody was there. That is the whole of my confession, sir.",
    "Tom: Then the sea has a great deal to answer for this year.",
]


def prompt(lines: list[str], system: str = "You are Mara.") -> tuple[Message, ...]:
    roles = ["user" if line.startswith("Tom") else "assistant" for line in lines]
    first = Message(role="system", content=system)
    return (first, *(Message(role=role, content=line) for role, line in zip(roles, lines, strict=True)))  # type: ignore[arg-type]


TRAINED = trained_on([("chat 1", prompt(LINES[:3]), [LINES[3], "Mara: Go away."])])


def test_turn_six_of_a_conversation_whose_turn_five_was_trained_on() -> None:
    later = prompt(LINES, system="Another wording of the persona.")
    assert "lines" in TRAINED.why("another id", later)


def test_the_id_the_whole_prompt_and_nothing_else() -> None:
    assert "conversation 'chat 1'" in TRAINED.why("chat 1", prompt(["Tom: Hello."]))
    short = trained_on([("", prompt(["Tom: Hello."]), ["Mara: Hello."])])
    assert "very prompt" in short.why("", prompt(["Tom: Hello."]))
    assert not short.why("", prompt(["Tom: Hello."], system="You are Ned."))
    other = ["Tom: What shall we make for supper tonight, with the fish gone off?", "Mara: Bread."]
    assert not TRAINED.why("chat 2", prompt(other))


def test_spelling_and_thoughts_do_not_hide_a_line() -> None:
    changed = prompt(["Tom: WHERE were you -- when the lamp went out, on the ninth of May", LINES[1].replace("He knows.", "Hm.")])
    assert "2 of its lines" in TRAINED.why("x", changed)


def test_one_shared_line_of_many_is_chance_and_a_greeting_of_all_chats_says_nothing() -> None:
    many = prompt([LINES[0], "Mara: " + "b" * 40, "Tom: " + "c" * 40])
    assert not TRAINED.why("x", many)
    alone = prompt([LINES[0]])
    assert TRAINED.why("x", alone)
    stock = stock_lines((f"chat {number}", alone) for number in range(4))
    assert len(stock) == 1 and not TRAINED.why("x", alone, stock)


def test_it_survives_a_file() -> None:
    assert TrainedOn.model_validate_json(TRAINED.model_dump_json()) == TRAINED


def test_a_chat_keeps_its_split_and_shares_are_kept() -> None:
    splits = [chat_split(f"chat {number}") for number in range(2000)]
    assert splits == [chat_split(f"chat {number}") for number in range(2000)]
    for name, share in SHARES.items():
        assert abs(splits.count(name) / 2000 - share) < 0.04
