"""Run reward training: preferences -> a scalar or generative reward model, its report and a manifest of its conversations.

    python -m pipelines.reward @pipelines/configs/reward_smoke.toml name=first --dry-run

Also `her run reward @pipelines/configs/reward_smoke.toml`. The run folder is HER_HOME/runs/NAME: the model is in `model/`, the
figures in `report.json` and `report.md`, the conversations in `manifest.json`. Where each camp of raters has a model of its own,
they are in `camp-1`, `camp-2` and so on; `people.json` says what the raters are worth. Started again with the same settings, an
unfinished run resumes from its last complete checkpoint.
"""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from her.deploy.checkpoints import deciding_files
from her.files import atomic as files
from her.judging.card_page import write_card
from her.judging.preference_pairs import conversation_of
from her.runs.command_line import run_command_line
from her.runs.folder import run_folder
from her.runs.open_run import Run, open_run
from her.types import Preference
from pipelines.models.chat_template import ChatTemplate
from pipelines.models.loading import base_commit, base_files, load_tokenizer, resolve_device
from pipelines.reward.attacks import attack_negatives, attacked_pairs
from pipelines.reward.cards import scalar_card
from pipelines.reward.evaluation import (
    KINDS,
    HeldOutSet,
    ModelFigures,
    evaluate_scores,
    length_scores,
    model_scores,
    score_differences,
)
from pipelines.reward.generative import run_generative
from pipelines.reward.inputs import encode_pairs, pair_texts
from pipelines.reward.options import RewardOptions
from pipelines.reward.pairs import PairSet, load_pair_sets
from pipelines.reward.people import database_hash, model_agreement
from pipelines.reward.report import RewardManifest, RewardReport, model_card, trained_content, write_manifest, write_report
from pipelines.reward.saving import save_scalar
from pipelines.reward.scalar import train_scalar
from pipelines.reward.scorer import ScalarScorer, load_scorer

PROBES = 8
"""Held-out candidates whose scores are compared after the model is read back."""


class Trained(NamedTuple):
    """A trained model: trainer, pairs, pairs left out by reason, and seconds of the training."""

    trainer: Any
    pairs: int
    left_out: dict[str, int]
    seconds: float

    @property
    def model(self) -> Any:
        """The model, unwrapped from the accelerator."""
        return self.trainer.accelerator.unwrap_model(self.trainer.model)


def main(words: Sequence[str]) -> int:
    """Run the command line; return an exit code as in `her.runs.command_line.run_command_line`."""
    return run_command_line(words, RewardOptions, run, "reward")


def run(options: RewardOptions) -> Path:
    """Run all of it and return the folder of the model.

    Raises:
        HerError: the run cannot start or go on.
    """
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    device = resolve_device(options.device)
    critiques = [*options.generative.critiques, *options.generative.candidates.samples]
    pairs = [*options.pairs.files, *options.pairs.held_out, *options.pairs.planted.books]
    hashes = files.file_hashes([*pairs, *critiques, *base_files(options.model)])
    hashes |= base_commit(options.model) | database_hash(options.pairs.people.database)
    with open_run("reward", options.name, options, seed=options.seed, hashes=hashes) as opened:
        if options.head == "generative" and options.pairs.planted.pairs:
            run_generative(options, opened, device)
            return run_folder(options.name) / "model"
        sets = load_pair_sets(options.pairs, options.seed, opened.folder)
        for name, preferences in sets.items():
            part = opened.part(name)
            if options.head == "generative":
                run_generative(options, part, device, preferences)
            else:
                _write_manifest(options, preferences, part.folder)
                _train_and_report(options, preferences, part, device)
    return run_folder(options.name) / ("model" if "" in sets else "")


def _write_manifest(options: RewardOptions, pairs: PairSet, folder: Path) -> None:
    trained, held_out = (tuple(sorted(set(map(conversation_of, part)))) for part in (pairs.train, pairs.held_out))
    manifest = RewardManifest(
        run=options.name, base=options.model.base, trained=trained, held_out=held_out, content=trained_content(pairs.train)
    )
    write_manifest(manifest, folder)


