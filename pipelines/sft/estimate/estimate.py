"""Estimate memory, tokens per second, hours and cost of a fine-tuning run, in both layouts, without starting it."""

from her.capacity import shapes
from her.capacity.recipe import Recipe
from her.capacity.serving_cost import estimate_serving
from her.capacity.training_cost import forecast_training
from her.capacity.work import sum_load
from pipelines.models.hardware import estimated_gpu
from pipelines.models.model_shape import find_model_shape
from pipelines.sft.estimate.samples import count_trees, describe_trees
from pipelines.sft.estimate.settings import EstimateOptions, RunEstimate
from pipelines.sft.rows.rows import row_tokens


def estimate_run(options: EstimateOptions) -> RunEstimate:
    """Estimate a run.

    Raises:
        InputError: an unknown base or GPU, or samples that are neither on disk nor described.
    """
    settings = options.estimate
    shape, gpu = find_model_shape(options.model), estimated_gpu(settings)
    recipe = _recipe(options)
    counted = describe_trees(options) if settings.targets else count_trees(options)
    load = sum_load(counted.trees, counted.copies)
    steps, forecasts = {}, {}
    for layout, work in (("plain", load.plain), ("shared_prefix", load.shared)):
        single = layout == "plain" and not options.packing  # one target a row
        steps[layout] = options.batch if single else _step_targets(options, load.targets, work.tokens)
        # `steps` wins over `epochs`, as in the trainer.
        epochs = options.steps * steps[layout] / load.targets if options.steps else options.epochs
        forecasts[layout] = forecast_training(
            shape,
            gpu,
            # On a GPU the attention of shared prefixes is compiled, which changes what light checkpointing keeps.
            recipe.model_copy(update={"compiled": layout == "shared_prefix"}),
            work.times(epochs),
            targets=round(load.targets * epochs),
            at_once=options.rows * (load.longest if single else row_tokens(options)),
            mfu=settings.mfu,
        )
    return RunEstimate(
        base=options.model.base or "random weights",
        shape=shape,
        weights=shapes.count_parameters(shape),
        adapters=shapes.count_adapter(shape, options.lora.rank, options.lora.targets),
        recipe=recipe,
        gpu=gpu,
        mfu=settings.mfu,
        counted=counted.method,
        load=load,
        step=steps,
        serving=estimate_serving(shape, gpu, settings.context),
        **forecasts,
    )


def _recipe(options: EstimateOptions) -> Recipe:
    return Recipe(
        precision=options.model.precision,
        master=options.estimate.master and options.model.precision == "bfloat16",
        rank=options.lora.rank,
        targets=options.lora.targets,
        quantise=options.lora.quantise,
        checkpointing=options.checkpointing,
        gpus=options.estimate.gpus,
    )


def _step_targets(options: EstimateOptions, targets: int, tokens: int) -> float:
    """Return the target turns of one step when a row holds several: whole rows, at least one on every GPU."""
    in_row = targets / max(tokens / row_tokens(options), 1)
    at_once = in_row * options.rows * options.estimate.gpus
    return at_once * max(round(options.batch / at_once), 1)
