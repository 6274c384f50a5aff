"""Define one call: what is asked, the limits, what came back, and the key under which it is recorded."""

import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pydantic import BaseModel, Field, TypeAdapter

from her.backends.base import TokenChoice
from her.inference.budget import Prices
from her.inference.endpoints import EndpointLimits
from her.inference.ledger_writer import RecordedGroup
from her.inference.structured import strict_schema, value_of
from her.store.ledger import Entry, Failure
from her.types import Message, Sampling

_CHOICES = TypeAdapter(tuple[TokenChoice, ...])


def choices_json(choices: tuple[TokenChoice, ...]) -> str:
    """Return tokens as they are recorded; empty for none."""
    return _CHOICES.dump_json(choices).decode() if choices else ""


class CallLimits(EndpointLimits):
    """Limits of a run; those of each endpoint are inherited.

    Args:
        retries: how often a failed call is asked again (her.errors.REASONS says after which reason); refusals (429) do
            not count.
        backoff: seconds before the first retry, doubled by each further one up to 30.
        budget_tokens: most tokens of the whole run, those in the ledger included.
        budget_money: most money at `prices`, that of the ledger included.
        prices: of the model.
        model: name of the model in the ledger; by default that of the first endpoint.
        ahead: calls that may be in flight or wait to be taken, all together.
        workers: of a Ray cluster, with executor=ray; `max_in_flight` is for all of them together.
    """

    retries: int = Field(default=4, ge=0)
    backoff: float = Field(default=0.5, ge=0)
    budget_tokens: int | None = Field(default=None, ge=0)
    budget_money: float | None = Field(default=None, ge=0)
    prices: Prices = Prices()
    model: str = ""
    ahead: int = Field(default=1024, ge=1)
    workers: int = Field(default=2, ge=1)


@dataclass(frozen=True, slots=True)
class Call:
    """One question to a model. All fields but `id` and the last three determine the answer, together with the model.

    Args:
        id: name for records and messages.
        stage: of the pipeline.
        messages: the prompt.
        sampling: of the answer.
        schema: pydantic class that the answer must be JSON of; None for free text.
        version: of the prompt, such as its hash.
        number: tells several answers to one prompt apart.
        choices: most likely tokens whose log-probabilities are recorded, for each of the last tokens of the answer. Not in the
            key: the answer is the same with and without.
        patient: whether it waits for a place until no other call waits: nothing depends on its answer yet. Not in the key.
        meta: anything; returned with the answer.
    """

    id: str
    stage: str
    messages: tuple[Message, ...]
    sampling: Sampling = Sampling()
    schema: type[BaseModel] | None = None
    version: str = ""
    number: int = 0
    choices: int = 0
    patient: bool = False
    meta: Any = None


class Answer:
    """Result of one call: an entry of the ledger, or a failure.

    Args:
        call: what was asked.
        entry: the answer; a recorded one as the group that reads it when it is used, and its key.
        failure: why there is no answer; the call is asked again when the run is resumed.
        recorded: the answer was in the ledger before.
    """

    __slots__ = ("_entry", "_value", "call", "failure", "recorded")

    def __init__(
        self,
        call: Call,
        entry: Entry | tuple[RecordedGroup, bytes] | None,
        failure: Failure | None = None,
        *,
        recorded: bool = False,
    ) -> None:
        self.call, self._entry, self.failure, self.recorded = call, entry, failure, recorded
        self._value: BaseModel | None = None

    def for_call(self, call: Call) -> "Answer":
        """Return the same answer for another call with the same key."""
        return Answer(call, self._entry, self.failure, recorded=self.recorded)

    @property
    def entry(self) -> Entry | None:
        """Return the recorded answer; None without an answer."""
        # Late: a resumed run takes most recorded answers only to skip them.
        if isinstance(self._entry, tuple):
            group, key = self._entry
            self._entry = group.read(key)
        return self._entry

    @property
    def error(self) -> str:
        """Return why there is no usable answer, in one sentence; empty with an answer."""
        if self.failure is not None:
            return self.failure.error
        return self.entry.error if self.entry is not None else ""

    @property
    def reason(self) -> str:
        """Return the reason of an error: one of `her.errors.Reason`; `invalid_reply` for an answer that misses its schema."""
        if self.failure is not None:
            return self.failure.reason
        return "invalid_reply" if self.error else ""

    @property
    def text(self) -> str:
        """Return the model's text byte for byte; empty with an error."""
        return self.entry.content.text if self.entry is not None and not self.entry.error else ""

    @property
    def reasoning(self) -> str:
        """Return the text of an API-native reasoning field; empty with an error."""
        return self.entry.content.reasoning if self.entry is not None and not self.entry.error else ""

    @property
    def choices(self) -> tuple[TokenChoice, ...]:
        """Return the last tokens with their alternatives; none where the endpoint gave none."""
        recorded = self.entry.content.choices if self.entry is not None and not self.entry.error else ""
        return _CHOICES.validate_json(recorded) if recorded else ()

    @property
    def tier(self) -> str:
        """Return how the structure was found, one of `her.inference.structured.TIERS`; empty for free text."""
        return self.entry.tier if self.entry is not None else ""

    @property
    def truncated(self) -> bool:
        """Tell whether the answer ended at its limit of tokens."""
        return self.entry is not None and self.entry.finish == "length"

    @property
    def value(self) -> BaseModel | None:
        """Return the value of the call's schema; None without a schema or with an error."""
        # Parsed again from the text and not kept in the ledger: classes change, and the text is the evidence.
        if self._value is None and self.call.schema is not None and self.entry is not None and not self.entry.error:
            self._value = value_of(self.entry.content.fixed or self.entry.content.text, self.call.schema)
        return self._value


def call_key(call: Call, model: str) -> bytes:
    """Return the SHA-256 of all that determines the answer; docs/protocols.md lists it."""
    state = _start_of_key(call.stage, call.version, call.number, call.sampling, call.schema, model).copy()
    # The length keeps two messages from being read as one: "user 1 auser 1 b" has one reading.
    text = "".join([f"{message.role} {len(message.content)} {message.content}" for message in call.messages])
    state.update(text.encode("utf-8", "surrogatepass"))
    return state.digest()


@lru_cache(1024)
def _start_of_key(
    stage: str, version: str, number: int, sampling: Sampling, schema: type[BaseModel] | None, model: str
) -> "hashlib._Hash":
    """Hash what all calls of a stage share; cached, since the JSON schema alone takes longer than the rest."""
    json_schema = strict_schema(schema) if schema is not None else None
    # The order is part of every recorded key: do not change it.
    fields = [stage, version, number, sampling.model_dump(mode="json"), json_schema, model]
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode())
