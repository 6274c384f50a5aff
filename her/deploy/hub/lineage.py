"""Write the card of a publication: the run's own card, then its lineage, settings and figures, all from records of runs.

A figure without a record does not appear. Paths of this machine are reduced to their last part.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from her import paths
from her.deploy.hub.figures import CheckpointFigures, figures_section
from her.deploy.hub.manifest import FileRecord
from her.deploy.hub.remote import Address
from her.deploy.hub.selection import CARD, SentRun, base_of
from her.errors import InputError
from her.runs.folder import RunStatus, read_curve, read_metrics, read_status, run_folder, run_names, runs_folder

_ABSOLUTE = re.compile(r'(?<=["\'\[ =])(?:~|/)[^"\'\],\n]*/([^"\'/\],\n]+)')
_FRONT = re.compile(r"\A---\n(.*?)\n---\n", re.DOTALL)
_PACE = ("at", "step", "runtime", "per_second", "total_flos", "learning_rate", "grad_norm", "forecast", "rate", "done", "seconds")
"""Ends of the names of figures that say how a run went on and nothing about what came out."""
_REPORTS = ("report_card.md", "report.md")
"""Reports that stand in the card of a run that writes no card itself."""
_DEPTH = 8
"""Most stages that a lineage follows back."""


def write_card(
    run: SentRun,
    folder: Path,
    to: Address,
    licence: str,
    files: Mapping[str, FileRecord],
    measured: CheckpointFigures | None = None,
    worse: str = "",
) -> None:
    """Write `README.md` of a staged folder: what the run wrote there itself, its lineage, and what was measured of the folder.

    Args:
        worse: section on what got worse.
    """
    path = folder / CARD
    own = path.read_text("utf-8") if path.is_file() else ""
    front, body = _split(own)
    if licence and front.get("license") in (None, "other", "unknown") and not front.get("license_name"):
        front["license"] = licence.lower()
    base = run.base.split("@")[0]
    if run.kind == "model" and base.count("/") == 1:
        # Of a base that was pulled, the run's own card names the base of that base.
        front = {"base_model_relation": "finetune", **front, "base_model": base}
    front["tags"] = sorted({*front.get("tags", []), "her", "role-play"})
    if not body.strip():
        report = next((folder / name for name in _REPORTS if (folder / name).is_file()), None)
        shown = f"\n\n{report.read_text('utf-8').strip()}" if report else ""
        body = f"# {to.repository.split('/')[1]}\n\n{run.kind.capitalize()} of the run `{run.name}`.{shown}\n"
    # A checkpoint's card is headed by the name of its folder.
    body = re.sub(r"\A\s*# model\n", lambda _: f"# {to.repository.split('/')[1]}\n", body)
    sections = [f"---\n{yaml.safe_dump(front, sort_keys=True, allow_unicode=True)}---", body.strip()]
    sections += [_lineage(run), _figures(run), figures_section(measured), worse, _settings(run), _files(files), _use(run, to)]
    path.unlink(missing_ok=True)  # a link to the run's own file, which stays as it is
    path.write_text("\n\n".join(filter(None, sections)) + "\n", "utf-8")


def _split(text: str) -> tuple[dict[str, Any], str]:
    found = _FRONT.match(text)
    if not found:
        return {}, text
    try:
        front = yaml.safe_load(found[1])
    except yaml.YAMLError as error:
        raise InputError(f"the front matter of the run's {CARD} is not YAML; correct it") from error
    if not isinstance(front, dict):
        raise InputError(f"the front matter of the run's {CARD} is no mapping of YAML; correct it")
    return front, text[found.end() :]


def _lineage(run: SentRun) -> str:
    """Return one table a stage: the published run first, then the runs it was made from that this machine knows."""
    lines = ["## Lineage", ""]
    for name, status, settings in stages(run):
        lines += [f"### Stage `{name}`: {status.pipeline}", "", "| fact | value |", "| --- | --- |"]
        lines += [f"| {_cell(fact)} | {_cell(value)} |" for fact, value in _facts(status, settings)]
        lines.append("")
    return "\n".join(lines).rstrip()


def _facts(status: RunStatus, settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "state", status.state
    yield "ended", datetime.fromtimestamp(status.ended, UTC).strftime("%Y-%m-%d %H:%M UTC") if status.ended else "not recorded"
    yield "seed", str(status.seed)
    yield "code version", status.commit or "not recorded"
    yield "starts", str(status.starts)
    if "model" in settings:
        yield "base", base_of(settings) or "random weights"
    for key in ("endpoints", "judges"):
        if settings.get(key):
            yield key, ", ".join(map(str, settings[key]))
    for name, digest in sorted(status.hashes.items()):
        yield f"input {_last_part(name)}", digest
    for name, version in sorted(status.versions.items()):
        yield f"version of {name}", version


def stages(run: SentRun) -> list[tuple[str, RunStatus, Mapping[str, Any]]]:
    """Return name, status and settings of the run and of the runs that it was made from, nearest first."""
    found: list[tuple[str, RunStatus, Mapping[str, Any]]] = [(run.name, run.status, run.settings)]
    seen = {run.name.split("/")[0]}
    for _, _, settings in found:
        for name in _made_from(settings):
            if name not in seen and len(found) < _DEPTH:
                seen.add(name)
                found.append((name, read_status(name), tomllib.loads((run_folder(name) / "config.toml").read_text("utf-8"))))
    return found


def _made_from(settings: Mapping[str, Any]) -> Iterator[str]:
    """Yield the runs that settings name: in a list `runs`, or by a path into the folder of runs."""
    known = set(run_names())
    for key, value in _leaves(settings):
        if key == "runs" and value in known:
            yield value
        elif "/" in value:
            inside = paths.expanded(value).resolve()
            root = runs_folder().resolve()
            if root in inside.parents and (name := inside.relative_to(root).parts[0]) in known:
                yield name


def _leaves(settings: Any, key: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(settings, Mapping):
        for name, value in settings.items():
            yield from _leaves(value, name)
    elif isinstance(settings, Sequence) and not isinstance(settings, str):
        for value in settings:
            yield from _leaves(value, key)
    elif isinstance(settings, str):
        yield key, settings


def _figures(run: SentRun) -> str:
    """Return the last recorded figures of the run's curve and of what it logged at its end."""
    last: dict[str, tuple[Any, Any]] = {}
    for line in _recorded(run):
        # One line a design, a split or a stage: its name stands before the figures.
        label = ", ".join(value for key, value in line.items() if isinstance(value, str) and key != "saved")
        for key, value in _numbers(line):
            last[f"{label}: {key}" if label else key] = (value, line.get("step", "end"))
    if not last:
        return ""
    rows = [f"| {_cell(key)} | {value} | {step} |" for key, (value, step) in sorted(last.items())]
    head = "The last value of each figure that the run recorded, with its step; intervals stand only where a report has them."
    return "\n".join(["## Figures", "", head, "", "| figure | value | step |", "| --- | --- | --- |", *rows])


