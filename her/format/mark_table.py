"""Table of the marks that models write and `render` does not: openings, closings, what they are and where they may stand.

Read in the notation `auto` only (`her.format.parser`); the canonical tags and their aliases stand in `her/kinds.py` and
`her/format/tags.py`, and only those are read, and escaped by the writer, in the notation `her`.
A new mark is a new row here.
"""

from typing import Literal, NamedTuple

from her.kinds import Kind

Role = Literal["plan", "wrapper", "turn_end", "turn_start"]
"""What a pair or token is: a plan; a wrapper that is taken off; the end of the turn; the start of the next."""
Place = Literal["anywhere", "start"]
"""Where it is a mark; elsewhere it is text. `start`: nothing visible has come yet."""


class Mark(NamedTuple):
    """One pair of marks, or one token without a closing one."""

    opening: str
    closing: str
    role: Role
    place: Place = "anywhere"


MARKS: tuple[Mark, ...] = (
    Mark("[THINK]", "[/THINK]", "plan"),  # Magistral
    Mark("[think]", "[/think]", "plan"),
    Mark("[THINKING]", "[/THINKING]", "plan"),
    Mark("[REASONING]", "[/REASONING]", "plan"),
    Mark("◁think▷", "◁/think▷", "plan"),  # Kimi
    Mark("<|channel|>commentary", "", "plan"),  # gpt-oss
    Mark("<|begin_of_thought|>", "<|end_of_thought|>", "plan"),
    Mark("<|thought_start|>", "<|thought_end|>", "plan"),
    Mark("<|begin_of_solution|>", "<|end_of_solution|>", "wrapper"),
    Mark("<|begin_of_box|>", "<|end_of_box|>", "wrapper"),  # GLM
    Mark("<|begin_of_answer|>", "<|end_of_answer|>", "wrapper"),
    Mark("<|constrain|>", "", "wrapper"),
    *(
        Mark(token, "", "turn_end")
        for token in (
            "<|im_end|>",  # ChatML
            "<end_of_turn>",  # Gemma
            "<turn|>",
            "</s>",  # Llama-2, Mistral
            "[/s]",
            "<eos>",
            "<|eos|>",
            "<EOT>",
            "<|eot|>",
            "<|eot_id|>",  # Llama-3
            "<|eom_id|>",
            "<|end_of_text|>",
            "<|endoftext|>",
            "<|endofturn|>",
            "<|end_of_turn|>",
            "[|endofturn|]",  # EXAONE
            "<|END_OF_TURN_TOKEN|>",  # Command
            "<｜end▁of▁sentence｜>",  # DeepSeek
            "<|end▁of▁sentence|>",
            "<|end_of_sentence|>",
            "<｜end of sentence｜>",
            "<|call|>",
            "<|end_of_role|>",
            "<|im_stop|>",
            "<|stop|>",
            "[EOS]",
            "[/INST]",  # Llama-2, Mistral
            "<pad>",
            "<|pad|>",
            "<|endofassistant|>",
            "<|end_of_assistant|>",
            "<｜Assistant_end｜>",
        )
    ),
    *(
        Mark(token, "", "turn_start")
        for token in (
            "<|im_start|>",
            "<|im_user|>",
            "<|im_assistant|>",
            "<|im_system|>",
            "<|im_middle|>",
            "<|im_sep|>",
            "<start_of_turn>",
            "<|turn>",
            "<bos>",
            "<|begin_of_text|>",
            "<|start_header_id|>",
            "<|end_header_id|>",
            "<|header_start|>",
            "<|header_end|>",
            "<|start_of_role|>",
            "<|START_OF_TURN_TOKEN|>",
            "<|CHATBOT_TOKEN|>",
            "<|USER_TOKEN|>",
            "<|SYSTEM_TOKEN|>",
            "<｜begin▁of▁sentence｜>",
            "<｜User｜>",
            "<｜Assistant｜>",
            "<|User|>",
            "<|Assistant|>",
            "<|user|>",
            "<|assistant|>",
            "<|system|>",
            "<|human|>",
            "<|bot|>",
            "<|observation|>",
            "<|start|>user",
            "<|start|>system",
            "[INST]",
            "<<SYS>>",
            "<</SYS>>",
            "[|user|]",
            "[|assistant|]",
            "[gMASK]",
            "<sop>",
        )
    ),
)
WRAPPER_NAMES = (
    "answer",
    "response",
    "reply",
    "output",
    "final",
    "final_answer",
    "final_response",
    "assistant",
    "assistant_response",
    "message",
    "roleplay",
    "role_play",
    "rp",
    "character_response",
    "in_character",
    "turn",
    "content",
)
"""Names in angle brackets around what is said. Text before an opening one was not said to anybody: it is the plan."""
PLAN_ELEMENT = "details"
"""HTML element that Open WebUI puts around a plan, with `type="reasoning"`; at the start of a reply without it as well."""
HTML_NAMES = frozenset(
    [
        "a",
        "b",
        "i",
        "u",
        "s",
        "p",
        "q",
        "br",
        "hr",
        "em",
        "tt",
        "li",
        "ul",
        "ol",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "td",
        "th",
        "tr",
        "div",
        "pre",
        "sub",
        "sup",
        "del",
        "ins",
        "big",
        "code",
        "span",
        "font",
        "small",
        "mark",
        "strong",
        "strike",
        "center",
        "table",
        "tbody",
        "thead",
        "kbd",
        "abbr",
        "cite",
        "blockquote",
        "img",
        "button",
        "summary",
        "section",
        "article",
        "header",
        "footer",
        "main",
        "nav",
        "ruby",
        "rt",
    ]
)
"""Elements of web pages that models write for their looks; every other unknown pair at the very start of a reply is a plan."""
BARE_CHANNELS = ("analysis", "commentary")
"""gpt-oss with its marks stripped: `analysisWe need ...assistantfinalMara: ...`."""
BARE_FINAL = ("assistantfinal", "assistant final")

