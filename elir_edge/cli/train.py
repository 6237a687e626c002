"""`elir-edge train`: checkpoints for the tasks, and every ablation of the paper as a flag."""

import dataclasses
import math
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from elir_edge.errors import ElirError, UsageError
from elir_edge.tasks import AUTOENCODER, TASKS, get_task

if TYPE_CHECKING:
    from elir_edge.train.config import TrainConfig

EPILOG = "Example: elir-edge train denoising --data photos --validation photos-val --minutes 30"
_ABLATIONS = "Ablations (paper, sections 5.3 and 7.5)"


def train(
    task: Annotated[str, typer.Argument(help=f"One of {', '.join(TASKS)}, or autoencoder.")],
    data: Annotated[
        list[Path],
        typer.Option(help="Folder of photos to train on, of any sizes; may be repeated."),
    ],
    out: Annotated[
        Path | None, typer.Option(help="State, log, checkpoint; default: runs/TASK.")
    ] = None,
    preset: Annotated[
        str, typer.Option(help="A complete configuration: nano, sensor, paper (Table 6).")
    ] = "nano",
    validation: Annotated[Path | None, typer.Option(help="Photos for scores.")] = None,
    autoencoder: Annotated[
        Path | None, typer.Option(help="Autoencoder checkpoint; default: the shipped one.")
    ] = None,
    teacher: Annotated[
        Path | None,
        typer.Option(
            help="Frozen autoencoder: its latents are a task's target; an autoencoder is distilled "
            "from it (TAESD3's file is read as it is)."
        ),
    ] = None,
    teacher_crops: Annotated[
        int | None,
        typer.Option(min=0, help="Crops whose teacher's latents are kept; 0: made in every step."),
    ] = None,
    teacher_cache: Annotated[
        Path | None,
        typer.Option(help="Folder of the teacher's kept work; default: in the user's cache."),
    ] = None,
    lpips: Annotated[
        float | None, typer.Option(min=0, help="Weight of LPIPS-squeeze of images; 0: none.")
    ] = None,
    grid: Annotated[
        float | None, typer.Option(min=0, help="Weight of a distilled decoder's grid error.")
    ] = None,
    metric_weights: Annotated[
        Path | None, typer.Option(help="Folder with LPIPS-squeeze's weights.")
    ] = None,
    init: Annotated[
        Path | None,
        typer.Option(help="Checkpoint to go on from, of any task, with new schedules."),
    ] = None,
    new_flow: Annotated[
        bool, typer.Option("--new-flow", help="Of --init, keep encoder and coarse estimator only.")
    ] = False,
    steps: Annotated[int | None, typer.Option(min=1, help="Instead of the preset's.")] = None,
    coarse_steps: Annotated[
        int | None,
        typer.Option(min=0, help="First steps that are for encoder and coarse estimator alone."),
    ] = None,
    refine_steps: Annotated[
        int | None,
        typer.Option(
            min=0, help="Last of the coarse steps: they minimise the coarse image's error, not L_2."
        ),
    ] = None,
    unrolled_steps: Annotated[
        int | None,
        typer.Option(min=0, help="Last of all: they minimise the restored image's error."),
    ] = None,
    end_to_end: Annotated[
        bool | None,
        typer.Option("--end-to-end/--flow-alone", help="What learns in the unrolled steps."),
    ] = None,
    psnr_loss: Annotated[
        bool | None,
        typer.Option(
            "--psnr-loss/--mse-loss", help="In the unrolled steps, each photo's error counts alike."
        ),
    ] = None,
    decoder_steps: Annotated[
        int | None,
        typer.Option(
            min=0, help="First steps of a distillation: the decoder's; then the encoder's."
        ),
    ] = None,
    epochs: Annotated[
        float | None, typer.Option(help="Instead of --steps: passes over all photos.")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Of all processes together; default: the preset's.")
    ] = None,
    crop_size: Annotated[int | None, typer.Option(help="Instead of the preset's.")] = None,
    min_scale: Annotated[
        float | None,
        typer.Option(min=0.05, max=1, help="Photos are reduced by up to this before a crop."),
    ] = None,
    degradation: Annotated[
        str | None, typer.Option(help="By its name; default: the preset's, or the task's own.")
    ] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Instead of the preset's.")] = None,
    precision: Annotated[
        Literal["bf16", "fp32"] | None, typer.Option(help="Instead of the preset's.")
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, max=(1 << 31) - 1, help="Of weights, crops, noise, times.")
    ] = 0,
    device: Annotated[str, typer.Option(help="A torch device.")] = "cpu",
    workers: Annotated[int, typer.Option(min=0, help="Processes that make batches.")] = 0,
    minutes: Annotated[float | None, typer.Option(help="Stop after so long, to resume.")] = None,
    save_every: Annotated[
        int, typer.Option(min=1, help="Steps between states with scores and pictures.")
    ] = 1000,
    save_minutes: Annotated[
        float, typer.Option(min=0.01, help="The state is also written after so long.")
    ] = 5.0,
    log_every: Annotated[int, typer.Option(min=1, help="Steps between log lines.")] = 50,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the state in OUT.")] = False,
    space: Annotated[
        Literal["latent", "pixel"] | None, typer.Option(help="Table 5.", rich_help_panel=_ABLATIONS)
    ] = None,
    objective: Annotated[
        Literal["lcfm", "fm", "none"] | None,
        typer.Option(help="LCFM, flow matching (Table 5), none (7).", rich_help_panel=_ABLATIONS),
    ] = None,
    loss: Annotated[
        Literal["paper", "published"] | None,
        typer.Option(
            help="LCFM as in the paper's text, or as in the published code (see docs).",
            rich_help_panel=_ABLATIONS,
        ),
    ] = None,
    expansion: Annotated[
        int | None,
        typer.Option(
            help="0: train the collapsed form; 4: over-parametrised convolutions.",
            rich_help_panel=_ABLATIONS,
        ),
    ] = None,
    num_steps: Annotated[
        int | None,
        typer.Option("-K", "--num-steps", help="Table 10.", rich_help_panel=_ABLATIONS),
    ] = None,
    dt: Annotated[float | None, typer.Option(help="Table 11.", rich_help_panel=_ABLATIONS)] = None,
    alpha: Annotated[float | None, typer.Option(help="Eq. 3.", rich_help_panel=_ABLATIONS)] = None,
    beta: Annotated[float | None, typer.Option(help="Table 3.", rich_help_panel=_ABLATIONS)] = None,
    sigma_s: Annotated[
        float | None, typer.Option(help="Table 4.", rich_help_panel=_ABLATIONS)
    ] = None,
    no_coarse: Annotated[
        bool, typer.Option("--no-coarse", help="Table 7.", rich_help_panel=_ABLATIONS)
    ] = False,
    fixed_encoder: Annotated[
        bool, typer.Option("--fixed-encoder", help="Table 8.", rich_help_panel=_ABLATIONS)
    ] = False,
    fixed_coarse: Annotated[
        bool, typer.Option("--fixed-coarse", help="With --init.", rich_help_panel=_ABLATIONS)
    ] = False,
    model_size: Annotated[
        int | None,
        typer.Option(
            help="Millions of parameters of `paper`: 13, 19, 27, 37 (Table 9).",
            rich_help_panel=_ABLATIONS,
        ),
    ] = None,
    velocity_width: Annotated[
        int | None,
        typer.Option(min=1, help="Base width of the vector field.", rich_help_panel=_ABLATIONS),
    ] = None,
) -> None:
    """Train a checkpoint for a task, or the autoencoder that all tasks share.

    Several GPUs or machines: accelerate launch --num_processes 4 -m elir_edge train ...
    """
    try:
        from elir_edge.data.datasets import list_images
        from elir_edge.data.degradations import degradation_name
        from elir_edge.train.loop import RunOptions
        from elir_edge.train.presets import adapt, get_preset
        from elir_edge.train.run import RunInputs, Start, run_training
    except ModuleNotFoundError as error:
        raise ElirError(
            f"training needs {error.name}, which is not installed",
            fix="install the `train` extra; in a checkout, `make train` does",
        ) from error
    if init is not None and expansion:
        raise UsageError(
            "--init goes on in the collapsed form, which a checkpoint holds",
            fix="leave out --expansion",
        )
    if task not in (*TASKS, AUTOENCODER):
        get_task(task)
    if degradation is not None and task == AUTOENCODER:
        raise UsageError("--degradation is for the tasks: an autoencoder learns clean photos")
    if epochs is not None and not 0 < epochs < math.inf:
        raise UsageError(f"--epochs {epochs:g} is no number of passes", expected="more than 0")
    if init is None and (new_flow or fixed_coarse):
        raise UsageError(
            "--new-flow and --fixed-coarse are about a checkpoint", fix="pass it by --init"
        )
    config = adapt(
        get_preset(preset, task),
        space=space,
        objective=objective,
        num_steps=num_steps,
        sigma_s=sigma_s,
        coarse=False if no_coarse else None,
        model_size=model_size,
        velocity_width=velocity_width,
        expansion=expansion,
    )
    changes: Mapping[str, Any] = {
        "batch_size": batch_size,
        "crop_size": crop_size,
        "min_scale": min_scale,
        "degradation": None if degradation is None else degradation_name(task, degradation),
        "lpips": lpips,
        "grid": grid,
        "teacher_crops": (0 if teacher is None else None)
        if teacher_crops is None
        else teacher_crops,
        "loss": loss,
        "learning_rate": learning_rate,
        "precision": precision,
        "seed": seed,
        "dt": dt,
        "alpha": alpha,
        "beta": beta,
        "end_to_end": end_to_end,
        "psnr_loss": psnr_loss,
        "trainable_encoder": False if fixed_encoder else None,
        "trainable_coarse": False if fixed_coarse else None,
        # A checkpoint holds the collapsed form.
        "model": config.model.collapsed() if init else None,
    }
    config = _replaced(config, changes)
    if epochs is not None:
        num_photos = sum(len(list_images(folder)) for folder in data)
        steps = max(1, math.ceil(epochs * num_photos / config.batch_size))
    config = _with_phases(config, steps, coarse_steps, decoder_steps)
    config = _replaced(config, {"refine_steps": refine_steps, "unrolled_steps": unrolled_steps})
    options = RunOptions(
        out=out or Path("runs") / task,
        resume=resume,
        minutes=minutes,
        save_every=save_every,
        save_minutes=save_minutes,
        log_every=log_every,
        num_workers=workers,
    )
    inputs = RunInputs(
        photos=data,
        validation=validation,
        autoencoder=autoencoder,
        teacher=teacher,
        teacher_cache=teacher_cache,
        metric_weights=metric_weights,
        start=Start(path=init, new_flow=new_flow) if init else None,
    )
    done = run_training(config, inputs, options, device=device)
    if done.finished:
        print(f"checkpoint {done.path}")
    else:
        print(
            f"stopped after step {done.step} of {config.steps}; checkpoint {done.path}; go on with "
            "the same command and --resume (make: RESUME=1)"
        )
    if task in TASKS and config.model.space == "latent" and config.model.num_steps:
        path = shlex.quote(str(done.path))
        print(f"export it:  make export TASK={task} TARGET=onnx CHECKPOINT={path}")
    if done.signal is not None:
        raise typer.Exit(128 + done.signal)


def _with_phases(
    config: "TrainConfig", steps: int | None, coarse_steps: int | None, decoder_steps: int | None
) -> "TrainConfig":
    """Change the length of a run and of its first phase; the other phases keep their shares."""
    steps = config.steps if steps is None else steps
    if coarse_steps is None:
        coarse_steps = config.coarse_steps * steps // config.steps
    if decoder_steps is None:
        decoder_steps = config.decoder_steps * steps // config.steps
    flow_steps = config.steps - config.coarse_steps
    refine_steps = config.refine_steps * coarse_steps // max(1, config.coarse_steps)
    unrolled_steps = config.unrolled_steps * (steps - coarse_steps) // max(1, flow_steps)
    return dataclasses.replace(
        config,
        steps=steps,
        warmup_steps=min(config.warmup_steps, steps),
        coarse_steps=coarse_steps,
        decoder_steps=decoder_steps,
        refine_steps=refine_steps,
        unrolled_steps=max(0, unrolled_steps) if coarse_steps else 0,
    )


def _replaced(config: "TrainConfig", changes: Mapping[str, Any]) -> "TrainConfig":
    return dataclasses.replace(config, **{k: v for k, v in changes.items() if v is not None})