def _recorded(run: SentRun) -> list[Mapping[str, Any]]:
    """Return the lines of the run's metrics; of a part only its own, which stand under its name."""
    name, _, part = run.name.partition("/")
    if part:
        return [line[part] for line in read_metrics(name) if isinstance(line.get(part), Mapping)]
    return [*read_curve(name), *(line for line in read_metrics(name) if "step" not in line)]


def _numbers(line: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in line.items():
        if isinstance(value, bool) or key.endswith(_PACE):
            continue
        if isinstance(value, int | float):
            yield key, round(value, 6)
        elif isinstance(value, Mapping):
            yield from ((f"{key}: {inner}", number) for inner, number in _numbers(value))


def _settings(run: SentRun) -> str:
    """Return the settings of every stage of the lineage, the published run's first."""
    sections = ["## Settings"]
    for stage, _, _ in stages(run):
        name = stage.split("/")[0]
        text = (run_folder(name) / "config.toml").read_text("utf-8").strip()
        sections.append(f"### Settings of `{name}`\n\n~~~~toml\n{public_settings(text)}\n~~~~")
    return "\n\n".join(sections)


def public_settings(text: str) -> str:
    """Return settings with every path of this machine reduced to its last part."""
    return _ABSOLUTE.sub(lambda found: found[1], text)


def _files(files: Mapping[str, FileRecord]) -> str:
    rows = [f"| {_cell(name)} | {record.size} | `{record.sha256}` |" for name, record in sorted(files.items())]
    return "\n".join(["## Files", "", "| file | bytes | sha256 |", "| --- | --- | --- |", *rows])


def _use(run: SentRun, to: Address) -> str:
    at = f"{to.repository}@{to.tag}"
    lines = [f"her pull {at}    # compares every file with the hashes of the publication"]
    if run.kind == "model":
        folder = f"~/.her/pulled/{to.repository.replace('/', '--')}@{to.tag}"
        lines += [f"her play --backend local:{folder}", f"her serve {folder}    # vLLM, with the reasoning parser"]
    shown = ["## How to read it", "", "~~~~sh", *lines, "~~~~"]
    if run.kind == "model":
        where = f'"{to.repository}", revision="{to.tag}"'
        shown += ["", "With transformers alone; the chat template is in the repository:", "", "~~~~python"]
        shown += ["from transformers import AutoModelForCausalLM, AutoTokenizer", ""]
        shown += [f"tokenizer = AutoTokenizer.from_pretrained({where})", f"model = AutoModelForCausalLM.from_pretrained({where})"]
        shown += [
            'ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)'
        ]
        shown += ["print(tokenizer.decode(model.generate(**ids, max_new_tokens=512)[0]))", "~~~~"]
    return "\n".join(shown)


def _last_part(path: str) -> str:
    return path.rstrip("/").rsplit("/", 1)[-1] if path.startswith(("/", "~", ".")) else path


def _cell(value: str) -> str:
    return " ".join(str(value).split()).replace("|", "\\|").replace("`", "'")
