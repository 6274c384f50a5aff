"""List all problems a check can find in one table. To add one: a line here, and a check that yields `problem(NAME)`.

The names stand in `STAGE.turns.jsonl` and in the report; the meanings are shown in the report and to the model that is
asked again.
"""

from her.types import Defect

PROBLEMS: dict[str, str] = {
    "tags": "the text departs from the notation",
    "missing": "there is no text for this turn",
    "plan": "there is a plan in it; only thoughts, actions and speech are asked for",
    "thought_person": "a thought is not in the first person",
    "action_person": "an action names its doer, or uses a pronoun for them",
    "narration": "speech holds narration",
    "too_long": "the turn has grown too long",
    "speech_lost": "words that the original says are gone",
    "speech_added": "words are said that the original does not say",
    "language": "words of another language are mixed in",
    "garbled": "there are control characters, escapes or template brackets in the text",
    "mind_reading": "what another thinks or wants is stated as known",
    "hidden_fact": "it states something that the character cannot know",
    "echo": "a thought repeats what is said aloud",
    "three_alike": "the same order of parts stands three times in a row",
    "opening_repeated": "two neighbouring thoughts open with the same words",
    "few_patterns": "the conversation has too few different orders of parts",
    "creeping": "turns grow longer in the course of the conversation",
    "plan_user": "the plan says 'user'",
    "plan_first_person": "the plan speaks as the character",
    "plan_nameless": "the plan does not name the character",
    "plan_astray": "the plan does not lead to the turn",
    "plan_quotes": "the plan quotes the turn wholesale",
    "plan_short": "the plan is too short",
    "plan_long": "the plan is too long",
    "plan_cut": "the plan ends in the middle of a sentence",
    "plan_tags": "the plan holds tags or headings",
}
"""Name -> meaning."""


def problem(name: str, detail: str = "") -> Defect:
    """Return a problem; `detail` is the offending text, cut to 80 characters."""
    assert name in PROBLEMS, name
    return Defect(name=name, detail=detail[:80])
