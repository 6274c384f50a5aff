"""How fast is the incremental parser, and is it linear? Run: `python -m benchmarks.parser`

Texts of 100 kB and 1 MB (of UTF-8) are fed as one turn in 16-character chunks, `done` asked after each, then closed; the
median of several repeats. Each text is another kind of work: canonical turns, Chinese, CoSER notation, and the malformed
ones that would show a rescan. Both bars hold for the slowest of them. Prints one JSON object.
"""

import statistics
import time
from collections.abc import Callable

from benchmarks.report import report
from her.format import Parser

CHUNK, REPEATS = 16, 5
BAR = {"mb_per_s_at_least": 1.0, "time_1mb_over_100kb_at_most": 12.0}
PLAN = "I need to portray Iago as a man who is trusted by all and who trusts nobody. " * 8
TEXTS = {
    "canonical": f"<system_thinking>{PLAN}</system_thinking>Iago: "
    + "<role_thinking>He believes me, and that is his ruin</role_thinking><role_action>bows low, hand on heart</role_action>"
    "My lord, you know I love you. I would not have it otherwise; let us be patient.\n\nAnd yet there is Cassio. " * 6,
    "chinese": f"<system_thinking>{'我要演好宝玉，先听她把话说完，再慢慢地劝她。' * 20}</system_thinking>宝玉："
    + "<role_thinking>她又恼了</role_thinking><role_action>忙赔笑</role_action>好妹妹，千不是万不是，都是我的不是。\n" * 6,
    "coser": "[He believes me, and that is his ruin.] (bows low, hand on heart) My lord, you know I love you. *sighs* Well. "
    * 10,
    "malformed": "<role_thinking>one<role_action>two</role_thinking> <think>x</role_action>y</think> Iago: <b> & </speech\n" * 10,
    "angles": "<<role_<system_thinkin" * 10,
    "stars": "*a\n" * 10,
    "names": "Iago:\nOthell\n" * 10,
    "fences": "```\n<role_action>\n```\n`\n" * 10,
    "entities": "&amp;&amp;lt;role_action>&lt;" * 10,
}


def text_of(pattern: str, size: int) -> str:
    """`size` bytes of this pattern over and over."""
    times = size // len(pattern.encode()) + 1
    return (pattern * times).encode()[:size].decode(errors="ignore")


def seconds(text: str) -> float:
    """One turn, streamed."""
    chunks = [text[at : at + CHUNK] for at in range(0, len(text), CHUNK)]
    start = time.perf_counter()
    parser = Parser("Iago", ("Othello",))
    for chunk in chunks:
        parser.feed(chunk)
        if parser.done:
            raise AssertionError("this text is meant to be read to its end")
    parser.close()
    return time.perf_counter() - start


def median(measure: Callable[[], float]) -> float:
    """The middle of several repeats."""
    return statistics.median(measure() for _ in range(REPEATS))


def main() -> None:
    """Measure and report."""
    speed, growth = {}, {}
    for name, pattern in TEXTS.items():
        small, large = text_of(pattern, 100_000), text_of(pattern, 1_000_000)
        small_s, large_s = median(lambda text=small: seconds(text)), median(lambda text=large: seconds(text))  # type: ignore[misc]
        speed[name], growth[name] = round(1 / large_s, 2), round(large_s / small_s, 2)
    measured = {"mb_per_s": speed, "time_1mb_over_100kb": growth, "chunk_characters": CHUNK, "repeats": REPEATS}
    ok = min(speed.values()) >= BAR["mb_per_s_at_least"] and max(growth.values()) <= BAR["time_1mb_over_100kb_at_most"]
    report("parser", BAR, measured, ok)


if __name__ == "__main__":
    main()
