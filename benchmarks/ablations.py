"""The paper's ablations on `nano`: trains the variants, evaluates them on photos, writes a table.

    python benchmarks/ablations.py train --data photos/train
    python benchmarks/ablations.py report --data photos/val

`train` continues where it was stopped and trains only missing variants. The flow's variants (Tables
3, 4, 5, 10, 11 and Fig. 6) share encoder and coarse estimator of the shipped `sr` checkpoint, and
each learns a new vector field, so they differ only in the flow. The variants of encoder and coarse
estimator (Tables 7 and 8) are trained completely. All are short runs on small crops: they show the
direction of an effect, not its final size.
"""

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.progress import track

from benchmarks.scores import Score, mean_score, score
from elir_edge.checkpoints.own import build_model, embedded_path, read_checkpoint
from elir_edge.console import console, run_app
from elir_edge.data.datasets import centre_crop, list_images, read_rgb, to_float
from elir_edge.data.degradations import degrade
from elir_edge.data.tensors import to_batch, to_image
from elir_edge.errors import CheckpointError, DataError
from elir_edge.files import replacing_file, write_json
from elir_edge.model import Elir, draw_noise
from elir_edge.train.config import TrainConfig
from elir_edge.train.loop import RunOptions
from elir_edge.train.presets import adapt, get_preset
from elir_edge.train.run import CHECKPOINT_NAME, RunInputs, WarmStart, is_trained, run_training
from elir_edge.train.state import STATE_NAME

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

