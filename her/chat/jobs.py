"""Reply jobs: the prompt, sampling and place in the tree of a reply that a visitor asks for.

Synchronous; called in a thread.
"""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from her import view
from her.backends.base import Backend
from her.chat.edits import continuation_base, played_node
from her.chat.openings import clean_message
from her.chat.pages import Page, fitted
from her.chat.steering import Steer, steered
from her.errors import InputError
from her.format import Parser, plain_turn
from her.prompts import fill
from her.store import Origin, PathNode, Rewritten
from her.types import ENVIRONMENT, Message, Sampling, Thinking, Turn, Value


class ChatLimits(Value):
    """Limits of what one visitor may ask for, of what comes from one address, and of the whole server.

    An address may stand for a class of forty people behind one router, so its limits are far above a visitor's.

    Args:
        max_message_chars: code points of a message.
        max_turns: of the shown path.
        max_live_per_visitor: replies that are being written at once; `_per_address` and `max_live` likewise.
        max_reply_seconds: of one reply.
        max_streams_per_visitor: open streams of replies, of all tabs of a browser.
        max_chats_per_visitor: chats that are not deleted, as many as the list shows.
        new_chats_per_address: new chats without a pause; then one in `new_chat_seconds`.
    """

    max_message_chars: int = 20_000
    max_turns: int = 5_000
    max_live_per_visitor: int = 3
    max_live_per_address: int = 120
    max_live: int = 300
    max_reply_seconds: float = 600
    max_streams_per_visitor: int = 12
    max_streams_per_address: int = 400
    max_streams: int = 800
    max_chats_per_visitor: int = 200
    new_chats_per_address: int = 400
    new_chat_seconds: float = 2


@dataclass(frozen=True)
class ReplyJob:
    """A reply to generate, and its place in the chat's tree.

    Args:
        page: the chat as it was when the job was made.
        backend: the model to call.
        sampling: parameters of the call.
        prompt: messages of the call.
        parent_id: node the reply hangs under; the question's id when there is a question.
        question: the visitor's turn, to be stored under `question_parent` first.
        question_parent: node the question hangs under.
        edit_of: the turn that `question` rewrites.
        text: the visitor's own words, given back when the reply fails.
        replaces: node that the reply stands beside as a swipe.
        base: the turn that the reply continues.
        reasoning: the native reasoning that came with `base`.
        steer: the plan or thought that a person rewrote, with which `base` ends.
        character: who plays in a scene of several; empty for the character of the chat.
        thinking: layers of thinking that are asked for.
        planted: the reply is made bad on purpose, for a catch pair.
        again: makes prompt and sampling anew, by what the backend has learned since about its context and tokens.
    """

    page: Page
    backend: Backend
    sampling: Sampling
    prompt: view.Prompt
    parent_id: str | None
    question: Turn | None = None
    question_parent: str | None = None
    edit_of: str | None = None
    text: str = ""
    replaces: str | None = None
    base: Turn | None = None
    reasoning: str = ""
    steer: Steer | None = None
    character: str = ""
    thinking: Thinking = "full"
    planted: bool = False
    again: Callable[[], tuple[view.Prompt, Sampling]] | None = None

    @property
    def chat(self) -> str:
        """Id of the chat."""
        return self.page.conversation.id

    @property
    def visitor(self) -> str:
        """Id of the visitor who owns the chat."""
        return self.page.conversation.visitor_id

    @property
    def speaker(self) -> str:
        """Name of the character that the model plays."""
        return self.character or self.page.conversation.speaker

    @property
    def origin(self) -> Origin:
        """Origin of the reply's turn."""
        return "planted" if self.planted else "steer" if self.steer else "continue" if self.base else "model"

    def prompt_in_words(self) -> view.Prompt:
        """Return the prompt that asks in words to go on from the beginning with which its messages end."""
        words = Message(role="user", content=fill("steer_turn", self.page.conversation.language, {"name": self.speaker}))
        return self.prompt.model_copy(update={"messages": (*self.prompt.messages, words)})

    def asked_by(self, question: Turn, parent_id: str | None, edit_of: str | None = None) -> "ReplyJob":
        """Return the same job as the answer to `question`, which is to be stored under `parent_id` first."""
        return replace(self, question=question, question_parent=parent_id, edit_of=edit_of, text=question.raw)

    def fresh_parser(self) -> Parser:
        """Return a parser for a reply that does not continue the base, or that begins it anew."""
        return replace(self, base=None, reasoning="", steer=None).parser()

    def parser(self) -> Parser:
        """Return a parser for the reply, fed with the turn that is continued."""
        names = [member.name for member in self.page.conversation.cast]
        others = dict.fromkeys([*names, self.page.conversation.visitor_name, ENVIRONMENT])
        parser = Parser(self.speaker, [name for name in others if name and name != self.speaker])
        if self.reasoning:
            parser.feed_reasoning(self.reasoning)
        if self.base:
            parser.feed(self.base.raw)
        return parser


