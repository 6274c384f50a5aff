"""Train a generative reward model: critiques -> fine-tuning -> reinforcement learning -> evaluation of both.

The stages' models are ordinary chat models: `sft/` after fine-tuning, `model/` at the end. A judge uses one through any backend:

    PairJudge(Caller(["local:HER_HOME/runs/NAME/model"]).ask, name="genrm", instructions="short")
"""

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from her.deploy.checkpoints import deciding_files
from her.errors import InputError
from her.files.atomic import file_hash, replacing
from her.inference.call import Call
from her.judging.card_page import write_card
from her.judging.preference_pairs import conversation_of
from her.runs.open_run import Run
from pipelines.models.chat_template import ChatTemplate
from pipelines.models.loading import load_model, load_tokenizer
from pipelines.models.options import LoraOptions, ModelOptions
from pipelines.models.saving import save
from pipelines.reward.cards import generative_model_card
from pipelines.reward.generation import BatchAsk, answer_texts
from pipelines.reward.generative_evaluation import Answered, GenerativeFigures, evaluate_judge, paired_gain
from pipelines.reward.generative_grpo import reinforce
from pipelines.reward.generative_heads import HEADS
from pipelines.reward.generative_material import Material, gather
from pipelines.reward.generative_report import GenerativeReport, TrainedStage, generative_card, write_generative_report
from pipelines.reward.generative_rows import Balance, Twin, balance_of, balance_twins, choose_twins, sft_rows
from pipelines.reward.generative_sft import fine_tune
from pipelines.reward.labelled_pairs import SIDES, as_preference
from pipelines.reward.options import RewardOptions
from pipelines.reward.pairs import PairSet
from pipelines.reward.report import RewardManifest, trained_content, write_manifest

log = logging.getLogger(__name__)
TOKENIZER_TEXTS = 4000
"""Rows whose text a tokenizer from scratch is trained on."""


class PreparedCritiques(NamedTuple):
    """Critiques to train on, with those set aside, and the shares before and after balancing."""

    material: Material
    twins: list[Twin]
    checked: list[Twin]
    before: Balance
    after: Balance
    left_out: dict[str, int]


def run_generative(options: RewardOptions, opened: Run, device: str, pairs: PairSet | None = None) -> None:
    """Run all stages that the settings name, evaluate the models they saved, and write the report.

    Args:
        pairs: preferences to learn from; None for planted ones.

    Raises:
        HerError: the run cannot start or go on.
    """
    prepared = prepare(options, opened.folder, pairs)
    if not prepared.twins and not options.model.base:
        raise InputError("no critique can be trained on, and a model of random weights knows no form; give generative.judges")
    _write_manifest(options, prepared.material, opened.folder)
    template = ChatTemplate(load_tokenizer(options.model, _texts(options, prepared)))
    stages: list[TrainedStage] = []
    base = options.model
    if prepared.twins:
        base, stage = _fine_tune(options, template, prepared, opened, device)
        stages.append(stage)
    elif not options.generative.grpo.steps:
        raise InputError("no critique can be trained on and generative.grpo.steps is 0, so nothing would be trained")
    if options.generative.grpo.steps:
        stages.append(_reinforce(options, template, base, prepared.material, opened, device))
    report = _report(options, prepared, stages, opened.folder, device)
    write_generative_report(report, opened.folder)
    for folder in (opened.folder / stage for stage in ("sft", "model")):
        if folder.is_dir():
            with replacing(folder / "README.md") as card:
                card.write(generative_card(report, options.generative))
    last = report.models[-1]
    opened.log_metric(saved="model", accuracy=last.accuracy.value, swap_consistency=last.swap_consistency.value)
    deciding = deciding_files(opened.folder / "model")
    opened.update_status(outputs={f"model/{path.name}": file_hash(path) for path in deciding})


