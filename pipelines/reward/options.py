"""Settings of a reward run, with their defaults.

    python -m pipelines.reward @pipelines/configs/reward.toml learning_rate=2e-5 --dry-run

Settings of the model are in pipelines/models/options.py. Unknown keys and impossible values are refused.
"""

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from her.config import MAY_CHANGE
from her.feedback.people import CampChoice
from her.judging.adversarial import ATTACKS
from her.training_data.splits import REWARD_SPLITS
from her.types import NonEmpty, Value
from pipelines.models.options import LoraOptions, ModelOptions


class PlantedOptions(Value):
    """Preferences made on the spot with a known rule (pipelines/reward/planted.py), to try a run without votes.

    Args:
        pairs: number of pairs; 0 for none.
        books: CoSER books whose turns are rewritten, beside the scenes of this project's personas.
        careless: share of raters who are right in 55 % of their votes; the others are right in 95 %. Only pairs that are
            trained on get their votes; held-out pairs keep the rule's label. A negative share plants no raters at all.
        votes: of each of twelve scripted raters (pipelines/reward/voters.py), through a database in the run's folder, from
            which the run then reads, as from a playground's; 0 for none.
    """

    pairs: int = Field(default=0, ge=0)
    books: tuple[Path, ...] = ()
    careless: float = Field(default=-1, ge=-1, le=1)
    votes: int = Field(default=0, ge=0)


class PeopleOptions(Value):
    """Preferences of people (pipelines/reward/people.py): votes, edits, kept swipes and stars of a playground.

    Args:
        database: path of its SQLite file, or its URL; empty for none.
        splits: splits of chats (her/training_data/splits.py) whose preferences train the model; RL has prompts of its own. Empty
            for all.
        models: `one` of all raters, one `per_camp` of taste, or `auto`: by camp where camps explain a low alpha.
        resamples: resamples of raters and conversations for an interval.
    """

    database: str = ""
    splits: tuple[NonEmpty, ...] = REWARD_SPLITS
    models: CampChoice = "auto"
    resamples: int = Field(default=1000, ge=100)


class PairOptions(Value):
    """Preferences to learn from and to evaluate on.

    Args:
        files: JSONL files of `her.types.Preference`.
        people: a playground's database to read instead.
        planted: preferences that are made instead.
        split: split whose preferences are used, where they name one; empty for those of reward models, rm_sft and rm_rl.
        held_out: files to evaluate on; empty holds out `held_out_share` instead.
        held_out_share: share of the conversations, chosen by a hash of their id and the seed, that is evaluated on; 0 to 1.
        most_tokens: longest prompt and candidate together; pairs with a longer one are left out whole and counted.
        length_gap: pairs whose longer candidate has more than so many times the characters of the shorter are left out; 0 keeps
            all.
        attacks: kinds of adversarial negatives (her/judging/adversarial.py) that are mixed into training; empty for none.
        attack_share: number of these negatives, as a share of the other pairs.
    """

    files: tuple[Path, ...] = ()
    people: PeopleOptions = PeopleOptions()
    planted: PlantedOptions = PlantedOptions()
    split: str = ""
    held_out: tuple[Path, ...] = ()
    held_out_share: float = Field(default=0.1, gt=0, lt=1)
    most_tokens: int = Field(default=4096, ge=16)
    length_gap: float = Field(default=4, ge=0)
    attacks: tuple[str, ...] = ()
    attack_share: float = Field(default=0.1, gt=0, le=1)

    @model_validator(mode="after")
    def _require_source(self) -> "PairOptions":
        if sum(map(bool, (self.files, self.people.database, self.planted.pairs))) != 1:
            raise ValueError(
                'give one of pairs.files=["preferences.jsonl"], pairs.people.database="her.sqlite3" and pairs.planted.pairs=1000'
            )
        if self.held_out and not self.files:
            raise ValueError("pairs.held_out needs pairs.files; other pairs hold out pairs.held_out_share")
        if self.planted.votes and self.planted.careless >= 0:
            raise ValueError("pairs.planted.votes and pairs.planted.careless are two kinds of raters; leave one of them out")
        if unknown := sorted(set(self.attacks) - set(ATTACKS)):
            raise ValueError(f"pairs.attacks names {unknown[0]!r}; the kinds are {', '.join(ATTACKS)}")
        return self


