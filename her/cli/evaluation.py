"""Commands for evaluations: play and judge, judge again, make the report again, compare two models, and say what a comparison
could show.
"""

import json
from pathlib import Path
from typing import Annotated

import typer

PANEL = "Data and models"
"""Heading in `her --help`."""
PIPELINE = "evaluate"
app = typer.Typer()
eval_app = typer.Typer(no_args_is_help=True, help="Evaluate models: reports, comparisons, and what they can show.")
app.add_typer(eval_app, name="eval", rich_help_panel=PANEL)
Calibration = Annotated[str, typer.Option(help="Run or card of judge-check, or labels of people such as CharacterBench.")]
Evaluated = Annotated[str, typer.Argument(help="Name or folder of an evaluation; RUN#MODEL where it has several models.")]


@eval_app.command("coser", context_settings={"ignore_unknown_options": True})
def evaluate_on_coser(
    files: Annotated[list[Path], typer.Option("--data", help="Test set of CoSER, one of its books, or a folder of them.")],
    actor: Annotated[
        list[str] | None, typer.Option(help="Backend spec of the model that is evaluated; several of one model.")
    ] = None,
    judge: Annotated[list[str] | None, typer.Option(help="Backend spec of the judge, who also narrates and directs.")] = None,
    protocol: Annotated[str, typer.Option(help="corrected, coser-paper, coser-head or her.")] = "corrected",
    name: Annotated[str, typer.Option(help="Name of the run.")] = "coser",
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[@FILE.toml] [KEY=VALUE] [--dry-run]", help="Further settings, as of `her run evaluate`."),
    ] = None,
) -> None:
    """Have a model play the scenes of CoSER, judge them, and write the report. Started again, an unfinished run resumes."""
    settings: dict[str, object] = {"name": name, "protocol": protocol, "cases": [str(path) for path in files]}
    settings |= {role: specs for role, specs in (("actor", actor), ("judge", judge)) if specs}
    raise typer.Exit(_run_evaluation(settings, words or []))


@eval_app.command("judge", context_settings={"ignore_unknown_options": True})
def judge_again(
    run: Annotated[str, typer.Argument(help="Name or folder of an evaluation.")],
    judge: Annotated[list[str] | None, typer.Option(help="Backend spec of the judge; default: that of the run.")] = None,
    name: Annotated[str, typer.Option(help="Name of the new run; default: RUN-judged.")] = "",
    words: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]", help="Settings that differ from the run's.")] = None,
) -> None:
    """Judge the transcripts of an evaluation again, without playing them."""
    from her.runs.folder import run_folder

    folder = Path(run) if (Path(run) / "config.toml").is_file() else run_folder(run)
    settings: dict[str, object] = {"name": name or f"{folder.name}-judged", "transcripts": str(folder.resolve())}
    settings |= {"judge": judge} if judge else {}
    raise typer.Exit(_run_evaluation(settings, [f"@{folder / 'config.toml'}", *(words or [])]))


def _run_evaluation(settings: dict[str, object], words: list[str]) -> int:
    from her.runs.pipelines import pipeline_main

    # Files come first: what the options say counts more, and what the words say most.
    files = [word for word in words if word.startswith("@")]
    named = [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in settings.items()]
    return pipeline_main(PIPELINE)([*files, *named, *(word for word in words if word not in files)])


@eval_app.command("report")
def write_report(
    run: Evaluated,
    title: Annotated[str, typer.Option(help="Title of the page; default: the name of the run.")] = "",
    suite: Annotated[str, typer.Option(help="coser, role-play-bench, ...: whose published scores are shown apart.")] = "coser",
    calibration: Annotated[str, typer.Option(help="Run or card of judge-check, which calibrates the judge.")] = "",
) -> None:
    """Write report.json, report.md and report.html of an evaluation again, from its scores and transcripts."""
    from her.runs.pipelines import pipeline_module

    report = pipeline_module(PIPELINE, "report")
    folder = report.read_run(run).folder
    _, files = report.write_report(folder, title or f"Evaluation {folder.name}", suite, calibration=calibration)
    for file in files:
        typer.echo(file)


