"""Count the planted faults that the checks of synthesis catch, and the honest answers that they keep.
Run: `python -m benchmarks.checks CASES.json`

CASES.json holds scenes in the CoSER schema, honest answers and answers with one planted fault each. A scripted teacher sends
them over HTTP, and the real stages ask it; a second server speaks the protocol of the checker (docs/protocols.md) and names the
faults that need a reader. A fault is caught when the turn, plan or fact is refused, or repaired so that it differs from what
was sent. Faults of kind `code` are counted without the checker, those of kind `meaning` with it.
"""

import asyncio
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.report import report
from her.characters.coser import BookScene, read_content
from her.format import parse
from her.inference.caller import Ledger
from her.inference.options import CallOptions
from her.types import Sampling
from pipelines.synthesize.callers import StageCallers
from pipelines.synthesize.notes import Notes
from pipelines.synthesize.option_groups import PlanOptions
from pipelines.synthesize.options import SynthesisOptions
from pipelines.synthesize.questions import StageContext
from pipelines.synthesize.stages.role_thinking import enhance_thoughts
from pipelines.synthesize.stages.settings import complete_setting
from pipelines.synthesize.stages.stage_table import Improve
from pipelines.synthesize.stages.system_thinking import add_plans
from tests.servers import Script
from tests.teaching import TeachingServer, payload_of, task_of

REFUSED = 0.03
"""Maximum share of honest answers that may be refused."""
Json = dict[str, Any]


class CaseServers:
    """A teacher that sends planted answers and a checker that knows the planted texts, both over HTTP.

    Attributes:
        turns: text of each turn that the teacher sends, by label; None leaves it out.
        plans: text of each plan, by the turn it is asked for; `default_plans` where there is none.
        facts: additions to the setting.
        faulty: text of a planted fault -> the code that the checker gives it.
    """

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.turns: dict[str, str | None] = {}
        self.plans: dict[str, str] = {}
        self.facts: list[Json] = []
        self.faulty: dict[str, str] = {}
        self._count = 0
        self._folder, self._stack = folder, stack
        self.teacher = stack.enter_context(TeachingServer(Script(text=self._teach, model="teacher")))
        self.checker = stack.enter_context(TeachingServer(Script(text=self._check, model="checker")))

    def _teach(self, body: Json) -> str:
        task, asked = task_of(body), payload_of(body)
        if task == "enhance_thoughts":
            turns = [{"id": label, "text": self.turns[label], "reason": ""} for label in asked["ask"] if self.turns.get(label)]
            return json.dumps({"turns": turns})
        if task == "rewrite_plan":
            return json.dumps({"plan": self.plans[asked["turn"]]})
        return json.dumps({"additions": self.facts})

    def _check(self, body: Json) -> str:
        items = payload_of(body)["items"]
        return json.dumps({"items": [{"id": item["id"], "faults": self._faults(item)} for item in items]})

    def _faults(self, item: Json) -> list[str]:
        return [code for text, code in self.faulty.items() if item["text"] == text]

    async def run(self, improve: Improve, scene: BookScene, checked: bool) -> tuple[BookScene, Notes]:
        """Take a scene through one stage with its own ledger, so that no answer of another case is found again."""
        self._count += 1
        folder = self._folder / str(self._count)
        folder.mkdir()
        options = SynthesisOptions(
            scenes=(Path("unused"),),
            endpoints=(self.teacher.spec,),
            checker=(self.checker.spec,) if checked else (),
            calls=CallOptions(retries=0, patience=1),
            plans=PlanOptions(draft=False),
        )
        stage_options, notes = options.stage_options(), Notes()
        assert isinstance(stage_options.sampling, Sampling)
        with Ledger(folder / "calls.sqlite3") as ledger:
            async with StageCallers(options, ledger) as callers:
                return await improve(scene, StageContext(callers, stage_options, notes)), notes


class CaseTable:
    """Outcome of every case: (list, kind) -> counts, and the names of what went wrong."""

    def __init__(self) -> None:
        self.right: Counter[str] = Counter()
        self.all: Counter[str] = Counter()
        self.wrong: list[str] = []

    def add(self, kind: str, name: str, right: bool, why: str = "") -> None:
        """Count a case and print a wrong one."""
        self.all[kind] += 1
        self.right[kind] += right
        if not right:
            self.wrong.append(f"{kind}: {name}")
            print(f"WRONG {kind}: {name} {why}", flush=True)


def read_scene(cases: Json, language: str, passage: str = "") -> BookScene:
    """Return a scene of the cases, with this passage as its source."""
    book = json.loads(json.dumps(cases["scenes"][language]))
    book["plots"][0]["text"] = passage
    return read_content(book, f"Cases {language}").scenes[0]


def _turn_texts(good: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, str | None]:
    texts = {f"t{at + 1}": text for at, text in enumerate(good["turns"])}
    return {**texts, **{f"t{int(at) + 1}": text for at, text in over.items()}}