class LossOptions(Value):
    """Bradley-Terry loss of the scalar reward model (pipelines/reward/loss.py).

    Args:
        margin: factor of the preferences' margins; 0 for none. A margin separates scores further and makes probabilities that
            are computed from them too sure.
        weights: whether a preference counts by its weight, the reliability of its source.
        soft_labels: whether the verdict's probability is the label, where it has one; otherwise the chosen candidate has 1.
        centring: coefficient of the squared sum of both scores, which keeps scores near 0 (arXiv:2312.09244).
    """

    margin: float = Field(default=0, ge=0)
    weights: bool = True
    soft_labels: bool = True
    centring: float = Field(default=0.01, ge=0)


class RewardEvaluation(Value):
    """Evaluation on held-out conversations.

    Args:
        attacked: honest turns that each kind of attack is tried on; 0 for none.
        prompt_blind: whether a second model is trained without the prompts, as a baseline; it takes as long as the first.
        resamples: resamples of conversations for an interval.
    """

    attacked: int = Field(default=50, ge=0)
    prompt_blind: bool = False
    resamples: int = Field(default=1000, ge=10)


class GrpoOptions(Value):
    """Reinforcement learning of a generative reward model (GRPO, arXiv:2402.03300), after its fine-tuning.

    Args:
        steps: optimiser steps; 0 leaves the stage out.
        minutes: wall-clock minutes after which it ends; 0 for no limit.
        pairs: labelled pairs of one step on each device; each is asked twice, in both orders.
        answers: answers to one prompt.
        rows: answers in one batch.
        tokens: most tokens of an answer; a longer one has no reward.
        temperature: of the sampling.
        learning_rate: peak learning rate of AdamW.
        consistency: reward for an answer whose verdict the other order's answers share, times their share; 0 for none.
        kl: coefficient of the divergence from the fine-tuned model; 0 keeps no copy of it.
    """

    steps: int = Field(default=500, ge=0)
    minutes: float = Field(default=0, ge=0)
    pairs: int = Field(default=4, ge=1)
    answers: int = Field(default=8, ge=2)
    rows: int = Field(default=8, ge=1)
    tokens: int = Field(default=1024, ge=8)
    temperature: float = Field(default=1, gt=0)
    learning_rate: float = Field(default=1e-6, gt=0)
    consistency: float = Field(default=0.3, ge=0, le=1)
    kl: float = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _require_whole_batches(self) -> "GrpoOptions":
        if (answers := 2 * self.pairs * self.answers) % self.rows:
            raise ValueError(
                f"generative.grpo.rows={self.rows} does not divide the {answers} answers of a step; take {self.answers}"
            )
        return self


class CandidateOptions(Value):
    """Candidates that a model writes for prompts, when there are no labelled pairs yet (pipelines/reward/critics.py).

    Args:
        samples: JSONL files of `her.types.Sample`, whose prompts are answered; empty for none.
        endpoints: specs of the model that answers.
        answers: answers to one prompt.
        temperature: of the sampling; `tokens` is the most tokens of an answer, plan and reply together.
        pairs: pairs of one prompt's answers that are judged.
    """

    samples: tuple[Path, ...] = ()
    endpoints: tuple[NonEmpty, ...] = ()
    answers: int = Field(default=4, ge=2)
    temperature: float = Field(default=1, gt=0, le=2)
    tokens: int = Field(default=2048, ge=16)
    pairs: int = Field(default=2, ge=1)

    @model_validator(mode="after")
    def _require_model(self) -> "CandidateOptions":
        if bool(self.samples) != bool(self.endpoints):
            raise ValueError("generative.candidates needs both samples and endpoints, or neither")
        return self