@eval_app.command("compare")
def compare_runs(
    first: Evaluated,
    second: Evaluated,
    out: Annotated[Path | None, typer.Option(help="Folder of the page; default: comparison-FIRST below the second.")] = None,
    across: Annotated[bool, typer.Option("--across", help="Also across protocols and judges, for controls.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap and of the permutation test.")] = 0,
) -> None:
    """Compare two evaluated models case by case, with intervals over books, tests and both scenes side by side."""
    from her.judging.statistics import Uncertainty
    from her.runs.pipelines import pipeline_module

    report = pipeline_module(PIPELINE, "report")
    runs = [report.read_run(run) for run in (first, second)]
    folder = out or runs[1].folder / f"comparison-{runs[0].name.replace('#', '-').replace('/', '-')}"
    found, files = report.write_comparison(*runs, folder, Uncertainty(seed=seed), across)
    for each in found:
        typer.echo(f"{report.report_text.comparison_heading(each)}: {each.verdict}")
        for warning in each.warnings:
            typer.echo(f"  {warning}")
    typer.echo(files[-1])


@eval_app.command("detectable")
def print_detectable(
    pilot: Evaluated,
    other: Annotated[str, typer.Argument(help="A pilot of the other model over the same cases; without it a lower bound.")] = "",
    cases: Annotated[int, typer.Option(min=1, help="Cases of the planned evaluation.")] = 200,
    books: Annotated[int, typer.Option(min=1, help="Books or seeds they are from.")] = 101,
    runs: Annotated[int, typer.Option(min=1, help="Runs of each model.")] = 2,
    power: Annotated[float, typer.Option(min=0.5, max=0.99, help="Share of evaluations that shall find it.")] = 0.8,
) -> None:
    """Print the smallest difference that a planned evaluation of two models would show, before it is paid for."""
    from her.runs.pipelines import pipeline_module

    planning = pipeline_module(PIPELINE, "planning")
    for line in planning.detectable_lines(pilot, other, cases, books, runs, power):
        typer.echo(line)


@eval_app.command("arena")
def hold_arena(
    runs: Annotated[list[str], typer.Argument(help="Evaluations over the same cases, two or more; RUN#MODEL where needed.")],
    family: Annotated[list[str], typer.Option(help="Model family of each run, in their order, such as qwen or llama.")],
    held_out: Annotated[
        list[str] | None, typer.Option(help="Spec of the judge without principles, of another family than all contestants.")
    ] = None,
    held_out_family: Annotated[str, typer.Option(help="Its family; required, and none of the contestants'.")] = "",
    by_case: Annotated[list[str] | None, typer.Option(help="Spec of the judge with principles, beside it.")] = None,
    by_case_family: Annotated[str, typer.Option(help="Its family.")] = "",
    people: Annotated[bool, typer.Option("--people", help="Add people's blind votes from the database.")] = False,
    thoughts: Annotated[bool, typer.Option("--thoughts", help="Show the characters' thoughts to the judges.")] = False,
    out: Annotated[Path | None, typer.Option(help="Output folder; default: arena in the first run's folder.")] = None,
) -> None:
    """Judge the saved scenes of several models against each other, in both orders; nothing is played again."""
    from her.errors import InputError
    from her.runs.pipelines import pipeline_module
    from her.store import Store

    if len(family) != len(runs):
        raise InputError(f"{len(runs)} runs have {len(family)} families; give --family once for each run, in their order")
    report, arena, words = (pipeline_module(PIPELINE, name) for name in ("report", "arena", "arena_text"))
    read = [report.read_run(run) for run in runs]
    contestants = [arena.Contestant(run.name, name, run) for run, name in zip(read, family, strict=True)]
    given = (("held_out", held_out, held_out_family), ("by_case", by_case, by_case_family))
    judges = [arena.ArenaJudge(source, tuple(specs), name) for source, specs, name in given if specs]
    arena.check_judges(contestants, judges)
    votes = list(arena.people_games(Store(), contestants)) if people else []
    found, files = arena.run_arena(contestants, judges, out or read[0].folder / "arena", people=votes, thoughts=thoughts)
    for table in found.tables:
        typer.echo(f"{words.heading(table)}: {', '.join(one.contestant for one in table.standings)}")
        typer.echo(f"  {words.facts(table)}")
    for each in found.parted:
        if each.flagged:
            typer.echo(
                f"{each.contestant} pleases the principles and not the held-out judge ({each.pleased} of {each.games} games)"
            )
    typer.echo(files[-1])


