"""her/chat/export.py: the three files of a chat."""

import json

import pytest

from her import view
from her.chat.export import export
from her.errors import HerError
from her.format import parse, plain_turn
from her.types import CastMember, Scenario, Transcript

REPLY = (
    "<system_thinking>Plan <b>.</system_thinking>Mara: <role_thinking>Wet\nfool.</role_thinking>"
    "<role_action>nods</role_action>*Sit* <img src=x>."
)


CHAT = Transcript(
    id="0123456789abcdef",
    scenario=Scenario(id="s", title="Storm", place="the lighthouse", setting="A storm."),
    cast=(CastMember(name="Mara", profile="Keeps a lighthouse."), CastMember(name="Anne")),
    turns=(plain_turn("Environment", "Rain."), plain_turn("Anne", "Hello.\n# Me"), parse(REPLY, "Mara")),
)


def test_jsonl_is_the_transcript_itself() -> None:
    name, text = export(CHAT, "Mara · Storm", "Mara", "jsonl")
    assert name == "mara-storm-01234567.jsonl" and text.count("\n") == 1 and Transcript.model_validate_json(text) == CHAT


def test_markdown_shows_every_layer_and_no_live_markup() -> None:
    _, text = export(CHAT, "A <script>", "Mara", "markdown")
    assert text.startswith(
        "# A \\<script\\>\n\n*the lighthouse*\n\nA storm.\n\n*Rain.*\n\n**Anne**\n\nHello.\n\\# Me\n\n**Mara**"
    )
    assert "> (model reasoning) Plan \\<b\\>." in text and "> (inner thought) Wet\n> fool." in text
    assert "*nods*" in text and "\\*Sit\\* \\<img src=x\\>." in text


def test_sharegpt_is_the_prompt_with_its_answers_and_no_plan() -> None:
    name, text = export(CHAT, "Storm", "Mara", "sharegpt")
    rows = json.loads(text)["conversations"]
    assert name.endswith(".json") and [row["from"] for row in rows] == ["system", "human", "gpt"]
    assert [row["value"] for row in rows] == [message.content for message in view.messages(CHAT, "Mara")[:-1]]
    assert "Plan" not in text
    asked = CHAT.model_copy(update={"turns": CHAT.turns[:2]})
    assert json.loads(export(asked, "", "Mara", "sharegpt")[1])["conversations"][-1]["value"].endswith("Anne: Hello.\n# Me")


def test_an_unknown_format_is_named() -> None:
    with pytest.raises(HerError, match="'pdf' is unknown; choose one of jsonl, markdown, sharegpt"):
        export(CHAT, "Storm", "Mara", "pdf")


@pytest.mark.parametrize(
    ("title", "name"), [("", "chat-01234567.md"), ("../../etc", "etc-01234567.md"), ("红楼梦", "红楼梦-01234567.md")]
)
def test_file_names_are_plain(title: str, name: str) -> None:
    assert export(CHAT, title, "Mara", "markdown")[0] == name
