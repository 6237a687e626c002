"""Draws the loss and score curves of training runs from their logs.

python benchmarks/curves.py runs/sr runs/denoising --out curves.png
"""

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks.options import writable
from elir_edge.console import run_app
from elir_edge.errors import DataError
from elir_edge.evaluation.trajectories import load_matplotlib
from elir_edge.files import replacing_file
from elir_edge.train.record import LOG_NAME

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
_SMOOTHED_OVER = 10


@app.command()
def draw(
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs; a column for each.")],
    out: Annotated[Path, typer.Option(callback=writable, help="PNG.")] = Path("curves.png"),
) -> None:
    """Draw losses (logarithmic, smoothed) above validation PSNR, against the steps."""
    records = [_read(run) for run in runs]
    figure = load_matplotlib()(figsize=(3.2 * len(runs), 5.2), layout="constrained")
    panels = figure.subplots(2, len(runs), squeeze=False, sharex="col")
    for column, (run, log) in enumerate(zip(runs, records, strict=True)):
        losses = [record for record in log if "total" in record]
        scores = [record for record in log if "seconds" in record]
        for name in {name: None for record in losses for name in record}:
            if name not in ("step", "total", "grad_norm"):
                having = [record for record in losses if name in record]
                values = _smoothed([record[name] for record in having])
                steps = [record["step"] for record in having][-len(values) :]
                panels[0, column].semilogy(steps, values, label=name, linewidth=1)
        for name in scores[-1]:
            if name not in ("step", "seconds"):
                steps = [record["step"] for record in scores]
                panels[1, column].plot(steps, [r[name] for r in scores], label=name, marker=".")
        panels[0, column].set_title(run.name)
        panels[1, column].set_xlabel("step")
        panels[1, column].grid(alpha=0.3)
        for row in range(2):
            panels[row, column].legend(fontsize="small")
    panels[0, 0].set_ylabel("loss terms")
    panels[1, 0].set_ylabel("validation PSNR, dB")
    with replacing_file(out) as temporary:
        figure.savefig(temporary, format="png", dpi=80)
    print(f"curves {out}")


def _read(run: Path) -> list[dict[str, Any]]:
    path = run / LOG_NAME
    if not path.is_file():
        raise DataError(f"no {LOG_NAME} in {run}", fix="pass folders that `elir-edge train` wrote")
    records = [json.loads(line) for line in path.read_text().splitlines()]
    if not any("total" in r for r in records) or not any("seconds" in r for r in records):
        raise DataError(f"{path} holds no losses or no validation yet", fix="train longer")
    return records


def _smoothed(values: list[float]) -> list[float]:
    count = min(_SMOOTHED_OVER, len(values))
    smoothed: list[float] = np.convolve(values, np.full(count, 1 / count), mode="valid").tolist()
    return smoothed


if __name__ == "__main__":
    run_app(app)
