"""Override private methods of TRL's GRPOTrainer; the only file that does, written against TRL 1.16.

    _get_per_token_logps_and_entropies   log-probabilities of a group from one row; serves the policy, old and reference weights
    _generate_and_score_completions      adds the group of each answer, flat groups are dropped, tokens get their weights
    _prepare_inputs                      a micro-batch holds whole groups, although TRL shuffles answers
    _generate_single_turn                the prompt is read once; flat groups are drawn again
    _calculate_rewards                   rewards that were already asked for while drawing again
    VLLMGeneration._iter_named_params    adapters are merged out of place, and only when the engine's precision keeps the update

The loss is TRL's. `SIGNATURES` are those that this file was written against: another one stops a run before it loads a model,
and tests/pipelines/rl/test_trl_overrides.py fails.
"""

import inspect
from typing import Any

from her.errors import HerError
from pipelines.models.activation_checkpointing import enable_light_checkpointing
from pipelines.models.checkpoints import marking_trainer
from pipelines.models.merging import base_of, merged_weights
from pipelines.models.prompt_tokens import TextPrompts
from pipelines.rl.group_rows import group_inputs, group_row, scatter, whole_groups
from pipelines.rl.redrawing import Redrawing
from pipelines.rl.sampler_sync import require_mergeable
from pipelines.rl.shared_sampling import generate_groups
from pipelines.rl.token_weights import weight_tokens

TRL = "1.16."
SIGNATURES = {
    "_get_per_token_logps_and_entropies": (
        "self, model, input_ids, attention_mask, logits_to_keep, batch_size=None, compute_entropy=False, compute_aux_loss=False, "
        "pixel_values=None, image_grid_thw=None, num_images=None, pixel_attention_mask=None, spatial_shapes=None, "
        "num_tiles=None, image_sizes=None, token_type_ids=None, mm_token_type_ids=None, image_position_ids=None"
    ),
    "_generate_and_score_completions": "self, inputs",
    "_prepare_inputs": "self, generation_batch",
    "_generate_single_turn": "self, prompt_ids, images, multimodal_fields, num_generations, has_tool_images=False",
    "_tokenize_prompts": "self, prompts",
    "_calculate_rewards": "self, inputs, prompts, completions, completion_ids_list",
}
SYNC_SIGNATURES = {"_iter_named_params": "self", "_fix_param_name_to_vllm": "self, name, extra_prefixes=None"}


def require_known_trl() -> None:
    """Refuse a TRL whose private methods differ from those that are overridden here.

    Raises:
        HerError: with the method and both signatures.
    """
    import trl
    from trl import GRPOTrainer
    from trl.generation.vllm_generation import VLLMGeneration

    methods = [(GRPOTrainer, name, known) for name, known in SIGNATURES.items()]
    methods += [(VLLMGeneration, name, known) for name, known in SYNC_SIGNATURES.items()]
    for owner, name, known in methods:
        found = signature_of(getattr(owner, name, None))
        if found != known:
            raise HerError(
                f"TRL {trl.__version__} has {owner.__name__}.{name}({found}), and pipelines/rl/trl_overrides.py was written for "
                f"({known}) of TRL {TRL}x; install that version"
            )


def signature_of(method: Any) -> str:
    """Return names and defaults of a method's arguments without types; empty for no method."""
    if method is None:
        return ""
    return ", ".join(
        one.name if one.default is one.empty else f"{one.name}={one.default!r}"
        for one in inspect.signature(method).parameters.values()
    )


