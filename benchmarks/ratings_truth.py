"""Compare what ratings record with what was on the screen. Run: `python -m benchmarks.ratings_truth [RATINGS]`

A scripted person in Chromium opens and closes panels, scrolls, comments, turns to another tab, loses the network, reloads, and
rates RATINGS times. A recorder in the page that shares no code with it (benchmarks/ratings_recorder.js) looks at the computed
styles and boxes before the page handles an act, and keeps time by a clock of its own, frame by frame. Each stored rating must
say the same of every layer, and hold what the person gave; times may differ by the frames in which something came or went.

Then parts of the page's recording are taken out, one at a time: the benchmark must notice each.
"""

import argparse
import json
import random
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, Route, expect, sync_playwright

from benchmarks.report import report
from her.feedback.rubric import RUBRIC
from her.ui.assets import STATIC
from tests.browser.steps import begin, database, say
from tests.conftest import FLAGS, chromium_path
from tests.playground import Playground

RATINGS, RATINGS_WITHOUT = 500, 40
SLACK_MILLISECONDS, PATIENCE_MILLISECONDS = 50, 120_000
RECORDER = Path(__file__).parent / "ratings_recorder.js"
TAKEN_OUT = {
    "closed_panels": ("const open = pieces.some(isDrawn);", "const open = true;"),
    "scrolled_out": ("return shown > 0 &&", "return true ||"),
    "another_tab": ("return document.hidden;", "return false;"),
    "time_in_view": ("watch.since = watch.pieces.size > 0", "watch.since = watch.since !== null || watch.pieces.size > 0"),
}
"""What is taken out of sight.js: a piece of its text, and what stands there then."""
NOTHING_WAITS = "() => !Object.keys(localStorage).some((name) => name.startsWith('her.rating.'))"
HIDE = """hidden => {
  for (const [name, value] of [["hidden", hidden], ["visibilityState", hidden ? "hidden" : "visible"]])
    Object.defineProperty(document, name, { configurable: true, get: () => value });
  document.dispatchEvent(new Event("visibilitychange"));
}"""


class Given:
    """Rating that the person has given to one turn so far, kept by the benchmark alone."""

    def __init__(self) -> None:
        self.thumb: int | None = None
        self.stars: dict[str, int] = {}
        self.tags: list[str] = []
        self.comment = ""