def _train_and_report(options: RewardOptions, pairs: PairSet, opened: Run, device: str) -> None:
    """Train, save, evaluate the saved model beside the baselines, and write the report."""
    settings = options.pairs
    train = [*pairs.train, *attack_negatives(pairs.train, settings.attacks, settings.attack_share, options.seed)]
    template = ChatTemplate(load_tokenizer(options.model, pair_texts(train)))
    trained = _train(options, template, train, opened, device)
    probes = [row for each in pairs.held_out[:PROBES] for row in _probe_ids(template, each, options)]
    folder = opened.folder / "model"
    difference = save_scalar(trained.model, template, folder, card="", probes=probes)
    attacks = attacked_pairs(pairs.held_out, KINDS, options.evaluation.attacked, options.seed)
    held_out = HeldOutSet(pairs.held_out, tuple(attacks), options.evaluation.resamples, options.seed)
    score = model_scores(load_scorer(folder, device))
    figures = [evaluate_scores("scalar", score, held_out)]
    figures.append(evaluate_scores("length only", length_scores(pairs.train), held_out, log_odds=False))
    if options.evaluation.prompt_blind:
        figures.append(_blind_figures(options, template, train, held_out, opened, device))
    report = _report(options, pairs, trained, difference, figures)
    if pairs.votes:
        differences = score_differences(score, pairs.held_out).tolist()
        people = model_agreement(pairs.votes, pairs.held_out, differences, options.evaluation.resamples, options.seed)
        report = report.model_copy(update={"people": people})
    write_report(report, opened.folder)
    name = options.name if opened.folder.name == options.name else f"{options.name}, {opened.folder.name}"
    report_card = scalar_card(figures[0], score, held_out, name, pairs.ceiling)
    write_card(report_card, opened.folder, f"Reward model {name}")
    with files.replacing(folder / "README.md") as card:
        card.write(model_card(report, template.tokenizer.eos_token, report_card))
    _log_outputs(report, folder, opened)


def _probe_ids(template: ChatTemplate, preference: Preference, options: RewardOptions) -> list[list[int]]:
    rows, _ = encode_pairs(template, [preference], options.loss, sys.maxsize)
    return [*rows["chosen_ids"], *rows["rejected_ids"]]


def _train(
    options: RewardOptions, template: ChatTemplate, train: Sequence[Preference], opened: Run, device: str, blind: bool = False
) -> Trained:
    """Train a model; a blind one never sees a prompt and has a folder and metrics of its own."""
    rows, left_out = encode_pairs(template, train, options.loss, options.pairs.most_tokens, prompts=not blind)
    folder = opened.folder / "prompt_blind" if blind else opened.folder

    def metric(**values: Any) -> None:
        opened.log_metric(**({"prompt_blind": values} if blind else values))

    began = time.monotonic()
    trainer = train_scalar(options, template.tokenizer, rows, folder, metric, device)
    return Trained(trainer, len(rows["label"]), dict(left_out), time.monotonic() - began)


def _blind_figures(
    options: RewardOptions, template: ChatTemplate, train: Sequence[Preference], held_out: HeldOutSet, opened: Run, device: str
) -> ModelFigures:
    blind = _train(options, template, train, opened, device, blind=True)
    return evaluate_scores("prompt blind", model_scores(ScalarScorer(blind.model, template), prompts=False), held_out)


def _report(
    options: RewardOptions, pairs: PairSet, trained: Trained, difference: float, figures: Sequence[ModelFigures]
) -> RewardReport:
    return RewardReport(
        name=options.name,
        base=options.model.base,
        trained=trained.pairs,
        held_out=len(pairs.held_out),
        conversations=len(set(map(conversation_of, pairs.held_out))),
        left_out={**pairs.left_out, **trained.left_out},
        seconds=round(trained.seconds, 2),
        difference=difference,
        models=tuple(figures),
        ceiling=pairs.ceiling,
    )


def _log_outputs(report: RewardReport, folder: Path, opened: Run) -> None:
    accuracy = {f"accuracy_{figures.name.replace(' ', '_')}": figures.accuracy.value for figures in report.models}
    opened.log_metric(saved="model", difference=report.difference, **accuracy)
    deciding = deciding_files(folder)
    opened.update_status(outputs={f"model/{path.name}": files.file_hash(path) for path in deciding})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
