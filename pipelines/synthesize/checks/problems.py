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
    "action_other": "an action tells what somebody else does",
    "thought_in_action": "an action holds a thought",
    "end_mark": "a full stop or comma stands at the end inside a tag",
    "joined_acts": "two acts stand side by side without a mark between them",
    "narration": "speech holds narration",
    "too_long": "the turn has grown too long",
    "speech_lost": "words that the original says are gone",
    "speech_added": "words are said that the original does not say",
    "action_lost": "what the original does is gone",
    "thought_lost": "what the original thinks is gone",
    "refusal": "it refuses the task",
    "task_talk": "it speaks of the task: the turn, the draft, the text, the instructions",
    "markdown": "it holds Markdown or a list",
    "repeated": "it repeats itself, or what was written before",
    "lazy": "nothing at all was changed in the conversation",
    "language": "words of another language or script are mixed in",
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
    "plan_second_person": "the plan speaks to somebody as 'you'",
    "plan_other": "the plan is about another character",
    "plan_template": "the plan shares its sentences with another plan of the scene",
    "plan_copies": "the plan copies the profile",
    "plan_quotes": "the plan quotes the turn wholesale",
    "plan_short": "the plan is too short",
    "plan_long": "the plan is too long",
    "plan_cut": "the plan ends in the middle of a sentence",
    "plan_tags": "the plan holds tags",
    "checker_voice": "the checker: it is in another voice than that of the character (a thought) or of the actor (a plan)",
    "checker_knows": "the checker: it holds what the character cannot know",
    "checker_unfit": "the checker: the thought does not fit what is said and done",
    "checker_meaning": "the checker: what is said or done has another meaning than in the original",
    "checker_acts_for_other": "the checker: an action tells what somebody else does",
    "checker_other_turn": "the checker: the plan leads to another turn",
    "checker_opposite": "the checker: the plan leads to the opposite of the turn",
    "checker_generic": "the checker: the plan fits any turn",
    "checker_unsupported": "the checker: the quotation does not say it",
    "checker_not_needed": "the checker: the scene does not need it",
    "checker_during_scene": "the checker: it is found out, decided or done during the scene or after it",
    "checker_secret": "the checker: it tells a secret to those who read it",
    "checker_other_character": "the checker: it belongs to another character",
}
"""Name -> meaning."""


def problem(name: str, detail: str = "") -> Defect:
    """Return a problem; `detail` is the offending text, cut to 80 characters."""
    assert name in PROBLEMS, name
    return Defect(name=name, detail=detail[:80])
