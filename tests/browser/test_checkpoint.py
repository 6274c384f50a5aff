"""From a book to a model on stage, without network: synthesis, fine-tuning, and a chat with the checkpoint in a real Chromium."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from her.runs.folder import read_status
from tests.browser.test_playground import database
from tests.playground import ROOT, Playground

pytestmark = [pytest.mark.browser, pytest.mark.whole]
PATIENCE = 120_000
"""Milliseconds for a reply: the model is read and answers on this machine's processor, beside whatever else runs there."""
TRIES = 6


def run(pipeline: str, home: Path) -> None:
    command = [sys.executable, "-m", "her.cli", "run", pipeline, f"@pipelines/configs/{pipeline}_smoke.toml"]
    environment = {**os.environ, "HER_HOME": str(home), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]


def test_a_book_becomes_a_model_that_chats(page: Page, home: Path, outside: list[str]) -> None:
    run("synthesize", home)
    run("sft", home)
    assert [read_status(name).state for name in ("synthesize-smoke", "sft-smoke")] == ["done", "done"]
    model, book = home / "runs" / "sft-smoke" / "model", home / "runs" / "synthesize-smoke" / "scenes" / "Othello.json"
    with Playground(home, backend=f"local:{model}", arguments=("--scenes", str(book)), wait=120) as app:
        page.goto(app.url)
        page.locator('[data-book="0"]').click()
        dialog = page.locator(".her-dialog")
        learned = dialog.locator("option").filter(has_text="Emilia").first  # a scene of those it was made from
        dialog.get_by_label("Plot").select_option(learned.get_attribute("value"))
        dialog.locator(".primary").click()
        page.get_by_role("button", name="Replay to the end").click()
        turns = page.locator(".turn.persona:not(.live)")
        expect(turns.first).to_be_visible()
        expect(page.locator(".her")).not_to_have_class(re.compile("running"))
        before = turns.count()
        page.locator(".her-composer textarea").fill("What do you think of the Moor?")
        # So small a model now and then plans and says nothing; the page says so, gives the question back, and it is asked again.
        for _ in range(TRIES):
            page.locator(".her-composer textarea").press("Enter")
            expect(page.locator(".her")).to_have_class(re.compile("running"), timeout=PATIENCE)
            expect(page.locator(".her")).not_to_have_class(re.compile("running"), timeout=PATIENCE)
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