class Person:
    """A scripted person with one chat open; `wrong` tells of each rating that is stored otherwise, `given` counts all."""

    def __init__(self, page: Page, app: Playground, seed: int) -> None:
        self.page, self.app, self.dice = page, app, random.Random(seed)
        self.ratings: dict[str, Given] = {}
        self.due: dict[str, dict[str, Any]] = {}
        self.online, self.given, self.wrong, self.furthest = True, 0, list[str](), 0.0
        self.doings: list[Callable[[], None]] = [
            *(self.toggle_all, self.toggle_one, self.toggle_one, self.toggle_one, self.scroll, self.scroll, self.scroll),
            *(self.look_away, self.lose_network, self.swipe),
        ]

    def settle_in(self) -> None:
        """Begin a chat of several long turns, one of them with swipes."""
        begin(self.page, self.app)
        for text in ("Who are you?", "Tell me more.", "And then?"):
            say(self.page, text)
        self.page.locator('.turn.persona [data-act="regenerate"]').last.click()
        self.page.locator(".turn.persona .count").last.get_by_text("2/2").wait_for()
        self.page.locator(".her.running").wait_for(state="detached")

    def turns(self) -> list[str]:
        """Return the ids of the turns that can be rated."""
        ids = "all => all.map((turn) => turn.dataset.id)"
        found: list[str] = self.page.locator("#stage .turn.persona:not(.live)").evaluate_all(ids)
        return found

    # ---- between ratings

    def toggle_all(self) -> None:
        """Open or close one kind of panel in every turn."""
        self.page.keyboard.press(self.dice.choice("tr"))

    def toggle_one(self) -> None:
        """Open or close one kind of panel in one turn."""
        kind = self.dice.choice(["role_thinking", "system_thinking"])
        buttons = self.page.locator(f"#stage .turn footer .peek-{kind}")
        buttons.nth(self.dice.randrange(buttons.count())).click()

    def scroll(self) -> None:
        """Scroll anywhere."""
        to = self.dice.random()
        self.page.locator("#stage .her-scroll").evaluate("(area, to) => { area.scrollTop = to * area.scrollHeight; }", to)

    def look_away(self) -> None:
        """Turn to another tab for some frames, and back."""
        self.page.evaluate(HIDE, True)
        self.page.evaluate("recorder.frames(8)")
        self.page.evaluate(HIDE, False)

    def lose_network(self) -> None:
        """Lose the network, or find it again."""
        self.online = not self.online
        self.page.context.set_offline(not self.online)

    def swipe(self) -> None:
        """Show another reply in place of the last, where the server can be asked."""
        buttons = self.page.locator("#stage .turn.persona:last-child [data-act^=swipe]:not([disabled])")
        if self.online and not self.due and buttons.count():
            before = self.turns()
            buttons.first.click()
            self.page.wait_for_function("ids => !ids.every((id) => document.getElementById(`t-${id}`))", arg=before)

    def reload(self) -> None:
        """Load the page again; what the page and the recorder know of times begins anew."""
        self.page.reload()
        self.page.locator("#stage .her[data-ready]").wait_for()

    # ---- ratings

    def rate(self) -> None:
        """Rate one turn in one way, and note what the recorder saw at that."""
        free = [node for node in self.turns() if node not in self.due]
        if not free:
            if not self.online:
                self.lose_network()
            self.check()
            free = self.turns()
        node = self.dice.choice(free)
        given = self.ratings.setdefault(node, Given())
        self.dice.choice([self.thumb, self.thumb, self.key, self.star, self.tag, self.comment])(node, given)
        seen = self.page.evaluate("node => recorder.last(node)", node)
        self.due[node] = seen | {"rating": vars(given) | {"stars": dict(given.stars), "tags": list(given.tags)}}
        self.given += 1
        if self.online:
            self.check()

    def thumb(self, node: str, given: Given) -> None:
        """Give a thumb, or take it back; sometimes by a script of another program while the page is hidden."""
        name, value = self.dice.choice([("like", 1), ("dislike", -1)])
        given.thumb = None if given.thumb == value else value
        button = self.page.locator(f'#t-{node} footer [data-act="{name}"]')
        if self.dice.random() < 0.2:
            self.page.evaluate(HIDE, True)
            button.evaluate("(button) => button.click()")
            self.page.evaluate(HIDE, False)
        else:
            button.click()

    def key(self, node: str, given: Given) -> None:
        """Choose the turn, scroll away from it, and give a thumb by its key: what is rated may be out of view."""
        self.page.locator(f"#t-{node} > footer").click(position={"x": 1, "y": 1})
        self.scroll()
        given.thumb = None if given.thumb == 1 else 1
        self.page.locator("#stage .her-scroll").evaluate("(area) => area.focus({ preventScroll: true })")
        self.page.keyboard.press("+")

    def panel(self, node: str) -> str:
        """Open the form of a turn, and return its selector."""
        form = f"#t-{node} .her-rating"
        if not self.page.locator(form).count():
            self.page.locator(f'#t-{node} footer [data-act="rate"]').click()
        return form

    def star(self, node: str, given: Given) -> None:
        """Give stars in one dimension, or take them back."""
        dimension, count = self.dice.choice(RUBRIC.dimensions).id, self.dice.randint(1, 5)
        self.page.locator(f'{self.panel(node)} [data-dimension="{dimension}"] [data-star="{count}"]').click()
        if given.stars.get(dimension) == count:
            del given.stars[dimension]
        else:
            given.stars[dimension] = count

    def tag(self, node: str, given: Given) -> None:
        """Set a tag, or take it away."""
        tag = self.dice.choice(RUBRIC.tags).id
        self.page.locator(f'{self.panel(node)} [data-tag="{tag}"]').click()
        given.tags = [name for name in given.tags if name != tag] if tag in given.tags else [*given.tags, tag]

    def comment(self, node: str, given: Given) -> None:
        """Write into the comment and close the form, or leave the field."""
        area = self.page.locator(f"{self.panel(node)} textarea")
        area.press("End")
        area.press_sequentially(letters := self.dice.choice(["a", "bc", "好"]))
        given.comment += letters
        if self.dice.random() < 0.5:
            self.page.locator(f'#t-{node} footer [data-act="rate"]').click()
        else:
            area.blur()

    # ---- compare

    def check(self) -> None:
        """Wait until the server has everything, and compare each rating that was due with its row."""
        self.page.wait_for_function(NOTHING_WAITS)
        with database(self.app) as rows:
            for node, seen in self.due.items():
                if faults := list(self.faults(seen, newest(rows, node))):
                    self.wrong.append(f"{node}: {'; '.join(faults)}")
        self.due.clear()

    def faults(self, seen: dict[str, Any], row: dict[str, Any]) -> Iterator[str]:
        """Yield what differs between the recorder and a stored row."""
        stored, mine = row["seen"], seen["layers"]
        for name in ("thumb", "stars", "tags", "comment"):
            if row[name] != seen["rating"][name]:
                yield f"{name} is {row[name]!r}, given was {seen['rating'][name]!r}"
        for name in ("layout", "swipe_index", "swipe_count"):
            if stored[name] != seen[name]:
                yield f"{name} is {stored[name]}, was {seen[name]}"
        if stored["sights"].keys() != mine.keys():
            yield f"layers are {sorted(stored['sights'])}, were {sorted(mine)}"
            return
        for layer, sight in stored["sights"].items():
            true = mine[layer]
            for name in ("open", "in_view"):
                if sight[name] != true[name]:
                    yield f"{layer}.{name} is {sight[name]}, was {true[name]}"
            self.furthest = max(self.furthest, abs(sight["ms"] - true["ms"]))
            if abs(sight["ms"] - true["ms"]) > SLACK_MILLISECONDS + 2 * true["changing"]:
                yield f"{layer}.ms is {sight['ms']}, was {true['ms']:.0f} (changing {true['changing']:.0f})"