async def turn_cases(cases: Json, servers: CaseServers, table: CaseTable) -> dict[str, BookScene]:
    """Run every answer to the enhancement; return the enhanced scenes."""
    enhanced = {}
    for language, good in cases["good"].items():
        scene = read_scene(cases, language)
        servers.turns, servers.faulty = _turn_texts(good, {}), {}
        enhanced[language], notes = await servers.run(enhance_thoughts, scene, True)
        for record in notes.turns:
            table.add(
                "turns kept", f"good {language} {record.turn[-4:]}", record.fate in ("changed", "as_it_was"), str(record.problems)
            )
    for case in cases["good_turns"]:
        good = cases["good"][case["lang"]]
        servers.turns = _turn_texts(good, {case["turn"]: case["text"]})
        scene = read_scene(cases, case["lang"])
        _, notes = await servers.run(enhance_thoughts, scene, True)
        record = notes.turns[case["turn"]]
        table.add("turns kept", case["text"][:80], record.fate != "kept", str(record.problems))
    for case in cases["thoughts"]:
        scene = read_scene(cases, case["lang"])
        servers.turns = _turn_texts(cases["good"][case["lang"]], case["over"])
        meaning = case["kind"] == "meaning"
        servers.faulty = {text: "voice" for text in case["over"].values() if text and meaning}
        after, notes = await servers.run(enhance_thoughts, scene, meaning)
        for at, text in ((int(at), text) for at, text in case["over"].items()):
            turn, record = after.turns[at], notes.turns[at]
            planted = parse(f"{turn.speaker}: {text}", turn.speaker, notation="her") if text else None
            right = record.fate == "kept" or (planted is not None and planted.parts != turn.parts)
            table.add(f"turns {case['kind']}", f"{case['fault']} [{case['lang']}]", right, str(record))
    return enhanced


async def plan_cases(cases: Json, servers: CaseServers, table: CaseTable, enhanced: Mapping[str, BookScene]) -> None:
    """Run every plan, each among the honest plans of its scene."""
    for language, good in cases["good"].items():
        await _plans(servers, table, enhanced[language], good["plans"], {}, "")
    for case in cases["good_plans"]:
        plans = {case["turn"]: case["text"]}
        await _plans(servers, table, enhanced[case["lang"]], cases["good"][case["lang"]]["plans"], plans, "")
    for case in cases["plans"]:
        plans = {case["turn"]: case["text"]}
        good = cases["good"][case["lang"]]["plans"]
        await _plans(servers, table, enhanced[case["lang"]], good, plans, case["kind"], case["fault"])


async def _plans(
    servers: CaseServers,
    table: CaseTable,
    scene: BookScene,
    good: list[str],
    over: Mapping[int, str],
    kind: str,
    fault: str = "",
) -> None:
    """Run the plans of one scene; `kind` is empty when those of `over` are honest."""
    texts = {at: over.get(at, text) for at, text in enumerate(good)}
    servers.plans = {_asked(scene, at): text for at, text in texts.items()}
    servers.faulty = {text: "voice" for text in over.values() if kind == "meaning"}
    after, notes = await servers.run(add_plans, scene, kind != "code")
    for at in over or texts:
        record, plan = notes.turns[at], after.turns[at].text("system_thinking")
        if kind:
            table.add(f"plans {kind}", f"{fault} t{at}", plan != texts[at], plan)
        else:
            table.add("plans kept", texts[at][:80], plan == texts[at], str(record.problems))


def _asked(scene: BookScene, at: int) -> str:
    """Return the turn as the question shows it, which names the plan that is wanted."""
    from her.format import render
    from her.kinds import REPLY_KINDS

    turn = scene.turns[at]
    return render(turn.parts, turn.speaker, kinds=REPLY_KINDS)


async def setting_cases(cases: Json, servers: CaseServers, table: CaseTable) -> None:
    """Run every addition to the setting alone, and the honest ones together."""
    settings = cases["settings"]
    scene = read_scene(cases, "en", settings["passage"])
    servers.faulty = {}
    for case in (*settings["honest"], *settings["faults"]):
        servers.facts = [{key: value for key, value in case.items() if key not in ("case", "kind")}]
        fault = case in settings["faults"]
        meaning = case.get("kind") == "meaning"
        servers.faulty = {case["fact"]: "unsupported"} if fault and meaning else {}
        after, notes = await servers.run(complete_setting, scene, meaning or not fault)
        kept = (after.scenario, after.cast) != (scene.scenario, scene.cast)
        kind = f"facts {case.get('kind', 'code')}" if fault else "facts kept"
        table.add(kind, case["case"], kept != fault, str(notes.skipped))


async def measure(cases: Json) -> CaseTable:
    """Run all cases."""
    table = CaseTable()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        servers = CaseServers(folder, stack)
        enhanced = await turn_cases(cases, servers, table)
        await plan_cases(cases, servers, table, enhanced)
        await setting_cases(cases, servers, table)
    return table


def shares(table: CaseTable) -> Iterator[tuple[str, str]]:
    """Yield each kind with `right of all`."""
    for kind in sorted(table.all):
        yield kind, f"{table.right[kind]} of {table.all[kind]}"


def main(words: list[str]) -> int:
    """Run the benchmark and print its object."""
    if len(words) != 1:
        print("give the file of cases: python -m benchmarks.checks CASES.json", file=sys.stderr)
        return 2
    cases = json.loads(Path(words[0]).read_text("utf-8"))
    table = asyncio.run(measure(cases))
    kept = [kind for kind in table.all if kind.endswith(" kept")]
    refused = 1 - sum(table.right[kind] for kind in kept) / sum(table.all[kind] for kind in kept)
    caught = all(table.right[kind] == table.all[kind] for kind in table.all if kind not in kept)
    bar = {"faults_caught": "all", "honest_refused_share": REFUSED}
    measured = {**dict(shares(table)), "honest_refused_share": round(refused, 4), "wrong": table.wrong}
    report("checks", bar, measured, caught and refused <= REFUSED)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