@dataclass(frozen=True)
class ReplyJobBuilder:
    """Builder of the jobs of one chat as it is now; every method raises InputError for a reply that cannot be asked for."""

    page: Page
    backend: Backend
    sampling: Sampling
    limits: ChatLimits
    character: str = ""
    thinking: Thinking = "full"

    def send(self, text: str) -> ReplyJob:
        """Answer a message at the end of the path."""
        return self._answer_to(text, self.page.turns, self.page.conversation.head_id)

    def answer(self, others: int = 0) -> ReplyJob:
        """Play the next turn, whoever spoke last; `others` is the number of replies that are there already."""
        return self._reply(self.page.turns, self.page.conversation.head_id, swipes=others)

    def play(self, name: str) -> ReplyJob:
        """Let this character of a scene, or its narrator, play the next turn."""
        chat = self.page.conversation
        known = {member.name for member in chat.cast} | {ENVIRONMENT}
        if chat.ensemble is None or name not in known or not chat.plays(name):
            raise InputError(f"the model does not play {name[:60]!r} in this chat; choose a character of the scene")
        if name in view.absent(self.page.transcript()):
            raise InputError(f"{name} is not there now; let them come in first")
        return replace(self, character=name).answer()

    def regenerate(self, node_id: str) -> ReplyJob:
        """Generate another reply beside a shown turn of the model."""
        old = played_node(self.page, node_id)
        builder = self._as_speaker_of(old.turn)
        return builder._reply(self.page.before(old.id), old.parent_id, replaces=old.id, swipes=old.swipe_count)

    def edit_own(self, node_id: str, text: str) -> ReplyJob:
        """Answer the text that the visitor puts in place of an earlier turn of theirs."""
        old = self.page.shown(node_id)
        if not self.page.mine(old):
            raise InputError("this turn is not yours; edit a turn of your own")
        after = self.page.path[self.page.path.index(old) + 1 :]
        return self._responder(after)._answer_to(text, self.page.before(old.id), old.parent_id, edit_of=old.id)

    def steer(self, node_id: str, rewritten: Rewritten, text: str) -> ReplyJob:
        """Go on from a shown turn of the model up to one of its plans or thoughts, which gets another text."""
        node = played_node(self.page, node_id)
        cleaned = clean_message(text, self.limits.max_message_chars)
        steer = steered(node, rewritten, cleaned)
        # The begun turn is part of the call, and so are the words that ask to go on from it where it is passed over.
        begun = Message(role="assistant", content=steer.base.raw)
        words = Message(role="user", content=fill("steer_turn", self.page.conversation.language, {"name": node.turn.speaker}))
        job = self._begun(node, steer.base, self.backend.count_tokens((begun, words)), swipes=node.swipe_count)
        return replace(job, steer=steer)

    def continue_(self) -> ReplyJob:
        """Continue the last turn."""
        page = self.page
        if not page.path or not page.played(page.path[-1]):
            raise InputError("the last turn is not the model's, so it cannot be continued; send a message instead")
        node = page.path[-1]
        base, reasoning = continuation_base(node)
        # The begun turn is part of the call, so its tokens are kept free in the history.
        reserved = self.backend.count_tokens((Message(role="assistant", content=base.raw),))
        return replace(self._begun(node, base, reserved), reasoning=reasoning)

    def _begun(self, node: PathNode, base: Turn, reserved: int, swipes: int | None = None) -> ReplyJob:
        """Return the job that goes on from `base` in place of a turn, with a seed of its own where `swipes` are counted."""
        builder = self._as_speaker_of(node.turn)

        def again() -> tuple[view.Prompt, Sampling]:
            history, sampling = builder._prompt(self.page.before(node.id), reserved)
            return view.continuation(history, base), sampling if swipes is None else builder._with_seed(sampling, swipes)

        prompt, sampling = again()
        return ReplyJob(
            page=self.page,
            backend=self.backend,
            sampling=sampling,
            prompt=prompt,
            again=again,
            parent_id=node.parent_id,
            replaces=node.id,
            base=base,
            character=builder.character,
        )

    def _answer_to(self, text: str, before: Sequence[Turn], parent_id: str | None, edit_of: str | None = None) -> ReplyJob:
        message = clean_message(text, self.limits.max_message_chars)
        question = plain_turn(self.page.conversation.visitor_name, message)
        return self._reply((*before, question), question.id).asked_by(question, parent_id, edit_of)

    def _reply(self, turns: Sequence[Turn], parent_id: str | None, *, replaces: str | None = None, swipes: int = 0) -> ReplyJob:
        def again() -> tuple[view.Prompt, Sampling]:
            prompt, sampling = self._prompt(turns)
            return prompt, self._with_seed(sampling, swipes)

        prompt, sampling = again()
        return ReplyJob(
            page=self.page,
            backend=self.backend,
            sampling=sampling,
            prompt=prompt,
            again=again,
            parent_id=parent_id,
            replaces=replaces,
            character=self.character,
            thinking=self.thinking,
        )

    def _responder(self, after: Sequence[PathNode]) -> "ReplyJobBuilder":
        """Return the builder for whoever of a scene answered a turn: the first of the turns after it that the model played."""
        answer = next((node for node in after if self.page.played(node)), None)
        return self if answer is None else self._as_speaker_of(answer.turn)

    def _as_speaker_of(self, turn: Turn) -> "ReplyJobBuilder":
        """Return the builder for the speaker of a turn in a scene of several characters."""
        return replace(self, character=turn.speaker) if self.page.conversation.ensemble else self

    def _prompt(self, turns: Sequence[Turn], reserved: int = 0) -> tuple[view.Prompt, Sampling]:
        """Return the prompt for the turn after `turns`, with `reserved` tokens kept free, and the sampling."""
        most = self.limits.max_turns
        if len(turns) > most:
            raise InputError(f"this chat has {len(turns):,} turns and at most {most:,} are allowed; start a new chat")
        sampling, budget = fitted(self.sampling, self.backend.describe())
        return self._prompt_of(turns, budget - reserved), sampling

    def _prompt_of(self, turns: Sequence[Turn], budget: int) -> view.Prompt:
        """Return the prompt for the turn after `turns` within this many tokens."""
        transcript, speaker = self.page.transcript(turns), self.character or self.page.conversation.speaker
        if speaker == ENVIRONMENT:
            return view.narrator_prompt(transcript, budget, self.backend.count_tokens)
        return view.prompt(transcript, speaker, budget, self.backend.count_tokens, self.thinking)

    def _with_seed(self, sampling: Sampling, swipes: int) -> Sampling:
        """Return the sampling with another seed for each swipe, so that asking again gives another reply.

        With a seed in the settings the seeds of the swipes follow from it, so that a chat can be repeated.
        """
        if not swipes:
            return sampling
        if sampling.seed is None and not self.backend.describe().scripted:
            return sampling.model_copy(update={"seed": secrets.randbits(31)})
        # The scripted player numbers its written lines by the seed, so consecutive seeds show every line.
        return sampling.model_copy(update={"seed": (sampling.seed or 0) + swipes})