_FLOW_STEPS, _PART_STEPS = 4000, 5000
"""Of a vector field alone, and of a whole model, which begins at random weights."""
_SIZE = 256
_SEED = 1


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One trained variant.

    Attributes:
        name: of its folder.
        table: where the paper has it.
        model: changes of the model (`adapt`).
        training: changes of the training configuration.
        euler_steps: M, the numbers of Euler steps that it is measured with.
    """

    name: str
    table: str
    model: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    euler_steps: tuple[int, ...] = (3,)


FLOWS = (
    Variant(name="lcfm", table="the paper's settings", euler_steps=(1, 3, 25)),
    Variant(
        name="fm",
        table="Table 5, Fig. 6(a)",
        model={"objective": "fm"},
        euler_steps=(1, 3, 5, 10, 25),
    ),
    Variant(name="beta-0", table="Table 3", training={"beta": 0.0}),
    Variant(name="beta-0.01", table="Table 3", training={"beta": 0.01}),
    Variant(name="beta-0.1", table="Table 3", training={"beta": 0.1}),
    Variant(name="beta-0.9", table="Table 3", training={"beta": 0.9}),
    Variant(name="sigma-0", table="Table 4", model={"sigma_s": 0.0}),
    Variant(name="sigma-0.2", table="Table 4", model={"sigma_s": 0.2}),
    Variant(name="k-1", table="Table 10", model={"num_steps": 1}, euler_steps=(1,)),
    Variant(name="k-5", table="Table 10", model={"num_steps": 5}, euler_steps=(5,)),
    Variant(
        name="published",
        table="the published code's loss",
        training={"loss": "published"},
        euler_steps=(1, 3, 25),
    ),
    Variant(name="dt-0.01", table="Table 11", training={"dt": 0.01}),
    Variant(name="dt-0.1", table="Table 11", training={"dt": 0.1}),
)
"""Vector fields on the encoder and coarse estimator of `sr`."""

PARTS = (
    Variant(name="whole", table="Tables 7 and 8, the paper's"),
    Variant(name="fixed-encoder", table="Table 8", training={"trainable_encoder": False}),
    Variant(name="no-coarse", table="Table 7", model={"coarse": False}),
    Variant(name="no-flow", table="Table 7", model={"objective": "none"}, euler_steps=(0,)),
)
"""Whole models of `denoising`."""


def configuration(variant: Variant) -> TrainConfig:
    """Return the run of a variant: the nano preset's model, the paper's objective, less work."""
    config = get_preset("nano", task_of(variant))
    config = dataclasses.replace(
        config,
        steps=_FLOW_STEPS if variant in FLOWS else _PART_STEPS,
        coarse_steps=0,
        unrolled_steps=0,
        end_to_end=False,
        teacher_crops=0,
        crop_size=64,
        loss="paper",
        alpha=0.001,
        beta=0.001,
        dt=0.05,
    )
    if variant in FLOWS:
        config = dataclasses.replace(
            config,
            model=config.model.collapsed(),
            trainable_encoder=False,
            trainable_coarse=False,
        )
    config = adapt(config, **variant.model)
    return dataclasses.replace(config, **variant.training)


def task_of(variant: Variant) -> str:
    """Return the task that a variant restores."""
    return "sr" if variant in FLOWS else "denoising"


@app.command()
def train(
    data: Annotated[Path, typer.Option(help="Folder of photos to train on.")],
    out: Annotated[Path, typer.Option(help="Folder of the runs.")] = Path("runs/ablations"),
    start: Annotated[
        Path | None, typer.Option(help="Checkpoint of sr to go on from; default: the shipped.")
    ] = None,
    only: Annotated[str, typer.Option(help="Comma-separated names; default: all.")] = "",
) -> None:
    """Train what is missing; Ctrl-C and start again as you like."""
    for variant in _chosen(only):
        folder = out / variant.name
        if _is_trained(folder, variant):
            continue
        console.rule(variant.name)
        flows = WarmStart(path=start or embedded_path("sr"), new_flow=True)
        done = run_training(
            configuration(variant),
            RunInputs(photos=[data], start=flows if variant in FLOWS else None),
            RunOptions(out=folder, resume=(folder / STATE_NAME).exists(), save_every=500),
        )
        if done.signal is not None:
            raise typer.Exit(128 + done.signal)


def _is_trained(folder: Path, variant: Variant) -> bool:
    return is_trained(folder / CHECKPOINT_NAME, task_of(variant), configuration(variant))


@app.command()
def report(
    data: Annotated[Path, typer.Option(help="Folder of photos that no model saw.")],
    runs: Annotated[Path, typer.Option(help="Folder of the runs.")] = Path("runs/ablations"),
    every: Annotated[int, typer.Option(min=1, help="Use every n-th photo only.")] = 1,
    only: Annotated[
        str, typer.Option(help="Measure these; rows of others stay as OUT's JSON has them, if any.")
    ] = "",
    out: Annotated[Path, typer.Option(help="Markdown; JSON is written beside it.")] = Path(
        "benchmarks/results/ablations.md"
    ),
) -> None:
    """Measure all variants and write the table."""
    missing = [v.name for v in _chosen(only) if not _is_trained(runs / v.name, v)]
    if missing:
        raise CheckpointError(
            f"not trained yet: {', '.join(missing)}", fix="python benchmarks/ablations.py train"
        )
    paths = list_images(data)
    indices = range(0, len(paths), every)
    rows: list[dict[str, Any]] = []
    for variant in track(_chosen(only), description="variants", console=console):
        checkpoint = read_checkpoint(runs / variant.name / CHECKPOINT_NAME, task=task_of(variant))
        model = build_model(checkpoint)
        for label, mean in _measure(model, variant, paths, indices):
            rows.append(
                {"variant": variant.name, "table": variant.table, "steps": label}
                | dataclasses.asdict(mean)
            )
    if only:
        rows = _with_others(rows, out.with_suffix(".json"), len(indices))
    text = _markdown(rows, num_photos=len(indices))
    with replacing_file(out) as temporary:
        temporary.write_text(text)
    content = {"num_photos": len(indices), "size": _SIZE, "seed": _SEED, "rows": rows}
    write_json(out.with_suffix(".json"), content)
    console.print(text, markup=False, soft_wrap=True)


def _with_others(rows: list[dict[str, Any]], path: Path, num_photos: int) -> list[dict[str, Any]]:
    """Return the rows of a report with those of the variants that were not measured now."""
    if not path.exists():
        return rows
    before = json.loads(path.read_text(encoding="utf-8"))
    if before["num_photos"] != num_photos:
        raise DataError(
            f"{path} was measured on other photos",
            got=f"{before['num_photos']}",
            expected=f"{num_photos}",
            fix="use the same --every, or leave out --only",
        )
    new = {row["variant"] for row in rows}
    kept = [row for row in before["rows"] if row["variant"] not in new]
    order = [variant.name for variant in (*FLOWS, *PARTS)]
    return sorted(kept + rows, key=lambda row: order.index(row["variant"]))


@torch.no_grad()
def _measure(
    model: Elir, variant: Variant, paths: list[Path], indices: range
) -> Iterator[tuple[str, Score]]:
    """Yield the mean score for each number of Euler steps, and of the initial point."""
    scores: dict[str, dict[int, Score]] = {}
    noise = draw_noise(model.config, _SIZE, _SIZE)
    for index in indices:
        clean = to_float(centre_crop(read_rgb(paths[index]), _SIZE))
        degraded = degrade(task_of(variant), clean, np.random.default_rng([_SEED, index]))
        z = model.initial_point(to_batch(degraded))
        ends = {"initial point": z}
        for count in variant.euler_steps:
            ends[f"M = {count}"] = model.trajectory(z + noise, count)[-1]
        for label, end in ends.items():
            scores.setdefault(label, {})[index] = score(clean, to_image(model.decoder(end)))
    for label, per_photo in scores.items():
        mean = mean_score(per_photo, indices)
        assert mean is not None
        yield label, mean


def _chosen(only: str) -> list[Variant]:
    names = [name for name in only.split(",") if name]
    found = [v for v in (*FLOWS, *PARTS) if not names or v.name in names]
    unknown = set(names) - {v.name for v in found}
    if unknown:
        raise typer.BadParameter(f"unknown variants {', '.join(sorted(unknown))}")
    return found


_DIFFERENCES = """\
**Where `nano` differs from the paper.** K = 1, 3, 5 run the other way from Table 10: there one
segment is the sharpest and has the lowest PSNR, here it is the smoothest. And LCFM run for 25 steps
is not where it is after 3, as a consistent field would be: on the path of 24 steps the field's mean
square grows from 0.03 to 0.25 within the first third (32 photos); a consistent one would stay.

