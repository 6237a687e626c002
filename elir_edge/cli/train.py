"""`elir-edge train`: train a checkpoint; every ablation of the paper is an option."""

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
        Path | None, typer.Option(help="Folder of state, log, checkpoint; default: runs/TASK.")
    ] = None,
    preset: Annotated[
        str, typer.Option(help="A complete configuration: nano, sensor, paper (Table 6).")
    ] = "nano",
    validation: Annotated[Path | None, typer.Option(help="Folder of photos for scores.")] = None,
    autoencoder: Annotated[
        Path | None, typer.Option(help="Autoencoder checkpoint; default: the shipped one.")
    ] = None,
    teacher: Annotated[
        Path | None,
        typer.Option(
            help="Frozen autoencoder whose latents are a task's target, or from which an "
            "autoencoder is distilled (TAESD3's file can be used directly)."
        ),
    ] = None,
    teacher_crops: Annotated[
        int | None,
        typer.Option(min=0, help="Crops whose teacher's latents are stored; 0: compute each step."),
    ] = None,
    teacher_cache: Annotated[
        Path | None,
        typer.Option(help="Folder of the teacher's stored outputs; default: in the user's cache."),
    ] = None,
    lpips: Annotated[
        float | None, typer.Option(min=0, help="Weight of the images' LPIPS-squeeze; 0: none.")
    ] = None,
    grid: Annotated[
        float | None, typer.Option(min=0, help="Weight of the images' grid error; 0: none.")
    ] = None,
    metric_weights: Annotated[
        Path | None, typer.Option(help="Folder with LPIPS-squeeze's weights.")
    ] = None,
    init: Annotated[
        Path | None,
        typer.Option(help="Checkpoint of any task to start from, with new schedules."),
    ] = None,
    new_flow: Annotated[
        bool,
        typer.Option("--new-flow", help="Keep only encoder and coarse estimator of --init."),
    ] = False,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Optimizer steps; default: the preset's.")
    ] = None,
    coarse_steps: Annotated[
        int | None,
        typer.Option(min=0, help="First steps, which train only encoder and coarse estimator."),
    ] = None,
    refine_steps: Annotated[
        int | None,
        typer.Option(
            min=0, help="Last coarse steps, which minimise the coarse image's error, not L_2."
        ),
    ] = None,
    unrolled_steps: Annotated[
        int | None,
        typer.Option(min=0, help="Last steps of all, which minimise the restored image's error."),
    ] = None,
    end_to_end: Annotated[
        bool | None,
        typer.Option(
            "--end-to-end/--flow-alone", help="Train all parts in the unrolled steps, or the flow."
        ),
    ] = None,
    psnr_loss: Annotated[
        bool | None,
        typer.Option(
            "--psnr-loss/--mse-loss", help="Minimise -PSNR in the unrolled steps, or the MSE."
        ),
    ] = None,
    decoder_steps: Annotated[
        int | None,
        typer.Option(
            min=0, help="First steps of a distillation, for the decoder; the encoder follows."
        ),
    ] = None,
    epochs: Annotated[
        float | None, typer.Option(help="Passes over all photos, instead of --steps.")
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(min=1, help="Crops per step in all processes; default: the preset's."),
    ] = None,
    crop_size: Annotated[
        int | None, typer.Option(help="Side of the crops, pixels; default: the preset's.")
    ] = None,
    min_scale: Annotated[
        float | None,
        typer.Option(min=0.05, max=1, help="Smallest factor that scales a photo before a crop."),
    ] = None,
    degradation: Annotated[
        str | None, typer.Option(help="Its name; default: the preset's, or the task's first.")
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="Peak learning rate; default: the preset's.")
    ] = None,
    precision: Annotated[
        Literal["bf16", "fp32"] | None, typer.Option(help="Default: the preset's.")
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, max=(1 << 31) - 1, help="Seed of weights, crops, noise, times.")
    ] = 0,
    device: Annotated[str, typer.Option(help="Torch device.")] = "cpu",
    workers: Annotated[int, typer.Option(min=0, help="Processes that make batches.")] = 0,
    minutes: Annotated[
        float | None, typer.Option(help="Stop after this time; --resume continues.")
    ] = None,
    save_every: Annotated[
        int, typer.Option(min=1, help="Steps between states with scores and pictures.")
    ] = 1000,
    save_minutes: Annotated[
        float, typer.Option(min=0.01, help="Longest time between states, in minutes.")
    ] = 5.0,
    log_every: Annotated[int, typer.Option(min=1, help="Steps between log lines.")] = 50,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue from the state in OUT.")
    ] = False,
    space: Annotated[
        Literal["latent", "pixel"] | None,
        typer.Option(help="Space of the flow (Table 5).", rich_help_panel=_ABLATIONS),
    ] = None,
    objective: Annotated[
        Literal["lcfm", "fm", "none"] | None,
        typer.Option(
            help="LCFM, flow matching (Table 5), no flow (Table 7).", rich_help_panel=_ABLATIONS
        ),
    ] = None,
    loss: Annotated[
        Literal["paper", "published"] | None,
        typer.Option(
            help="LCFM of the paper's text, or of the published code (see docs).",
            rich_help_panel=_ABLATIONS,
        ),
    ] = None,
    expansion: Annotated[
        int | None,
        typer.Option(
            help="Over-parametrised convolutions, e.g. 4; 0: train the collapsed form.",
            rich_help_panel=_ABLATIONS,
        ),
    ] = None,
    num_steps: Annotated[
        int | None,
        typer.Option(
            "-K", "--num-steps", help="Euler steps (Table 10).", rich_help_panel=_ABLATIONS
        ),
    ] = None,
    dt: Annotated[
        float | None,
        typer.Option(help="LCFM's time interval (Table 11).", rich_help_panel=_ABLATIONS),
    ] = None,
    alpha: Annotated[
        float | None,
        typer.Option(help="LCFM's velocity weight (Eq. 3).", rich_help_panel=_ABLATIONS),
    ] = None,
    beta: Annotated[
        float | None,
        typer.Option(help="Weight of the image's error (Table 3).", rich_help_panel=_ABLATIONS),
    ] = None,
    sigma_s: Annotated[
        float | None,
        typer.Option(help="Noise of the flow's source (Table 4).", rich_help_panel=_ABLATIONS),
    ] = None,
    no_coarse: Annotated[
        bool,
        typer.Option(
            "--no-coarse", help="No coarse estimator (Table 7).", rich_help_panel=_ABLATIONS
        ),
    ] = False,
    fixed_encoder: Annotated[
        bool,
        typer.Option(
            "--fixed-encoder", help="Freeze the encoder (Table 8).", rich_help_panel=_ABLATIONS
        ),
    ] = False,
    fixed_coarse: Annotated[
        bool,
        typer.Option(
            "--fixed-coarse",
            help="Freeze the coarse estimator of --init.",
            rich_help_panel=_ABLATIONS,
        ),
    ] = False,
    model_size: Annotated[
        int | None,
        typer.Option(
            help="Millions of parameters of the preset `paper`: 13, 19, 27, 37 (Table 9).",
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
        from elir_edge.train.run import RunInputs, WarmStart, run_training
    except ModuleNotFoundError as error:
        raise ElirError(
            f"training needs {error.name}, which is not installed",
            fix="install the `train` extra; in a checkout, `make train` does",
        ) from error
    if init is not None and expansion:
        raise UsageError(
            "--init continues in the collapsed form, which checkpoints have",
            fix="leave out --expansion",
        )
    if task not in (*TASKS, AUTOENCODER):
        get_task(task)
    if degradation is not None and task == AUTOENCODER:
        raise UsageError("--degradation is for the tasks: an autoencoder learns clean photos")
    if epochs is not None and not 0 < epochs < math.inf:
        raise UsageError(f"--epochs {epochs:g} is invalid", expected="a finite number above 0")
    if init is None and (new_flow or fixed_coarse):
        raise UsageError(
            "--new-flow and --fixed-coarse need a checkpoint", fix="pass it with --init"
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
        # A checkpoint has the collapsed form.
        "model": config.model.collapsed() if init else None,
    }
    config = _replaced(config, changes)
    if epochs is not None:
        num_photos = sum(len(list_images(folder)) for folder in data)
        steps = max(1, math.ceil(epochs * num_photos / config.batch_size))
    config = _with_phases(config, steps, coarse_steps, decoder_steps)
    phases = {"refine_steps": refine_steps, "unrolled_steps": unrolled_steps}
    config = _replaced(config, phases | {"grid": grid})  # which a task has in unrolled steps only
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
        start=WarmStart(path=init, new_flow=new_flow) if init else None,
    )
    done = run_training(config, inputs, options, device=device)
    if done.finished:
        print(f"checkpoint {done.path}")
    else:
        print(
            f"stopped after step {done.step} of {config.steps}; checkpoint {done.path}; continue "
            "with the same command and --resume (make: RESUME=1)"
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