def newest(rows: sqlite3.Connection, node: str) -> dict[str, Any]:
    """Return the newest rating of a turn as it is stored."""
    query = "select thumb, stars, tags, comment, seen from ratings where node_id = ? order by seq desc limit 1"
    thumb, stars, tags, comment, seen = rows.execute(query, (node,)).fetchone()
    texts = {"stars": stars, "tags": tags, "seen": seen}
    return {"thumb": thumb, "comment": comment, **{name: json.loads(text) for name, text in texts.items()}}


def without(taken_out: str) -> str:
    """Return sight.js without a part; ValueError when the part does not stand there once."""
    piece, instead = TAKEN_OUT[taken_out]
    text = (STATIC / "sight.js").read_text("utf-8")
    if text.count(piece) != 1:
        raise ValueError(f"{piece!r} stands {text.count(piece)} times in sight.js; correct TAKEN_OUT")
    return text.replace(piece, instead)


@contextmanager
def visit(browser: Browser, app: Playground, taken_out: str = "", seed: int = 1) -> Iterator[Person]:
    """Open the page as a new person, with the recorder, and with a part of the page's recording taken out."""
    context = browser.new_context(viewport={"width": 900, "height": 620})
    context.set_default_timeout(PATIENCE_MILLISECONDS)
    context.add_init_script(path=RECORDER)
    if taken_out:
        text = without(taken_out)

        def serve(route: Route) -> None:
            route.fulfill(content_type="text/javascript", body=text)

        context.route("**/sight.js", serve)
    person = Person(context.new_page(), app, seed)
    person.settle_in()
    yield person
    context.close()


def play(person: Person, ratings: int) -> None:
    """Let the person rate, with up to three other doings before each rating, and now and then a new page."""
    while person.given < ratings:
        for doing in person.dice.choices(person.doings, k=person.dice.randint(0, 3)):
            doing()
        if person.online and person.dice.random() < 0.02:
            person.check()
            person.reload()
        person.rate()
    if not person.online:
        person.lose_network()
    person.check()


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("ratings", type=int, nargs="?", default=RATINGS)
    ratings = parser.parse_args().ratings
    noticed: dict[str, int] = {}
    expect.set_options(timeout=PATIENCE_MILLISECONDS)
    with tempfile.TemporaryDirectory() as home, Playground(Path(home)) as app, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=FLAGS)
        with visit(browser, app) as person:
            play(person, ratings)
        for fault in person.wrong[:20]:
            print(fault, flush=True)
        for taken_out in TAKEN_OUT:
            with visit(browser, app, taken_out, seed=2) as blind:
                play(blind, min(ratings, RATINGS_WITHOUT))
                noticed[taken_out] = len(blind.wrong)
        browser.close()
    measured = {
        "ratings": person.given,
        "true": person.given - len(person.wrong),
        "furthest_milliseconds": round(person.furthest),
        "noticed_without": noticed,
    }
    bar = {"ratings": RATINGS, "true": RATINGS, "noticed_without": "at least one rating each"}
    ok = not person.wrong and person.given >= RATINGS and all(noticed.values())
    report("ratings_truth", bar, measured, ok)


if __name__ == "__main__":
    main()
