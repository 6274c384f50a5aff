"""her/ui/chinese_errors.py: refusals in the language of the page."""

import pytest

from her.chat.generations import UNEXPECTED
from her.chat.sentences import FULL_DISK, NO_DATABASE
from her.errors import REASONS, BackendError
from her.ui.chinese_errors import CLAUSES, SENTENCES, in_language


@pytest.mark.parametrize(
    ("sentence", "chinese"),
    [
        ("the message is empty; write something to send", "消息是空的"),
        ("the message has 30,000 characters; at most 20,000 are allowed, shorten it", "30,000"),
        ("there is no chat 'x' here; choose one from your list", "这里没有此会话"),
        ("the turn 'n' is not shown in this chat; reload the page", "不显示"),
        (FULL_DISK, "磁盘已满"),
        (NO_DATABASE, "数据库"),
        (UNEXPECTED, "意外错误"),
        (str(BackendError.with_advice("the model's server refused the connection", "unreachable")), "请启动模型服务器"),
        ("a sentence of a version to come", "a sentence of a version to come"),
    ],
)
def test_a_refusal_is_told_in_chinese(sentence: str, chinese: str) -> None:
    assert chinese in in_language(sentence, "zh") and in_language(sentence, "en") == sentence


def test_every_advice_that_a_visitor_may_read_has_a_clause() -> None:
    for reason in set(REASONS) - {"missing_extra", "invalid_reply"}:
        assert in_language(str(BackendError.with_advice("It failed", reason)), "zh").startswith("模型没有回应"), reason


def test_a_pattern_and_its_sentence_have_the_same_gaps() -> None:
    for pattern, chinese in (*SENTENCES, *CLAUSES):
        groups = pattern.count("(") - pattern.count("(?:")
        assert all(f"{{{gap}}}" in chinese for gap in range(groups)), pattern