def prepare(options: RewardOptions, folder: Path, pairs: PairSet | None = None) -> PreparedCritiques:
    """Return the critiques that can be trained on, balanced, and those set aside for checks."""
    generative = options.generative
    material = gather(options, folder, pairs)
    twins, left_out = choose_twins(material.critiques, HEADS[generative.form])
    before = balance_of(twins)
    negatives = [twin for twin in twins if twin.pair.kind]  # b is worse by construction; balancing is for the others
    plain = [twin for twin in twins if not twin.pair.kind]
    kept = balance_twins(plain, mixed=generative.mixed, length_gap=generative.length_gap, seed=options.seed)
    left_out["balance"] += len(plain) - len(kept)
    checked = kept[: min(generative.checked, len(kept) // 10)] if generative.stop_accuracy else []
    trained = [*kept[len(checked) :], *negatives]
    log.info("%d critiques to train on, %d set aside; left out: %s", 2 * len(trained), 2 * len(checked), dict(left_out))
    counts = {**material.left_out, **{why: count for why, count in left_out.items() if count}}
    return PreparedCritiques(material, trained, checked, before, balance_of([*kept, *negatives]), counts)


def _fine_tune(
    options: RewardOptions, template: ChatTemplate, prepared: PreparedCritiques, opened: Run, device: str
) -> tuple[ModelOptions, TrainedStage]:
    generative = options.generative
    folder = opened.folder / ("sft" if generative.grpo.steps else "model")
    head = HEADS[generative.form]
    rows, too_long = sft_rows(template, head, prepared.twins, generative.instructions, options.pairs.most_tokens)
    prepared.left_out.update(too_long)

    def check(model: Any) -> float:
        return check_accuracy(model, template, prepared.checked, options)

    began = time.monotonic()
    if (folder / "config.json").is_file():
        log.info("fine-tuning is done: %s", folder)
    else:
        home = opened.folder / "fine_tuning"
        home.mkdir(exist_ok=True)
        trainer = fine_tune(
            options, template.tokenizer, rows, home, lambda **values: opened.log_metric(sft=values), device, check
        )
        _save(trainer, template, folder, options, len(rows["input_ids"]), options.model.base)
    stage = TrainedStage(name="sft", rows=len(rows["input_ids"]), seconds=round(time.monotonic() - began, 1))
    return ModelOptions(base=str(folder), template="own", precision=options.model.precision), stage


def _reinforce(
    options: RewardOptions, template: ChatTemplate, base: ModelOptions, material: Material, opened: Run, device: str
) -> TrainedStage:
    home, folder, rows = opened.folder / "reinforcement", opened.folder / "model", len(material.train)
    if (folder / "config.json").is_file():
        log.info("reinforcement learning is done: %s", folder)
        return TrainedStage(name="grpo", rows=rows)
    home.mkdir(exist_ok=True)
    began = time.monotonic()
    trainer = reinforce(
        options, base, template.tokenizer, material.train, home, lambda **values: opened.log_metric(grpo=values), device
    )
    seconds = round(time.monotonic() - began, 1)
    _save(trainer, template, folder, options, rows, base.base)
    return TrainedStage(name="grpo", rows=rows, steps=trainer.state.global_step, seconds=seconds)


def check_accuracy(model: Any, template: ChatTemplate, twins: Sequence[Twin], options: RewardOptions) -> float:
    """Return the share of pairs whose answers say what the label says, mean over single answers for a pairwise head."""
    generative, head = options.generative, HEADS[options.generative.form]
    calls = [
        Call(f"{twin.pair.id}:{side}", "check", head.messages(twin.pair, side, generative.instructions))
        for twin in twins
        for side in SIDES
    ]
    texts = answer_texts(model, template, calls, generative.at_once, generative.grpo.tokens)
    right = 0.0
    for twin, first, second in zip(twins, texts[::2], texts[1::2], strict=True):
        values = [
            head.read(twin.pair, side, text).value if ended else None
            for side, (text, ended) in zip(SIDES, (first, second), strict=True)
        ]
        right += sum(
            head.worth(twin.pair, side, value, [other]).agreement
            for side, value, other in zip(SIDES, values, values[::-1], strict=True)
        )
    return right / max(1, 2 * len(twins))


def _save(trainer: Any, template: ChatTemplate, folder: Path, options: RewardOptions, rows: int, base: str) -> None:
    facts = {"Trained for": f"generative reward model, form {options.generative.form}", "Rows": rows, "Run": options.name}
    model = trainer.accelerator.unwrap_model(trainer.model)
    save(model, template.tokenizer, folder, base=base, licence=options.model.licence, facts=facts)


def _report(
    options: RewardOptions, prepared: PreparedCritiques, stages: Sequence[TrainedStage], folder: Path, device: str
) -> GenerativeReport:
    """Evaluate every stage's saved model; the figures of fine-tuning stand beside those of the end."""
    tests, generative = prepared.material.tests, options.generative
    names = [stage.name for stage in stages]
    figures: list[GenerativeFigures] = []
    answered: list[Sequence[Answered]] = []
    for name in names:
        ask = saved_ask(folder / ("model" if name == names[-1] else name), options, device)
        evaluated = evaluate_judge(name, ask, generative.form, generative.instructions, tests)
        figures.append(evaluated.figures)
        answered.append(evaluated.answered)
    name = options.name if folder.name == options.name else f"{options.name}, {folder.name}"
    card = generative_model_card(figures[-1], answered[-1], tests, name)
    write_card(card, folder, f"Reward model {name}")
    gain = paired_gain(*answered, resamples=tests.resamples, seed=tests.seed) if len(answered) == 2 else None
    return GenerativeReport(
        name=options.name,
        base=options.model.base,
        form=generative.form,
        stages=tuple(stages),
        left_out=prepared.left_out,
        before=prepared.before,
        after=prepared.after,
        gain=gain,
        models=tuple(figures),
        card=card,
    )


def saved_ask(folder: Path, options: RewardOptions, device: str) -> BatchAsk:
    """Return the questions' way to a saved model."""
    template = ChatTemplate(str(folder))
    saved = ModelOptions(base=str(folder), template="own", precision=options.model.precision)
    model = load_model(saved, LoraOptions(), template.tokenizer, device).to(device)
    generative = options.generative
    return BatchAsk(model, template, at_once=generative.at_once, tokens=generative.grpo.tokens)


def _texts(options: RewardOptions, prepared: PreparedCritiques) -> list[str]:
    """Return prompts and answers for a tokenizer from scratch."""
    head, texts = HEADS[options.generative.form], []
    for twin in prepared.twins[: TOKENIZER_TEXTS // 2]:
        for side, text in zip(SIDES, twin.texts, strict=True):
            prompt = head.messages(twin.pair, side, options.generative.instructions)
            texts += [*(message.content for message in prompt), text]
    return texts


def _write_manifest(options: RewardOptions, material: Material, folder: Path) -> None:
    trained = [*material.train, *(critique.pair for critique in material.critiques)]
    learned, tested = ([as_preference(pair) for pair in part] for part in (trained, material.tests.pairs))
    names, held_out = (tuple(sorted(set(map(conversation_of, part)))) for part in (learned, tested))
    manifest = RewardManifest(
        run=options.name, base=options.model.base, trained=names, held_out=held_out, content=trained_content(learned)
    )
    write_manifest(manifest, folder)
