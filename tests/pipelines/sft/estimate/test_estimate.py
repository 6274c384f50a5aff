"""`her estimate`, pipelines/sft/estimate: over samples that are at hand and samples that are described."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from her import config
from her.capacity.shapes import SHAPES, count_parameters
from her.capacity.work import shared_work
from her.cli import app
from her.errors import InputError
from her.files import jsonl
from her.tokens import estimate_tokens
from her.types import Message, Sample
from pipelines.models.prefix_tree import Encoded, build_row, grow_trees
from pipelines.sft.estimate.estimate import estimate_run
from pipelines.sft.estimate.samples import tree_lengths
from pipelines.sft.estimate.settings import EstimateOptions, RunEstimate
from pipelines.sft.estimate.table import to_json, to_table
from tests.tiny import make_tiny

BASE = "model.base=Qwen/Qwen3-4B"
ABSENT = 'samples.files=["absent.jsonl"]'
MEANS = ("estimate.targets=1000", "estimate.prompt_tokens=2000", "estimate.target_tokens=500")


def planned(*words: str) -> RunEstimate:
    return estimate_run(config.load(EstimateOptions, words)[0])


def chat(transcript: str, turns: int) -> list[Sample]:
    """The samples of one character of a chat: the history grows, plans are in the targets alone."""
    history = [Message(role="system", content="You are Ann, a baker in the old mill. " * 9)]
    samples = []
    for turn in range(turns):
        history.append(Message(role="user", content=f"Tom: This is line {turn}, and it is a long one. " * 3))
        said = f"Ann: Good evening, says line {turn} of {transcript}."
        target = Message(role="assistant", content=f"<system_thinking>I play her calmly.</system_thinking>{said}")
        where = {"transcript": transcript, "turn": f"{transcript}{turn}", "speaker": "Ann"}
        samples.append(Sample(messages=(*history, target), trained=(len(history),), **where))
        history.append(Message(role="assistant", content=said))
    return samples


def written(folder: Path, samples: Sequence[Sample]) -> str:
    jsonl.write(folder / "samples.jsonl", samples)
    return f'samples.files=["{folder / "samples.jsonl"}"]'


# -- the samples ---------------------------------------------------------------------------------------------------------------


def test_described_samples_have_the_means_that_were_given() -> None:
    made = planned(BASE, ABSENT, *MEANS, "estimate.turns=4", "estimate.between=200", "epochs=3")
    assert made.load.targets == 1000
    assert made.plain.target_reads == made.shared_prefix.target_reads == 3000
    assert made.load.plain.tokens == 1000 * 2500
    assert made.load.plain.trained == made.load.shared.trained == 1000 * 500
    assert made.load.shared.tokens == 250 * (2299 + 4 * 501)  # every branch begins with the last token of its prompt
    assert made.load.longest == 2300 + 500
    assert "as described" in made.counted


def test_described_samples_are_split_where_they_fit_no_row() -> None:
    made = planned(BASE, ABSENT, *MEANS, "estimate.turns=10", "samples.most_tokens=4096")
    assert made.load.trees > 100
    assert made.load.shared.tokens < made.load.plain.tokens


def test_samples_are_counted_by_their_letters_without_the_tokenizer(tmp_path: Path) -> None:
    samples = [*chat("a", 5), *chat("b", 1)]
    made = planned("model.base=Qwen/Qwen3-14B", written(tmp_path, samples), "samples.held_out_share=0")
    assert "estimated" in made.counted
    assert made.load.plain.tokens == sum(estimate_tokens(sample.messages) for sample in samples)
    assert made.load.trees == 2
    assert made.load.shared.tokens < 0.5 * made.load.plain.tokens


@pytest.mark.whole
def test_samples_are_counted_with_a_folders_own_tokenizer_and_trained_as_counted(tmp_path: Path) -> None:
    from pipelines.models.chat_template import ChatTemplate

    folder = make_tiny(tmp_path / "model", context=4096)
    samples = chat("a", 4)
    made = planned(f"model.base={folder}", "model.template=own", written(tmp_path, samples), "samples.held_out_share=0")
    pairs = ChatTemplate(str(folder)).pairs(samples)
    laid = [build_row([tree]) for tree in grow_trees([Encoded("a", *pair) for pair in pairs], 8192)]
    assert made.counted == "counted with the model's own tokenizer"
    assert made.load.plain.tokens == sum(len(prompt) + len(target) for prompt, target in pairs)
    assert made.load.shared.tokens == sum(len(each.input_ids) for each in laid)
    assert made.load.shared.trained == sum(label >= 0 for each in laid for label in each.labels)


@pytest.mark.whole
def test_a_model_from_nothing_has_the_shape_of_the_settings(tmp_path: Path) -> None:
    made = planned(written(tmp_path, chat("a", 4)), "model.shape.layers=3", "model.shape.vocabulary=1000")
    assert (made.shape.layers, made.shape.vocabulary, made.base) == (3, 1000, "random weights")
    assert made.counted == "counted with the model's own tokenizer"


def test_samples_that_are_too_long_are_left_out_and_said(tmp_path: Path) -> None:
    words = (BASE, written(tmp_path, chat("a", 6)), "samples.held_out_share=0")
    sizes = [estimate_tokens(sample.messages) for sample in chat("a", 6)]
    made = planned(*words, f"samples.most_tokens={sizes[2]}")
    assert made.load.targets == 3
    assert "3 of 6 samples left out" in made.counted
    with pytest.raises(InputError, match="every sample is longer than samples.most_tokens=64"):
        planned(*words, "samples.most_tokens=64")


@given(st.lists(st.tuples(st.integers(2, 40), st.integers(1, 9)), min_size=1, max_size=6), st.integers(60, 200))
def test_pairs_are_those_of_the_rows_that_are_trained(sizes: list[tuple[int, int]], most: int) -> None:
    """Counted one by one in the spans that the attention is given."""
    samples = [Encoded("a", np.arange(prompt, dtype=np.int32), np.full(target, 99, dtype=np.int32)) for prompt, target in sizes]
    grown = list(grow_trees(samples, most))
    pairs = 0
    for span in (span for tree in grown for span in build_row([tree]).spans):
        pairs += sum(span.last - span.first + place + 1 for place in range(span.stop - span.start))
    work = shared_work(tree_lengths(tree) for tree in grown)
    assert work.pairs == pairs
    assert work.tokens == sum(tree.tokens for tree in grown)
    assert work.trained == sum(target for _, target in sizes)


# -- the answer ----------------------------------------------------------------------------------------------------------------


def test_both_layouts_train_the_same_targets_and_sharing_is_faster() -> None:
    made = planned(BASE, ABSENT, *MEANS, "estimate.turns=10", "estimate.dollars=3.5", "estimate.gpus=8", "model.precision=mixed")
    assert made.plain.fits and made.shared_prefix.fits
    assert made.shared_prefix.hours < 0.5 * made.plain.hours
    assert made.shared_prefix.dollars == pytest.approx(made.shared_prefix.hours * 8 * 3.5)
    assert made.shared_prefix.ceiling < made.plain.ceiling  # fewer tokens, each with more attention and more of the head


def test_steps_end_a_run_before_its_epochs() -> None:
    made = planned(BASE, ABSENT, *MEANS, "steps=10", "batch=32", "epochs=4")
    assert made.plain.target_reads == 320
    assert made.plain.work.tokens == 320 * 2500


def test_a_step_is_whole_rows_on_every_device() -> None:
    """10 targets of 500 tokens in a trunk of some 2,000: a row of 8,192 holds several, and eight devices read one each."""
    made = planned(BASE, ABSENT, *MEANS, "estimate.turns=10", "estimate.gpus=8", "batch=32", "steps=10")
    in_row = made.load.targets / (made.load.shared.tokens / 8192)
    assert made.step == {"plain": 32, "shared_prefix": pytest.approx(8 * in_row)}
    assert made.step["shared_prefix"] > 1.25 * 32
    assert made.shared_prefix.target_reads == round(10 * made.step["shared_prefix"])


def test_four_bits_lie_whole_on_every_card() -> None:
    small, whole = "estimate.gpu=L4", ("model.base=Qwen/Qwen3-32B", "lora.rank=16", "lora.quantise=nf4")
    made = planned(*whole, ABSENT, *MEANS, small, "estimate.gpus=8", "rows=4")
    assert made.plain.memory.weights == planned(*whole, ABSENT, *MEANS, small, "rows=4").plain.memory.weights
    assert (made.plain.fits, made.plain.gpus_needed) == (False, None)


def test_tokens_at_once_are_those_of_the_layout() -> None:
    alone = planned(BASE, ABSENT, *MEANS)
    packed = planned(BASE, ABSENT, *MEANS, "packing=true", "rows=2")
    assert (alone.plain.tokens_at_once, alone.shared_prefix.tokens_at_once) == (alone.load.longest, 8192)
    assert packed.plain.tokens_at_once == 2 * 8192


def test_the_table_says_what_the_json_says() -> None:
    made = planned(BASE, ABSENT, *MEANS, "estimate.dollars=2", "lora.rank=16")
    told: dict[str, Any] = json.loads(to_json(made))
    shown = to_table(made)
    assert told["weights"]["total"] == count_parameters(SHAPES["Qwen3-4B"]).total
    assert told["plain"]["memory"]["total"] == pytest.approx(made.plain.memory.total)
    assert told["adapters"] == made.adapters > 0
    rows = {line[:20].strip(): line[20:].split() for line in shown.splitlines()}
    assert rows["hours"] == [f"{made.plain.hours:,.2f}", f"{made.shared_prefix.hours:,.2f}"]
    assert rows["fits"] == ["yes", "yes"]
    assert len(rows["dollars"]) == 2
    assert "adapters of rank 16" in shown
    assert "Served on one H200" in shown


def test_float32_is_said_to_be_slower_than_the_card() -> None:
    assert "Take model.precision=mixed" in to_table(planned(BASE, ABSENT, *MEANS))
    assert "model.precision=mixed" not in to_table(planned(BASE, ABSENT, *MEANS, "model.precision=mixed"))


def test_without_a_price_nothing_is_said_of_money() -> None:
    assert "dollars" not in to_table(planned(BASE, ABSENT, *MEANS))


def test_what_does_not_fit_says_how_many_cards_would_hold_it() -> None:
    shown = to_table(planned("model.base=Qwen/Qwen3-32B", ABSENT, *MEANS, "model.precision=mixed"))
    assert "plain needs 5 GPUs that share the weights" in shown
    small = to_table(planned("model.base=Qwen/Qwen3-32B", ABSENT, *MEANS, "estimate.gpu=L4", "row_tokens=200000"))
    assert "shared prefix fits on no number of GPUs" in small
    assert "no memory for a chat" in small


def test_any_card_can_be_described() -> None:
    made = planned(BASE, ABSENT, *MEANS, "estimate.gpu=H20", "estimate.memory=96", "estimate.tflops=148", "estimate.bandwidth=4")
    assert (made.gpu.name, made.gpu.memory, made.gpu.flops, made.gpu.bandwidth) == ("H20", 96e9, 148e12, 4e12)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((BASE, ABSENT), r"absent.jsonl' does not exist; make it .*, copy it, or describe the samples: estimate.targets="),
        (("model.base=Qwen/Qwen9-1B", ABSENT, *MEANS), r"not known by name; known are Qwen/Qwen3-0.6B, .*Qwen/Qwen3-32B"),
        (("model.base=no such thing", ABSENT, *MEANS), "not known by name"),
        ((BASE, ABSENT, *MEANS, "estimate.gpu=V100"), r"estimate.gpu: there is no GPU 'V100'; there are .*give estimate.memory"),
        ((BASE, ABSENT, "estimate.targets=9"), "estimate.targets needs estimate.prompt_tokens and estimate.target_tokens"),
        ((BASE, ABSENT, *MEANS, "estimate.turns=99"), "estimate.prompt_tokens=2000 is too short for estimate.turns=99"),
        ((BASE, ABSENT, "estimate.gpux=8"), r"estimate.gpux"),
    ],
)
def test_what_cannot_be_planned_is_one_sentence(words: Sequence[str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        planned(*words)


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "has no readable config.json"), ("{", "is not JSON"), ('{"model_type": "gpt2"}', "model_type 'gpt2'")],
)
def test_a_folder_that_holds_no_model_is_named(tmp_path: Path, content: str | None, said: str) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(InputError, match=said):
        planned(f"model.base={tmp_path}", ABSENT, *MEANS)


def test_the_command_line(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text('[model]\nbase = "Qwen/Qwen3-4B"\n[samples]\nfiles = ["absent.jsonl"]\n')

    def her(*words: str) -> tuple[int, str]:
        said = CliRunner().invoke(app, ["estimate", *words])
        return said.exit_code, said.stdout

    assert her(str(file), *MEANS)[1] == her(f"@{file}", *MEANS)[1] != ""
    assert json.loads(her(str(file), *MEANS, "--json")[1])["base"] == "Qwen/Qwen3-4B"
    assert her(str(file), "--dry-run")[1].count("[estimate]") == 1
    assert her(str(file)) == (2, "")
