"""her/tokens.py: estimates for texts of which the length is known, and what replies teach."""

import pytest

from her.tokens import TokenMeter, estimate_tokens
from her.types import Message


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("", 4), ("a" * 36, 14), ("你好" * 5, 14), ("你好" + "a" * 36, 16), ("д" * 100, 57), ("é" * 10, 14), ("𝄞" * 10, 44)],
)
def test_estimate(text: str, tokens: int) -> None:
    assert estimate_tokens([Message(role="user", content=text)]) == tokens


PROSE = {
    "English": ("The lamp went out before midnight, and nobody on the stairs dared to say why. ", 0.22),
    "Polish": ("Lampa zgasła przed północą i nikt na schodach nie odważył się powiedzieć dlaczego. ", 0.39),
    "Russian": ("Лампа погасла до полуночи, и никто на лестнице не осмелился сказать почему. ", 0.376),
    "Greek": ("Η λάμπα έσβησε πριν από τα μεσάνυχτα και κανείς στη σκάλα δεν τόλμησε να πει γιατί. ", 0.82),
    "Hindi": ("दीपक आधी रात से पहले बुझ गया, और सीढ़ियों पर किसी ने कारण बताने का साहस नहीं किया। ", 0.905),
    "Thai": ("ตะเกียงดับก่อนเที่ยงคืน และไม่มีใครบนบันไดกล้าพูดว่าเพราะอะไร ", 0.569),
    "Hebrew": ("המנורה כבתה לפני חצות, ואיש במדרגות לא העז לומר מדוע. ", 0.959),
    "Chinese": ("灯在午夜之前熄灭了，楼梯上没有人敢说为什么。", 0.93),
}
"""Text, and tokens of a character on the worst of Qwen3 and Llama 3, measured with their own tokenizers."""


@pytest.mark.parametrize("language", PROSE)
def test_the_estimate_is_not_too_low_and_not_absurd(language: str) -> None:
    text, real = PROSE[language]
    estimated = estimate_tokens([Message(role="user", content=text * 9)]) - 4
    assert 0.95 <= estimated / (real * len(text) * 9) <= 1.6


def said(language: str, times: int, system: str = "You are Mara, a keeper of few words.") -> list[Message]:
    return [Message(role="system", content=system * 9), Message(role="user", content=PROSE[language][0] * times)]


@pytest.mark.parametrize("language", PROSE)
@pytest.mark.parametrize("factor", [0.3, 1.0, 3.0])
def test_a_reply_teaches_the_count_of_its_chat_and_of_its_scripts(language: str, factor: float) -> None:
    """A server that has `factor` times the tokens of the table for this chat's script."""
    meter = TokenMeter()

    def real(messages: list[Message]) -> int:
        return 8 + round(110 + (estimate_tokens(messages[1:]) - 4) * factor)

    assert meter.certainty(said(language, 3)) == "estimated"
    for times in range(1, 12, 2):
        meter.learn(said(language, times), real(said(language, times)))
    assert meter.certainty(said(language, 30)) == "counted"
    longer = said(language, 14)
    assert real(longer) <= meter.count(longer) <= real(longer) * 1.25
    other = said(language, 5, "You are Tom, who asks for more than he says.")
    assert meter.certainty(other) == "corrected" and meter.count(other) >= 0.9 * real(other)


def test_a_refusal_only_raises_a_count() -> None:
    meter, chat = TokenMeter(), said("Russian", 5)
    before = meter.count(chat)
    meter.learn_least(chat, before // 2)
    assert meter.count(chat) == before
    meter.learn_least(chat, before * 2)
    assert meter.count(chat) >= before * 2


def test_a_meter_forgets_old_chats_and_takes_no_nonsense() -> None:
    meter = TokenMeter()
    for number in range(600):
        meter.learn([Message(role="system", content=f"{number}")], 5)
    meter.learn([], 5)
    meter.learn([Message(role="user", content="hi")], 0)
    assert len(meter._chats) == 500
    assert meter.count([]) == 0