OWN_NAMES = ("{{char}}", "assistant", "ai", "bot", "character", "model", "<bot>", "助手", "助理")
"""Generic names of the one who speaks, in lower case; read like the character's own."""
OTHER_NAMES = ("{{user}}", "user", "you", "human", "<user>", "用户", "使用者", "人类")
"""Generic names of a person at the screen, in lower case; their line ends the turn."""
HEADED_OWN = ("response", "output", "answer")
HEADED_OTHERS = ("instruction", "input", "system", "question", "prompt")
"""Generic names that count behind `###` only."""
ROLE_WORDS = ("assistant", "model", "bot")
OTHER_ROLE_WORDS = ("user", "human", "system")
"""Words that stand alone on a first line, left over from a chat template."""

THOUGHT_LABELS = (
    "心理 心理活动 心理描写 内心 内心独白 内心活动 心声 心想 想法 思考 os 内心os thought thoughts "
    "thinking inner_thought inner_thoughts "
    "internal_thought internal_thoughts inner_monologue internal_monologue mind"
)
ACT_LABELS = "动作 神态 表情 行为 举止 动作描写 神情 action actions gesture gestures body_language expression"
SPEECH_LABELS = "语言 台词 对话 对白 说 说话 话语 speech dialogue spoken says dialog"
LABELS: dict[str, Kind] = {
    **dict.fromkeys(THOUGHT_LABELS.split(), "role_thinking"),
    **dict.fromkeys(("inner thought", "inner thoughts", "inner monologue", "internal monologue"), "role_thinking"),
    **dict.fromkeys(ACT_LABELS.split(), "role_action"),
    **dict.fromkeys(("body language",), "role_action"),
    **dict.fromkeys(SPEECH_LABELS.split(), "speech"),
}
"""Labels in brackets or bold before a part, in lower case, and the kind of the part."""
THOUGHT_WORDS = (
    "心想",
    "心道",
    "暗想",
    "暗道",
    "心说",
    "内心os",
    "内心",
    "心里想",
    "心里",
    "心声",
    "os",
    "想",
    "thinking",
    "thinks",
    "thought",
    "thoughts",
)
"""Words that begin the text of a bracket and make it a thought, when a colon or comma follows."""
NOTE_WORDS = (
    "system note",
    "system",
    "ooc",
    "out of character",
    "author's note",
    "author note",
    "a/n",
    "note",
    "editor's note",
    "disclaimer",
    "warning",
    "scene",
    "time",
    "date",
    "location",
    "place",
    "setting",
    "status",
    "hp",
    "to be continued",
    "continued",
    "end of",
    "sic",
    "redacted",
    "inaudible",
    "music",
    "sfx",
    "系统",
    "系统提示",
    "提示",
    "注",
    "备注",
    "场景",
    "时间",
    "地点",
    "状态",
    "未完待续",
)
"""Words that begin a note in brackets, which is no thought."""