What was tried. The published code's loss, which compares with the true point at each segment's end,
changes nothing of it (M = 3: 20.56 dB and 0.35; M = 25: 18.87 dB and 0.66;
`ablations-published.md`); for K = 1 it is the same loss. Four times the steps change nothing for
K = 1 either (1,500 and 6,000 steps: sharpness 0.18 and 0.17, the field at t = 0 0.065 and 0.070 of
the path's own mean square; `propagation.py`, `propagation.json`), so that the target had not been
handed down far enough in a short run is not the cause. Not found; what was not tried is a field
of the paper's size (nano's has a fortieth of its weights) and the paper's 137,000 steps.
""".splitlines()
"""Said in the table's file."""


def _markdown(rows: list[dict[str, Any]], *, num_photos: int) -> str:
    lines = [
        "# Ablations of `nano`",
        "",
        f"Means over {num_photos} photos that no model saw, central {_SIZE} x {_SIZE}.",
        "Sharpness is the mean absolute Laplacian relative to the clean photo's.",
        f"Crops of 64, 16 a step: {_FLOW_STEPS} steps of a vector field, {_PART_STEPS} of a whole",
        "model from random weights.",
        "",
        *_DIFFERENCES,
        "",
    ]
    for title, variants in (("Vector fields, `sr`", FLOWS), ("Parts, `denoising`", PARTS)):
        names = {variant.name for variant in variants}
        if not any(row["variant"] in names for row in rows):
            continue
        lines += [
            f"## {title}",
            "",
            "| variant | paper | Euler steps | PSNR, dB | SSIM-Y | sharpness |",
        ]
        lines += ["|---|---|---|---|---|---|"]
        shown_start = False
        for row in rows:
            is_start = row["steps"] == "initial point"
            if row["variant"] not in names or (is_start and shown_start and names >= {"lcfm"}):
                continue
            shown_start |= is_start
            lines.append(
                f"| {row['variant']} | {row['table']} | {row['steps']} | {row['psnr_db']:.2f} | "
                f"{row['ssim_y']:.3f} | {row['sharpness']:.2f} |"
            )
        lines.append("")
    lines += [
        "```",
        "python benchmarks/ablations.py train --data photos/train",
        "python benchmarks/ablations.py report --data photos/val",
        "```",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    run_app(app)
