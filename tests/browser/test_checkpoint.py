"""The README's loop on a CPU: from a book to a reinforced model, published, pulled, and on stage in a real Chromium."""

import json
import os
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from her.runs.folder import read_status
from tests.browser.steps import database
from tests.hub import WRITER, Hub, running_hub
from tests.playground import ROOT, Playground
from tests.processes import run_to_end

pytestmark = [pytest.mark.browser, pytest.mark.whole]
REPLY_MILLISECONDS = 600_000
"""Longest wait for a reply of the checkpoint on this machine's processor; 2 to 40 s were measured."""
TRIES = 6
SECTION = "## The whole loop"


def commands() -> Iterator[list[str]]:
    """The words of each command in the first block of the section, without `her` and comments."""
    block = (ROOT / "README.md").read_text("utf-8").partition(SECTION)[2].partition("```bash\n")[2].partition("```")[0]
    for line in block.splitlines():
        if words := shlex.split(line.replace("OWNER/NAME", "ada/loop").replace("OWNER--NAME", "ada--loop"), comments=True):
            yield words


def run(words: list[str], home: Path, hub: Hub) -> None:
    """Run one command as it stands. Fail when it fails or makes no progress, however long it takes."""
    environment = {
        **os.environ,
        "HER_HOME": str(home),
        "HF_ENDPOINT": hub.address,
        "HF_TOKEN": WRITER,
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_OFFLINE": "0" if words[1] in ("publish", "pull") else "1",
        "HF_HOME": str(home / "hub_cache"),
    }
    ended = run_to_end([sys.executable, "-m", "her.cli", *words[1:]], ROOT, environment)
    assert ended.returncode == 0, f"{shlex.join(words)}: {ended.stderr[-3000:]}"


def test_a_book_becomes_a_published_model_that_chats(page: Page, home: Path, tmp_path: Path, outside: list[str]) -> None:
    *chain, play = commands()
    with running_hub(tmp_path / "hub") as hub:
        for words in chain:
            run(words, home, hub)
        assert hub.repository("models", "ada/loop").state["tags"].keys() == {"rl-smoke"}
    stages = [words[2] for words in chain if words[1] == "run"]
    assert stages == ["synthesize", "sft", "reward", "rl"]
    assert [read_status(f"{name}-smoke").state for name in stages] == ["done"] * len(stages)
    assert play[:2] == ["her", "play"]
    model, book = (Path(path.removeprefix("local:").replace("~/.her", str(home))) for path in play[3::2])
    with Playground(home, backend=f"local:{model}", arguments=("--scenes", str(book))) as app:
        page.goto(app.url)
        page.locator('[data-book="0"]').click()
        dialog = page.locator(".her-dialog")
        learned = dialog.locator("option").filter(has_text="Emilia").first  # a scene that the checkpoint was trained on
        dialog.get_by_label("Plot").select_option(learned.get_attribute("value"))
        dialog.locator(".primary").click()
        page.get_by_role("button", name="Replay to the end").click()
        turns = page.locator(".turn.persona:not(.live)")
        expect(turns.first).to_be_visible()
        expect(page.locator(".her")).not_to_have_class(re.compile("running"))
        before = turns.count()
        page.locator(".her-composer textarea").fill("What do you think of the Moor?")
        # A model this small sometimes writes a plan and no speech: the page shows an error and gives the text back.
        for _ in range(TRIES):
            page.locator(".her-composer textarea").press("Enter")
            expect(page.locator(".her")).to_have_class(re.compile("running"), timeout=REPLY_MILLISECONDS)
            expect(page.locator(".her")).not_to_have_class(re.compile("running"), timeout=REPLY_MILLISECONDS)
            if turns.count() > before:
                break
            expect(page.get_by_text("said nothing; ask again")).to_be_visible()
            expect(page.locator(".her-composer textarea")).to_have_value("What do you think of the Moor?")
        expect(turns).to_have_count(before + 1)
        expect(turns.last.locator(".speech, p").first).to_have_text(re.compile(r"\w"))
        with database(app) as store:
            asked = "select raw, model, finish from generations order by started_at desc limit 1"
            raw, named, finish = store.execute(asked).fetchone()
        assert (named, finish) == (str(model), "stop")
        assert json.loads(raw)
    assert not outside
