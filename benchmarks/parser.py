"""Measure the speed of the incremental parser, and whether its time is linear. Run: `python -m benchmarks.parser`

Texts of 100 kB and 1 MB of UTF-8 are fed as one turn in chunks of 16 characters, with `done` read after each, then closed. The
figure is the median of several repeats in CPU seconds, which a busy machine changes less; for 100 kB, of the mean of ten in a
row. Turns as models write them must reach the speed. Hostile texts, with a token every few characters, must be linear as well;
they have a lower bar of their own. Prints one JSON object.
"""

import gc
import statistics
import time

from benchmarks.report import report
from her.format import Parser

CHUNK, REPEATS = 16, 7
HOSTILE_BAR, GROWTH_BAR = 1.0, 12.0
BAR = {
    "mb_per_s_at_least": {"canonical": 5.0, "chinese": 4.0, "coser": 1.5, "malformed": 2.5},
    "mb_per_s_hostile_at_least": HOSTILE_BAR,
    "time_1mb_over_100kb_at_most": GROWTH_BAR,
}
PLAN = "I need to portray Iago as a man who is trusted by all and who trusts nobody. " * 8
TURNS = {
    "canonical": f"<system_thinking>{PLAN}</system_thinking>Iago: "
    + "<role_thinking>He believes me, and that is his ruin</role_thinking><role_action>bows low, hand on heart</role_action>"
    "My lord, you know I love you. I would not have it otherwise; let us be patient.\n\nAnd yet there is Cassio. " * 6,
    "chinese": f"<system_thinking>{'我要演好宝玉，先听她把话说完，再慢慢地劝她。' * 20}</system_thinking>宝玉："
    + "<role_thinking>她又恼了</role_thinking><role_action>忙赔笑</role_action>好妹妹，千不是万不是，都是我的不是。\n" * 6,
    "coser": "[He believes me, and that is his ruin.] (bows low, hand on heart) My lord, you know I love you. *sighs* Well. "
    * 10,
    "malformed": f"<think> {PLAN} </thinking>\n\n**Iago:** "
    + "<inner_thought>He believes me, and that is his ruin<role_action> bows low </role_thinking> My lord, <b>you</b> know "
    "that I love you & yours.\nIago：I would not have it otherwise;</role_action> let us be patient. " * 6,
}
HOSTILE = {
    "tags": "<role_thinking>one<role_action>two</role_thinking> <think>x</action>y</think> Iago: <b> & </speech\n" * 10,
    "angles": "<<role_<system_thinkin" * 10,
    "stars": "*a\n" * 10,
    "names": "Iago:\nOthell\n" * 10,
    "fences": "```\n<role_action>\n```\n`\n" * 10,
    "entities": "&amp;&amp;lt;role_action>&lt;" * 10,
    "blanks": "\n \n\t" * 10,
    "marks": "[THINK <|im_en ＜thin ◁thi </ans" * 10,
    "spelled names": "**Iago\nUser\n### Hum\n" * 10,
    "mixed stars": "*nods* Hi *a* b *" * 10,
    "brackets": "[a](b)[[(( (a [b 【c " * 10,
    "quotes": '"a *b* "c' * 10,
}


def text_of(pattern: str, size: int) -> str:
    """Return `size` bytes of the repeated pattern."""
    times = size // len(pattern.encode()) + 1
    return (pattern * times).encode()[:size].decode(errors="ignore")


def seconds(text: str) -> float:
    """Return the CPU time of one streamed turn."""
    chunks = [text[at : at + CHUNK] for at in range(0, len(text), CHUNK)]
    gc.collect()
    start = time.process_time()
    parser = Parser("Iago", ("Othello",))
    for chunk in chunks:
        parser.feed(chunk)
        if parser.done:
            raise AssertionError("the parser was done before the end of the text")
    parser.close()
    return time.process_time() - start


def measure(pattern: str) -> tuple[float, float]:
    """Return MB/s over 1 MB, and the ratio of its time to that of 100 kB."""
    small, large = text_of(pattern, 100_000), text_of(pattern, 1_000_000)
    times = [(statistics.fmean(seconds(small) for _ in range(10)), seconds(large)) for _ in range(REPEATS)]
    small_s, large_s = (statistics.median(column) for column in zip(*times, strict=True))
    return round(1 / large_s, 2), round(large_s / small_s, 2)


def main() -> None:
    """Measure and report."""
    figures = {name: measure(pattern) for name, pattern in (TURNS | HOSTILE).items()}
    speed = {name: figures[name][0] for name in TURNS}
    hostile = {name: figures[name][0] for name in HOSTILE}
    growth = {name: times for name, (_, times) in figures.items()}
    measured = {
        "mb_per_s": speed,
        "mb_per_s_hostile": hostile,
        "time_1mb_over_100kb": growth,
        "chunk_characters": CHUNK,
        "repeats": REPEATS,
    }
    bars = BAR["mb_per_s_at_least"]
    assert isinstance(bars, dict)
    ok = all(speed[name] >= bar for name, bar in bars.items()) and min(hostile.values()) >= HOSTILE_BAR
    ok = ok and max(growth.values()) <= GROWTH_BAR
    report("parser", BAR, measured, ok)


if __name__ == "__main__":
    main()
