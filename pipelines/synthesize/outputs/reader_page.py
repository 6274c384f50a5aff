"""Draw the turns of a report that a researcher reads and votes on. The votes stay in the browser until they are downloaded.

`python -m pipelines.synthesize.votes RUN votes.json` puts a downloaded file into the run's database.
"""

import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

Json = dict[str, Any]

STYLE = """
.read{border:1px solid var(--rule);border-radius:.5rem;padding:.7rem .9rem;margin:1rem 0}
.read h3{font-size:1rem;margin:0 0 .3rem}
.read .sides{display:grid;grid-template-columns:repeat(auto-fit,minmax(17rem,1fr));gap:1rem}
.read .soft,.read h4{color:var(--soft);font:13px/1.45 system-ui,sans-serif;margin:.3rem 0}.read h4{font-weight:600}
.read .part{margin:.25rem 0;overflow-wrap:anywhere}
.read .system_thinking{border-left:3px solid var(--after);padding-left:.5rem;font-size:14px}
.read .role_thinking{border-left:3px solid var(--before);padding-left:.5rem}.read .role_action{font-style:italic}
.mark{font:13px/1.45 system-ui,sans-serif;margin:.3rem 0}.mark b{padding:0 .4em;border:1px solid var(--rule);border-radius:.3em}
.votes button{font:14px system-ui,sans-serif;margin-right:.4rem;padding:.15rem .7rem}
.votes button[aria-pressed=true]{outline:2px solid var(--after)}
"""
_SCRIPT = """
const KEY = "her-votes-" + RUN;
let kept = "{}";
try { kept = localStorage.getItem(KEY) || "{}"; } catch { /* a page without storage: votes last until it is closed */ }
const votes = new Map(Object.entries(JSON.parse(kept)));
const count = document.getElementById("vote-count");
function show() {
  for (const button of document.querySelectorAll(".votes button[data-good]")) {
    const vote = votes.get(button.parentNode.dataset.key);
    button.setAttribute("aria-pressed", String(vote !== undefined && String(vote.good) === button.dataset.good));
  }
  count.textContent = votes.size + " votes";
}
document.addEventListener("click", (event) => {
  const button = event.target.closest(".votes button[data-good]");
  if (button) {
    const place = button.parentNode.dataset;
    const vote = { stage: place.stage, scene: place.scene, turn: place.turn };
    votes.set(place.key, { ...vote, good: button.dataset.good === "true", passed: place.passed === "true" });
    try { localStorage.setItem(KEY, JSON.stringify(Object.fromEntries(votes))); } catch { /* as above */ }
    show();
  }
});
document.getElementById("vote-save").addEventListener("click", () => {
  const reader = document.getElementById("vote-reader").value.trim() || "reader";
  const rows = [...votes.values()].map((vote) => ({ reader, ...vote }));
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([JSON.stringify(rows, null, 1)], { type: "application/json" }));
  link.download = "votes.json";
  link.click();
});
show();
"""
_FATES = {
    "changed": "changed",
    "as_it_was": "left as it was",
    "kept": "refused, the original kept",
    "missing": "refused, nothing kept",
}


def reader_section(turns: Sequence[Json], run: str, meanings: Mapping[str, str]) -> str:
    """Return the section: every turn before and after, its repairs and refusals, and two buttons for each answer."""
    if not turns:
        return "<p>No turn was asked about.</p>"
    cards = "".join(_card(number, turn, meanings) for number, turn in enumerate(turns, 1))
    script = f"<script>const RUN = {_script_text(run)};{_SCRIPT}</script>"
    command = f"python -m pipelines.synthesize.votes {run} votes.json"
    return (
        "<p>Is what the teacher wrote good? Half of the turns shown are those that a check has marked, where there are so many. "
        f"The votes go into the run's database with <code>{escape(command)}</code>, which prints how far the checks agree.</p>"
        f'{cards}<p class="votes"><label>Your name <input id="vote-reader" maxlength="60"></label> '
        f'<button id="vote-save" type="button">Download the votes</button> '
        f'<span id="vote-count" role="status"></span></p>{script}'
    )


def _script_text(text: str) -> str:
    # Within a script no text may end the element.
    return json.dumps(text).replace("<", "\\u003c")


def _card(number: int, turn: Json, meanings: Mapping[str, str]) -> str:
    sides = "".join(f"<div><h4>{side}</h4>{_parts(turn[side])}</div>" for side in ("before", "after"))
    heard = f'<p class="soft">{escape(turn["heard"])}</p>' if turn["heard"] else ""
    stages = "".join(_stage(turn, stage, meanings) for stage in turn["stages"])
    title = f"{number}. {escape(turn['speaker'])}, {escape(turn['book'])}"
    return f'<article class="read"><h3>{title}</h3>{heard}<div class="sides">{sides}</div>{stages}</article>'


def _parts(parts: Sequence[Json]) -> str:
    return "".join(f'<p class="part {escape(part["kind"])}">{escape(part["text"])}</p>' for part in parts)


def _stage(turn: Json, stage: Json, meanings: Mapping[str, str]) -> str:
    name = stage["stage"]
    mended = [problem for problem in stage["first"] if problem not in {each["name"] for each in stage["problems"]}]
    marks = [f"<b>{_FATES[stage['fate']]}</b>"]
    marks += [f"<b>mended</b> {escape(each)}: {escape(meanings.get(each, ''))}" for each in mended]
    for each in stage["problems"]:
        detail = f" ({escape(each['detail'])})" if each.get("detail") else ""
        marks.append(f"<b>problem</b> {escape(each['name'])}: {escape(meanings.get(each['name'], ''))}{detail}")
    marks += [f"<b>no answer</b> {escape(stage['error'])}"] if stage["error"] else []
    refused = f'<h4>refused</h4><p class="part">{escape(stage["refused"])}</p>' if stage["refused"] else ""
    passed = stage["fate"] in ("changed", "as_it_was")
    ids = {"stage": name, "scene": turn["scene"], "turn": turn["turn"], "passed": str(passed).lower()}
    ids["key"] = " ".join((name, turn["scene"], turn["turn"]))
    attributes = " ".join(f'data-{key}="{escape(value)}"' for key, value in ids.items())
    title = escape(name.replace("_", " "))
    buttons = '<button type="button" data-good="true">good</button><button type="button" data-good="false">bad</button>'
    vote = f'<p class="votes" {attributes}>{buttons}</p>' if passed or stage["refused"] else ""
    return f'<h4>{title}</h4><p class="mark">{"<br>".join(marks)}</p>{refused}{vote}'