@eval_app.command("role-play-bench")
def run_role_play_bench(
    source: Annotated[
        Path, typer.Option("--data", help="Folder of MiniMaxAI/role-play-bench or of RP-Bench, as you downloaded it.")
    ],
    actor: Annotated[list[str], typer.Option(help="Backend spec of the model that is evaluated.")],
    user: Annotated[list[str], typer.Option(help="Spec of the simulated user; the same for all models that are compared.")],
    judge: Annotated[list[str], typer.Option(help="Spec of the judge.")],
    name: Annotated[str, typer.Option(help="Folder of the run in HER_HOME/runs.")] = "role-play-bench",
    runs: Annotated[int, typer.Option(min=1, help="Sessions of each seed; two and more for an interval.")] = 3,
    turns: Annotated[int, typer.Option(min=2, help="Generated turns of a session; 100 as published.")] = 100,
    limit: Annotated[int, typer.Option(min=0, help="Most seeds of each language; 0 for all.")] = 0,
    published: Annotated[int, typer.Option(min=0, help="Published dialogues on which the judge is calibrated.")] = 0,
    calibration: Calibration = "",
) -> None:
    """Play and judge a proxy of MiniMax's Role-Play Bench, or seeds of RP-Bench; English and Chinese are never pooled."""
    from her.runs.folder import run_folder
    from her.runs.pipelines import pipeline_module

    bench = pipeline_module(PIPELINE, "role_play_run")
    options = bench.BenchOptions(source, tuple(actor), tuple(user), tuple(judge), runs, turns, limit, published, calibration)
    typer.echo(bench.suite_of(source).source)
    for file in bench.run_bench(options, run_folder(name)):
        typer.echo(file)


@eval_app.command("persona-gym")
def run_persona_gym(
    source: Annotated[Path, typer.Option("--data", help="Folder questions/benchmark-v1 of PersonaGym, as you downloaded it.")],
    actor: Annotated[list[str], typer.Option(help="Backend spec of the model that is evaluated.")],
    judge: Annotated[list[str], typer.Option(help="Spec of the judge.")],
    name: Annotated[str, typer.Option(help="Folder of the run in HER_HOME/runs.")] = "persona-gym",
    runs: Annotated[int, typer.Option(min=1, help="Answers to each question; two and more for an interval.")] = 2,
    limit: Annotated[int, typer.Option(min=0, help="Most personas; 0 for all.")] = 0,
    questions: Annotated[int, typer.Option(min=0, help="Most questions of a task; 0 for all.")] = 0,
    calibration: Calibration = "",
) -> None:
    """Ask the questions of PersonaGym and have the answers rated from 1 to 5 in its five tasks, as a proxy."""
    from her.runs.folder import run_folder
    from her.runs.pipelines import pipeline_module

    gym = pipeline_module(PIPELINE, "persona_gym")
    options = gym.GymOptions(source, tuple(actor), tuple(judge), runs, limit, questions, calibration)
    typer.echo(gym.SOURCE)
    for file in gym.run_gym(options, run_folder(name)):
        typer.echo(file)