class GroupMethods:
    """Methods that replace those of GRPOTrainer, so that the prompt of a group is read once.

    Attributes:
        shared: whether groups are laid out as rows; off, everything is TRL's own.
        light: whether activations are recomputed lightly; TRL turns its own checkpointing on again after each sampling.
        redrawing: what is done with flat groups; None for nothing.
        persona_weights: settings of the token weights; None for none.
    """

    shared = True
    light = False
    redrawing: Redrawing | None = None
    persona_weights: Any = None
    _buffered_inputs: Any
    # Attributes of GRPOTrainer.
    accelerator: Any
    args: Any
    model: Any
    model_wrapped: Any
    generation_config: Any
    generation_kwargs: Any
    num_generations: int
    num_generations_eval: int
    use_vllm: bool
    _dist: Any
    _step: int

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: Any,
        attention_mask: Any,
        logits_to_keep: int,
        batch_size: int | None = None,
        compute_entropy: bool = False,
        compute_aux_loss: bool = False,
        **images: Any,
    ) -> Any:
        import torch

        if not self.shared or compute_aux_loss or any(value is not None for value in images.values()):
            words = (model, input_ids, attention_mask, logits_to_keep, batch_size, compute_entropy, compute_aux_loss)
            return super()._get_per_token_logps_and_entropies(*words, **images)  # type: ignore[misc]
        size = batch_size or len(input_ids)
        parts = [
            self._group_logps(model, ids, mask, logits_to_keep)
            for ids, mask in zip(input_ids.split(size), attention_mask.split(size), strict=True)
        ]
        logps, entropies = (torch.cat(column) for column in zip(*parts, strict=True))
        return logps, entropies if compute_entropy else None, None

    def _group_logps(self, model: Any, ids: Any, mask: Any, tokens: int) -> tuple[Any, Any]:
        """Return log-probabilities and entropies (answers, tokens) of one micro-batch; 0 where the mask is 0."""
        row = group_row(ids, mask, tokens)
        if row is None:
            return (connected_zeros(model, (len(ids), tokens)),) * 2
        with self.accelerator.autocast():
            outputs = model(**group_inputs(row, ids.device))
        # The reference model's head computes no entropy, and none is asked of it.
        both = (outputs.log_probs, outputs.log_probs if outputs.entropy is None else outputs.entropy)
        logps, entropies = (scatter(values, row.places, len(ids), tokens) for values in both)
        return logps, entropies

    def _prepare_inputs(self, generation_batch: Any) -> Any:
        before = self._buffered_inputs
        inputs = super()._prepare_inputs(generation_batch)  # type: ignore[misc]
        if self._buffered_inputs is before or self._buffered_inputs is None:
            return inputs
        self._buffered_inputs = whole_groups(self._buffered_inputs)
        return self._buffered_inputs[self._step % self.args.steps_per_generation]

    def _generate_and_score_completions(self, inputs: Any) -> Any:
        import torch

        size = self.num_generations if self.model.training else self.num_generations_eval
        if self.redrawing is not None:
            inputs = self.redrawing.prepared(self, inputs, size)
        output = super()._generate_and_score_completions(inputs)  # type: ignore[misc]
        if self.light:
            enable_light_checkpointing(base_of(self.accelerator.unwrap_model(self.model)))
        answers = len(output["advantages"])
        output["group"] = torch.arange(answers, device=output["advantages"].device) // size
        if self.redrawing is not None:
            self.redrawing.drop_flat(self, output)
        if self.persona_weights is not None:
            weight_tokens(self, inputs, output, self.persona_weights)
        return output

    def _generate_single_turn(
        self, prompt_ids: Any, images: Any, multimodal_fields: Any, num_generations: int, has_tool_images: bool = False
    ) -> Any:
        def sample(prompts: Any) -> tuple[Any, Any]:
            return self.draw(prompts, num_generations, images, multimodal_fields, has_tool_images)

        if self.redrawing is None:
            return sample(prompt_ids)
        return self.redrawing.sample(self, prompt_ids, sample)

    def draw(
        self, prompts: Any, size: int, images: Any = None, multimodal_fields: Any = None, has_tool_images: bool = False
    ) -> tuple[Any, Any]:
        """Return answers for prompts and their log-probabilities (None without vLLM); `size` equal prompts are neighbours."""
        sharded = self._dist.is_fsdp or self._dist.is_zero3
        if self.use_vllm or images or multimodal_fields or not self.shared or sharded:
            words = (prompts, images, multimodal_fields, size, has_tool_images)
            return super()._generate_single_turn(*words)  # type: ignore[misc, no-any-return]
        return self._sample_once_read(prompts, size), None

    def _sample_once_read(self, prompts: Any, size: int) -> list[list[int]]:
        import torch
        from trl.models.utils import unwrap_model_for_generation

        settings = {"generation_kwargs": self.generation_kwargs}
        with unwrap_model_for_generation(self.model_wrapped, self.accelerator, **settings) as model, torch.no_grad():
            return generate_groups(model, prompts, size, self.generation_config)

    def _calculate_rewards(self, inputs: Any, prompts: Any, completions: Any, completion_ids_list: Any) -> Any:
        import torch

        known = None if self.redrawing is None else self.redrawing.rewards
        if known is None:
            return super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)  # type: ignore[misc]
        numbers = [float("nan") if reward is None else reward for reward in known]
        column = torch.tensor(numbers, dtype=torch.float32, device=self.accelerator.device)[:, None]
        return self.accelerator.gather(column)


def sync_out_of_place(trainer: Any) -> None:
    """Make the synchronisation with vLLM read merged weights without writing the base.

    TRL merges the adapter in place and subtracts it again, which changes a bfloat16 base a little each time. An update that the
    engine's bfloat16 would lose stops the run.
    """
    import torch

    generation, model = trainer.vllm_generation, trainer.accelerator.unwrap_model(trainer.model)

    def named_weights() -> Any:
        require_mergeable(model, torch.bfloat16)
        for name, weight in merged_weights(model):
            yield generation._fix_param_name_to_vllm(name), weight

    generation._iter_named_params = named_weights


def connected_zeros(model: Any, shape: tuple[int, int]) -> Any:
    """Return zeros from which `backward` reaches every trained weight, as distributed training needs."""
    import torch

    zero = sum(weight.flatten()[0] * 0.0 for weight in model.parameters() if weight.requires_grad)
    return torch.zeros(shape, device=next(model.parameters()).device) + zero


def group_trainer(keep: int) -> type[Any]:
    """Return the trainer's class; it keeps the last `keep` checkpoints. A function, because trl is imported late."""
    from trl import GRPOTrainer

    return marking_trainer(type("GroupTrainer", (GroupMethods, TextPrompts, GRPOTrainer), {}), keep)
