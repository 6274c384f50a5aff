"""From a book to a model on stage, without network: synthesis, fine-tuning, and a chat with the checkpoint in a real Chromium."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from her import jobs
from her.format import parse
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
        replies = page.locator(".turn.persona:not(.live)")
        before = replies.count()
        page.locator(".her-composer textarea").fill("What do you think of the Moor?")
        page.locator(".her-composer textarea").press("Enter")
        expect(replies).to_have_count(before + 1, timeout=PATIENCE)
        with database(app) as store:
            row = store.execute("select raw, model, finish from generations order by seq desc limit 1").fetchone()
        raw, named, finish = json.loads(row[0]), row[1], row[2]
        assert (named, finish) == (str(model), "stop")
        turn = parse(raw, replies.last.locator("header h3").inner_text(), notation="her")
        assert turn.spoken and turn.parts[0].kind == "system_thinking", raw
        expect(replies.last.locator(".panel.reasoning")).to_have_count(1)
    assert not outside
