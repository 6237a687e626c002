"""Trains vector fields with other widths and K for the sensor, all in the same way.

    python benchmarks/sensor_candidates.py --data photos/train
    python benchmarks/sensor.py --data photos/val --runs runs/sensor

Encoder and coarse estimator are those of the shipped `denoising-sensor`. For them, each candidate
learns its own field, with the chip's rounding and the preset's last objective, so candidates differ
only in the field. Candidates that are already trained are skipped.
"""

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from elir_edge.checkpoints.own import embedded_path
from elir_edge.console import console, run_app
from elir_edge.train.config import TrainConfig
from elir_edge.train.loop import RunOptions
from elir_edge.train.presets import adapt, get_preset
from elir_edge.train.run import CHECKPOINT_NAME, RunInputs, WarmStart, is_trained, run_training
from elir_edge.train.state import STATE_NAME

TASK = "denoising"
CANDIDATES = ((32, 3), (48, 1), (48, 3), (48, 5), (64, 3))
"""Width of the vector field, K."""
STEPS = 1400

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def checkpoint_of(runs: Path, width: int, num_steps: int) -> Path:
    """Return where a candidate's checkpoint lies."""
    return runs / f"w{width}k{num_steps}" / CHECKPOINT_NAME


def configuration(width: int, num_steps: int) -> TrainConfig:
    """Return a candidate's run."""
    config = adapt(get_preset("sensor", TASK), velocity_width=width, num_steps=num_steps)
    return dataclasses.replace(
        config,
        model=config.model.collapsed(),
        # The last phase comes after one for the coarse image, if only of one step.
        steps=1 + STEPS,
        coarse_steps=1,
        refine_steps=1,
        unrolled_steps=STEPS,
    )


@app.command()
def train(
    data: Annotated[Path, typer.Option(help="Folder of photos to train on.")],
    out: Annotated[Path, typer.Option(help="Folder of the runs.")] = Path("runs/sensor"),
) -> None:
    """Train what is missing; Ctrl-C and start again as you like."""
    for width, num_steps in CANDIDATES:
        path = checkpoint_of(out, width, num_steps)
        config = configuration(width, num_steps)
        if is_trained(path, TASK, config):
            continue
        console.rule(path.parent.name)
        start = WarmStart(path=embedded_path(TASK, "sensor"), new_flow=True)
        done = run_training(
            config,
            RunInputs(photos=[data], start=start),
            RunOptions(out=path.parent, resume=(path.parent / STATE_NAME).exists(), save_every=200),
        )
        if done.signal is not None:
            raise typer.Exit(128 + done.signal)


if __name__ == "__main__":
    run_app(app)
