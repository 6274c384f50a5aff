"""Fill a database with an invented playtest of twelve people, for the picture of the organiser's page."""

import random
from pathlib import Path
from unittest.mock import patch

from her.feedback.rubric import RUBRIC
from her.store import Draft, Generation, Node, Rating, Seen, Store, Vote
from her.types import CastMember, Message, Part, Sampling, Scenario, Turn

PROMPT = (Message(role="system", content="Play Sherlock Holmes."), Message(role="user", content="Mara: What are you thinking?"))
SAID = (
    "You have been in the garden, I perceive.",
    "Pray sit down. You are cold, and it is not the weather.",
    "The dog did nothing.",
)
COMMENTS = (
    "",
    "",
    "The thought explains the lie. I want to know what is in the letter.",
    "心口不一，却很可信。",
    "Too polite for Holmes.",
)
START = 1_795_850_000_000


class Playtest:
    """The people, with a clock of their own, so that the page is the same each time but for random names."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.chance = random.Random(3)
        self.time = START

    def now(self) -> int:
        self.time += self.chance.randint(2_000, 90_000)
        return self.time

    def evening(self) -> None:
        modules = ("chats", "feedback", "votes")
        with patch.multiple("her.store.core", now=self.now):
            patches = [patch(f"her.store.{name}.now", self.now) for name in modules]
            for each in patches:
                each.start()
            for number in range(12):
                for _ in range(self.chance.randint(1, 3)):
                    self.chat(f"{number + 1:064x}")
            for each in patches:
                each.stop()

    def chat(self, visitor: str) -> None:
        draft = Draft(title="An evening with Sherlock Holmes", persona_id="sherlock-holmes", speaker="Sherlock Holmes",
                      visitor_name="Mara", scenario=Scenario(), cast=(CastMember(name="Sherlock Holmes"),))  # fmt: skip
        greeting = Turn(speaker="Sherlock Holmes", parts=(Part(kind="speech", text="Good evening."),))
        chat = self.store.create_conversation(visitor, draft, [(greeting, "greeting")])
        head = chat.head_id
        for _ in range(self.chance.randint(2, 7)):
            line = Turn(speaker="Mara", parts=(Part(kind="speech", text="What are you thinking?"),))
            asked = self.store.add_turn(visitor, chat.id, head, line, "visitor")
            one = self.reply(visitor, asked, "sft-1")
            head = one.id
            if self.chance.random() < 0.75:
                self.rate(visitor, one)
            if self.chance.random() < 0.6:
                self.vote(visitor, one, self.reply(visitor, asked, self.chance.choice(("rl-2", "rl-2", "base"))))

    def reply(self, visitor: str, asked: Node, model: str) -> Node:
        texts = ("Holmes deflects, then lets one true thing slip.", "She has noticed the letter.", "turns the pipe over")
        kinds = ("system_thinking", "role_thinking", "role_action")
        parts = [Part(kind=kind, text=text) for kind, text in zip(kinds, texts, strict=True)]
        turn = Turn(speaker="Sherlock Holmes", parts=(*parts, Part(kind="speech", text=self.chance.choice(SAID))))
        call = Generation(conversation_id="", parent_id=None, messages=PROMPT, sampling=Sampling(), spec="openai:x", model=model,
                          finish="stop", raw="", started_at=1, ended_at=2)  # fmt: skip
        return self.store.add_turn(visitor, asked.conversation_id, asked.id, turn, "model", generation=call)

    def rate(self, visitor: str, node: Node) -> None:
        chosen = [label.id for label in RUBRIC.dimensions if self.chance.random() < 0.7]
        stars = {name: max(1, min(5, round(self.chance.gauss(3.6, 1)))) for name in chosen}
        rating = Rating(rubric=RUBRIC.version, thumb=1, stars=stars, comment=self.chance.choice(COMMENTS), seen=Seen())
        self.store.rate(visitor, node.conversation_id, node.id, rating)

    def vote(self, visitor: str, one: Node, two: Node) -> None:
        shown = [one.id, two.id]
        self.chance.shuffle(shown)
        ballot = self.store.add_ballot(visitor, one.conversation_id, (shown[0], shown[1]))
        better, worse = ("a", "b") if ballot.a_id == two.id else ("b", "a")
        winner = self.chance.choices((better, worse, "tie", "both_bad"), (5, 3, 1.5, 0.5))[0]
        self.store.vote(visitor, ballot.id, Vote(winner=winner))
        if self.chance.random() < 0.25:
            again = self.store.repeat_ballot(visitor, ballot.id)
            self.store.vote(visitor, again.id, Vote(winner=winner if self.chance.random() < 0.8 else "tie"))


def fill(home: Path) -> None:
    """Write the database of HER_HOME."""
    home.mkdir(parents=True, exist_ok=True)
    store = Store(f"sqlite:///{home / 'her.sqlite3'}")
    Playtest(store).evening()
    store.close()