class GenerativeOptions(Value):
    """A generative reward model: it writes its principles and its verdict (pipelines/reward/generative.py).

    Args:
        form: `pair` compares two candidates, `point` rates one.
        instructions: `short` reminds a model of what it was trained to do; `full` are those of an untrained judge. The same
            ones are used later: `her.judging.judge.PairJudge(instructions=...)`.
        critiques: JSONL files of what a judge wrote about labelled pairs (`Critique`); they are used as they are.
        judges: specs of the model that is asked about pairs without critiques; empty for none.
        judge_tokens: most tokens of its answers.
        candidates: pairs that are made from the answers of a model; the judge labels them.
        mixed: least share of pairs, of those with several decided comparisons, in which both candidates win one; a model that
            was trained on fewer gives all principles to one side. 0 balances nothing.
        length_gap: largest distance from one half of the share of pairs whose longer candidate wins.
        stop_accuracy: fine-tuning ends when this share of verdicts on set-aside pairs is right; 0 never ends it early.
        check_every: steps between these checks; `checked` is the number of pairs set aside for them.
        checked: set-aside pairs; 0 sets none aside.
        evaluated: held-out pairs that are evaluated, at most.
        at_once: answers that are generated together in the evaluation.
        grpo: the second stage.
    """

    form: Literal["pair", "point"] = "pair"
    instructions: Literal["full", "short"] = "short"
    critiques: tuple[Path, ...] = ()
    judges: tuple[NonEmpty, ...] = ()
    judge_tokens: int = Field(default=1500, ge=16)
    candidates: CandidateOptions = CandidateOptions()
    mixed: float = Field(default=0.4, ge=0, lt=1)
    length_gap: float = Field(default=0.05, ge=0, le=0.5)
    stop_accuracy: float = Field(default=0, ge=0, le=1)
    check_every: int = Field(default=100, ge=1)
    checked: int = Field(default=100, ge=0)
    evaluated: int = Field(default=1000, ge=1)
    at_once: int = Field(default=64, ge=1)
    grpo: GrpoOptions = GrpoOptions()


class RewardOptions(Value):
    """All settings of a reward run.

    Args:
        name: name of the run's folder in HER_HOME/runs.
        seed: seed of weights, order, planted pairs and held-out conversations.
        device: `cuda` refuses to start without a GPU; `auto` uses one when there is one.
        head: `scalar` trains a head of one number, `generative` a model that writes principles and a verdict.
        generative: of a generative model, whose fine-tuning takes the settings below.
        rows: pairs in one batch; each holds two sequences.
        batch: pairs of one optimiser step; a multiple of `rows`.
        epochs: passes over the pairs.
        steps: number of optimiser steps; 0 takes `epochs` instead.
        learning_rate: peak learning rate of AdamW.
        schedule: course of the learning rate after the warm-up.
        warmup: share of all steps in which the learning rate rises linearly; 0 to 1.
        weight_decay: weight decay of AdamW.
        beta2: decay of AdamW's second moment.
        clip: largest norm of the gradients.
        checkpointing: whether activations are computed again in the backward pass, for less memory and a third more work.
        save_every: steps between checkpoints, from which a run resumes.
        keep: checkpoints that are kept.
        log_every: steps between lines of metrics.jsonl.
    """

    name: NonEmpty = "reward"
    seed: int = 42
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", json_schema_extra=MAY_CHANGE)
    head: Literal["scalar", "generative"] = "scalar"
    model: ModelOptions = ModelOptions()
    lora: LoraOptions = LoraOptions()
    pairs: PairOptions
    generative: GenerativeOptions = GenerativeOptions()
    loss: LossOptions = LossOptions()
    evaluation: RewardEvaluation = RewardEvaluation()
    rows: int = Field(default=1, ge=1)
    batch: int = Field(default=64, ge=1)
    epochs: float = Field(default=1, gt=0)
    steps: int = Field(default=0, ge=0)
    learning_rate: float = Field(default=1e-5, gt=0)
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup: float = Field(default=0.05, ge=0, lt=1)
    weight_decay: float = Field(default=0, ge=0)
    beta2: float = Field(default=0.999, gt=0, lt=1)
    clip: float = Field(default=1, gt=0)
    checkpointing: bool = True
    save_every: int = Field(default=200, ge=1, json_schema_extra=MAY_CHANGE)
    keep: int = Field(default=2, ge=1, json_schema_extra=MAY_CHANGE)
    log_every: int = Field(default=10, ge=1, json_schema_extra=MAY_CHANGE)

    @model_validator(mode="after")
    def _require_consistent(self) -> "RewardOptions":
        if self.batch % self.rows:
            raise ValueError(
                f"batch={self.batch} is not a multiple of rows={self.rows}; take {self.rows * -(-self.batch // self.rows)}"
            )
        if self.head == "generative" and self.pairs.planted.votes:
            raise ValueError("pairs.planted.votes has no judge's words to fine-tune on; leave it out for a generative model")
        if self.lora.quantise:
            raise ValueError("lora.quantise is not supported for reward models; leave it out")
        generative = self.generative
        if generative.candidates.samples and (generative.form == "point" or not generative.judges):
            raise ValueError("generative.candidates needs generative.judges, and the form `pair`, to label what the model wrote")
        if self.model.shape.pretraining_steps or self.model.shape.token_noise:
            raise ValueError("model.shape.pretraining_steps and token_noise belong to fine-tuning; leave them out")
        return self
