"""From a book to a model on stage, without network: synthesis, fine-tuning, and a chat with the checkpoint in a real Chromium."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from her import jobs
from tests.playground import ROOT, Playground
from tests.test_browser import database

pytestmark = [pytest.mark.browser, pytest.mark.whole]
PATIENCE = 120_000
"""Milliseconds for a reply: the model is read and answers on this machine's processor, beside whatever else runs there."""


def run(pipeline: str, home: Path) -> None:
    command = [sys.executable, "-m", "her.cli", "run", pipeline, f"@pipelines/configs/{pipeline}_smoke.toml"]
    environment = {**os.environ, "HER_HOME": str(home), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]


def test_a_book_becomes_a_model_that_chats(page: Page, home: Path, outside: list[str]) -> None:
    run("synthesize", home)
    run("sft", home)
    assert [jobs.watch(name).state for name in ("synthesize-smoke", "sft-smoke")] == ["done", "done"]
    model, book = home / "runs" / "sft-smoke" / "model", home / "runs" / "synthesize-smoke" / "scenes" / "Othello.json"
    with Playground(home, backend=f"local:{model}", arguments=("--scenes", str(book)), wait=120) as app:
        page.goto(app.url)
        page.locator('[data-book="0"]').click()
        page.locator(".her-dialog .primary").click()
        page.get_by_role("button", name="Replay to the end").click()
        expect(page.locator(".turn.persona:not(.live)").first).to_be_visible()
        expect(page.locator(".her")).not_to_have_class(re.compile("running"))
        turns = page.locator(".turn.persona:not(.live)")
        before = turns.count()
        page.locator(".her-composer textarea").fill("What do you think of the Moor?")
        page.locator(".her-composer textarea").press("Enter")
        expect(page.locator(".her")).to_have_class(re.compile("running"), timeout=PATIENCE)
        expect(page.locator(".her")).not_to_have_class(re.compile("running"), timeout=PATIENCE)
        with database(app) as store:
            asked = "select raw, model, completion_tokens from generations order by started_at desc limit 1"
            raw, named, tokens = store.execute(asked).fetchone()
        assert (named, tokens > 0) == (str(model), True)
        assert json.loads(raw)
        expect(turns).to_have_count(before + 1)
        expect(turns.last).to_have_text(re.compile(r"\w"))
    assert not outside
