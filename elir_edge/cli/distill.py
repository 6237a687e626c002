"""`elir-edge distill`: make a checkpoint faster, without its training data."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.table import Table

from elir_edge.console import console
from elir_edge.errors import ElirError
from elir_edge.tasks import TASKS

if TYPE_CHECKING:
    from elir_edge.train.slimming import SlimmingResult

EPILOG = "Example: elir-edge distill elir_sr.pth --task sr --data photos --validation photos-val"


def distill(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint, published or own.")],
    task: Annotated[str, typer.Option(help=f"One of {', '.join(TASKS)}.")],
    data: Annotated[
        list[Path], typer.Option(help="Folder of photos, of any sizes; may be repeated.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of state, log, checkpoint; default: runs/distill-TASK."),
    ] = None,
    validation: Annotated[
        Path | None, typer.Option(help="Folder of photos for scores, before and after.")
    ] = None,
    metric_weights: Annotated[
        Path | None, typer.Option(help="Folder with LPIPS-squeeze's weights.")
    ] = None,
    encoder: Annotated[
        Literal["slim", "own"],
        typer.Option(
            help="slim: nano's encoder (1.5 GMAC at 256) learns to replace it; own: keep."
        ),
    ] = "slim",
    num_steps: Annotated[
        int | None,
        typer.Option("-K", "--num-steps", min=1, help="Euler steps of the result, e.g. 1."),
    ] = None,
    encoder_steps: Annotated[
        int, typer.Option(min=1, help="Optimizer steps for the encoder.")
    ] = 4000,
    flow_steps: Annotated[
        int, typer.Option(min=1, help="Optimizer steps for the flow with fewer Euler steps.")
    ] = 3000,
    batch_size: Annotated[int, typer.Option(min=1, help="Crops per step.")] = 8,
    learning_rate: Annotated[float, typer.Option(help="Peak learning rate.")] = 1e-3,
    seed: Annotated[
        int,
        typer.Option(min=0, max=(1 << 31) - 1, help="Seed of crops, degradations and noise."),
    ] = 0,
    device: Annotated[str, typer.Option(help="Torch device.")] = "cpu",
    workers: Annotated[int, typer.Option(min=0, help="Processes that make batches.")] = 0,
    minutes: Annotated[
        float | None, typer.Option(help="Stop after this time; --resume continues.")
    ] = None,
    save_every: Annotated[int, typer.Option(min=1, help="Steps between states with scores.")] = 500,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue from the state in OUT.")
    ] = False,
) -> None:
    """Distil a checkpoint into one with a slim encoder, fewer Euler steps, or both."""
    try:
        from elir_edge.train.loop import RunOptions
        from elir_edge.train.slimming import Slimming, SlimmingInputs, distil
    except ModuleNotFoundError as error:
        raise ElirError(
            f"distillation needs {error.name}, which is not installed",
            fix="install the `train` extra; in a checkout, `make train` does",
        ) from error
    slimming = Slimming(
        slim_encoder=encoder == "slim",
        num_steps=num_steps,
        encoder_steps=encoder_steps,
        flow_steps=flow_steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        seed=seed,
    )
    inputs = SlimmingInputs(
        checkpoint=checkpoint, photos=data, validation=validation, metric_weights=metric_weights
    )
    options = RunOptions(
        out=out or Path("runs") / f"distill-{task}",
        resume=resume,
        minutes=minutes,
        save_every=save_every,
        num_workers=workers,
    )
    result = distil(slimming, inputs, options, task=task, device=device)
    console.print(_table(result))
    if result.run.finished:
        print(f"checkpoint {result.run.path}")
        print(f"export it:  python -m export --task {task} --checkpoint {result.run.path}")
    else:
        print(
            f"stopped after step {result.run.step}; checkpoint {result.run.path}; continue with "
            "the same command and --resume"
        )
    if result.run.signal is not None:
        raise typer.Exit(128 + result.run.signal)


def _table(result: "SlimmingResult") -> Table:
    table = Table("", "before", "after", title=f"distilled, at {result.size} pixels")
    before, after = result.macs
    for part in before:
        table.add_row(f"{part}, GMAC", f"{before[part] / 1e9:.2f}", f"{after[part] / 1e9:.2f}")
    whole = [sum(macs.values()) / 1e9 for macs in result.macs]
    table.add_row("total, GMAC", *(f"{gmac:.2f}" for gmac in whole))
    for name, value in result.scores[0].items():
        table.add_row(name, f"{value:.4g}", f"{result.scores[1].get(name, float('nan')):.4g}")
    return table
