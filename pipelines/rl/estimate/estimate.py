"""Estimate a reinforcement-learning run without starting it."""

from pathlib import Path

from her.capacity.gpus import USABLE, Gpu
from her.capacity.recipe import Recipe
from her.capacity.rollout_cost import Judging, SamplingSide, StepForecast, StepLoad, forecast_step
from her.capacity.serving_cost import BFLOAT16_BYTES
from her.capacity.shapes import Shape, count_adapter, count_parameters
from her.capacity.training_memory import Memory, estimate_memory
from her.errors import InputError
from her.tokens import estimate_tokens
from pipelines.models.hardware import estimated_gpu
from pipelines.models.model_shape import find_model_shape
from pipelines.rl.estimate.settings import RlEstimate, RlEstimateOptions
from pipelines.rl.prompts import read_prompts
from pipelines.rl.reward_options import RewardSourceOptions

REACHED = {"transformers": 0.1, "vllm_colocate": 0.55, "vllm_server": 0.55}
"""Share of the roofline that a sampler is assumed to reach."""
ROUNDS = 2
"""Rounds of the service's default design, in which each candidate is asked about first and second that often."""
ANY_LENGTH = 10**9


def estimate_run(options: RlEstimateOptions) -> RlEstimate:
    """Estimate a run.

    Raises:
        InputError: a method without sampling, an unknown base or GPU, or prompts that are neither on disk nor described.
    """
    if not options.online:
        raise InputError(
            f"method={options.method} has no estimate: its steps are those of fine-tuning on as many answers; "
            "try `her estimate` with the settings of a run of sft"
        )
    options = _with_shape(options)
    settings, rollout = options.estimate, options.rollout
    shape, gpu, recipe = find_model_shape(options.model), estimated_gpu(settings), _recipe(options)
    load, counted = _load(options)
    shared = rollout.shared_prefix and rollout.unit == "turn"  # the turns of a session have prompts of their own
    judging = _judging(options, load)
    step, expanded = _steps(options, shape, gpu, recipe, load, judging, shared=shared)
    memory, reference = _memory(options, shape, recipe, load, shared=shared), _reference(options, shape)
    sampler = rollout.gpu_share * gpu.memory if rollout.sampler == "vllm_colocate" else 0.0
    gpus = settings.gpus + (settings.sampler_gpus if rollout.sampler == "vllm_server" else 0)
    hours = step.seconds * options.steps / 3600
    batches = -(-options.steps // rollout.iterations)
    return RlEstimate(
        base=options.model.base,
        shape=shape,
        weights=count_parameters(shape),
        adapters=count_adapter(shape, options.lora.rank, options.lora.targets),
        recipe=recipe,
        gpu=gpu,
        gpus=gpus,
        mfu=settings.mfu,
        counted=counted,
        load=load,
        judging=judging,
        memory=memory,
        reference=reference,
        sampler=sampler,
        fits=memory.total + reference + sampler <= USABLE * gpu.memory and step.at_once > 0,
        shared=shared,
        step=step,
        expanded=expanded,
        steps=options.steps,
        hours=hours,
        judge_calls=judging.calls * batches,
        judge_dollars=judging.batch_dollars * batches,
        dollars=hours * gpus * gpu.dollars if gpu.dollars else None,
    )


def _steps(
    options: RlEstimateOptions, shape: Shape, gpu: Gpu, recipe: Recipe, load: StepLoad, judging: Judging, *, shared: bool
) -> list[StepForecast]:
    """Return the forecast of a step in the layout of the settings, and in TRL's own."""
    rollout = options.rollout
    # TRL asks for the old weights' log-probabilities for further iterations, and to correct for vLLM's.
    forwards = bool(options.kl) + (rollout.iterations > 1 or rollout.sampler != "transformers")
    return [
        forecast_step(
            shape,
            load,
            _sampling(options, gpu),
            judging,
            recipe,
            shared=layout,
            forwards=forwards,
            iterations=rollout.iterations,
            mfu=options.estimate.mfu,
        )
        for layout in (shared, False)
    ]


def _load(options: RlEstimateOptions) -> tuple[StepLoad, str]:
    """Return the work of a step, and how the tokens of prompts were counted."""
    prompt, counted = _prompt_tokens(options)
    turns = options.rollout.session_turns if options.rollout.unit == "session" else 1
    answers = options.rollout.answers
    groups = options.batch // answers * turns
    return StepLoad(groups=groups, answers=answers, prompt=prompt, answer=options.estimate.answer_tokens), counted


def _with_shape(options: RlEstimateOptions) -> RlEstimateOptions:
    """Return the settings with a base whose shape can be found: the one of the estimate, or the folder of the run `start`.

    Raises:
        InputError: the run `start` has no model on this machine, and the estimate names no shape.
    """
    if options.estimate.model:
        base = options.estimate.model
    elif options.start:
        base = str(RlEstimateOptions.with_base(options).model.base)
        if not (Path(base) / "config.json").is_file():
            raise InputError(
                f"run '{options.start}' has no model in '{base}'; run it, or name the shape of its base, such as "
                "estimate.model=Qwen/Qwen3-4B"
            )
    else:
        base = options.model.base
    return options.model_copy(update={"start": "", "model": options.model.model_copy(update={"base": base})})


def _prompt_tokens(options: RlEstimateOptions) -> tuple[int, str]:
    """Return the mean tokens of a prompt, and how they were counted."""
    if given := options.estimate.prompt_tokens:
        return given, "as given"
    assert options.prompts is not None, "the settings of online methods have prompts"
    try:
        found = read_prompts(options.prompts, options.seed, room=ANY_LENGTH, count=estimate_tokens)
    except (InputError, OSError) as error:
        raise InputError(f"the prompts cannot be counted ({error}); describe them: estimate.prompt_tokens=2600") from error
    total = sum(estimate_tokens(prompt.messages) for prompt in found)
    return max(1, round(total / len(found))), f"mean of {len(found):,} prompts, estimated by their letters"


def _recipe(options: RlEstimateOptions) -> Recipe:
    return Recipe(
        precision=options.model.precision,
        master=options.estimate.master and options.model.precision == "bfloat16",
        rank=options.lora.rank,
        targets=options.lora.targets,
        quantise=options.lora.quantise,
        checkpointing=options.checkpointing,
        compiled=options.rollout.shared_prefix,
        gpus=options.estimate.gpus,
    )


def _memory(options: RlEstimateOptions, shape: Shape, recipe: Recipe, load: StepLoad, *, shared: bool) -> Memory:
    """Return the memory of one backward pass over `rows` answers of the greatest length."""
    longest = options.rollout.tokens
    groups = options.rows // load.answers
    prompts = groups * load.prompt if shared else options.rows * load.prompt
    return estimate_memory(shape, recipe, prompts + options.rows * longest, options.rows * longest)


def _reference(options: RlEstimateOptions, shape: Shape) -> float:
    """Return the bytes of the frozen reference on each GPU; with adapters it is the base without them."""
    if not options.kl or options.lora.rank:
        return 0.0
    held = BFLOAT16_BYTES if options.model.precision == "bfloat16" else 4
    return count_parameters(shape).total * held / options.estimate.gpus


def _sampling(options: RlEstimateOptions, gpu: Gpu) -> SamplingSide:
    settings, sampler = options.estimate, options.rollout.sampler
    count = settings.sampler_gpus if sampler == "vllm_server" else settings.gpus
    share = options.rollout.gpu_share if sampler == "vllm_colocate" else USABLE
    return SamplingSide(
        gpu=gpu, gpus=count, memory=share * gpu.memory * count, reached=settings.sampler_share or REACHED[sampler]
    )


def _judging(options: RlEstimateOptions, load: StepLoad) -> Judging:
    """Return what the judge takes: a planted reward nothing."""
    settings, sources = options.estimate, options.reward.sources if options.reward else ()
    each = (settings.judge_calls or sum(_calls(source, load.answers) for source in sources)) if sources else 0
    return Judging(
        calls=each * (options.batch // load.answers),
        seconds=settings.judge_seconds,
        slots=settings.judge_slots,
        prompt=load.prompt + 2 * load.answer + settings.judge_principle_tokens,
        answer=settings.judge_answer_tokens,
        prompt_dollars=settings.judge_prompt_dollars,
        answer_dollars=settings.judge_answer_dollars,
    )


def _calls(source: RewardSourceOptions, answers: int) -> int:
    """Return the calls for one group by the default design of a source."""
    return answers * ROUNDS if source.kind == "pairwise" else answers
