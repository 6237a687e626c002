"""The cost of an export: seconds and peak memory of each stage and in all.

    python benchmarks/export_cost.py --task sr --checkpoint sr-paper.safetensors
    python benchmarks/export_cost.py --task denoising --target tflite --precision int8

The export runs in a separate process with an empty cache of searches, so that earlier results do
not shorten it. The runtimes use their default number of threads.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from benchmarks.options import writable
from elir_edge.console import console, run_app
from elir_edge.errors import ElirError, UsageError
from elir_edge.files import CACHE_VARIABLE, write_json
from elir_edge.machine import processor_name
from elir_edge.runtime.bench import peak_megabytes
from export.request import Request

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
_MARK = "cost "
_PEAK_RESET = Path("/proc/self/clear_refs")


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one export took.

    Attributes:
        seconds: by stage, in order; a stage that comes again adds up.
        stage_peak_bytes: the most memory that the process held within each stage; empty where the
            system cannot tell.
        total_seconds: from the first stage to the last.
        cpu_seconds: of all threads.
        peak_bytes: the most memory that the process held.
    """

    seconds: dict[str, float]
    stage_peak_bytes: dict[str, int]
    total_seconds: float
    cpu_seconds: float
    peak_bytes: int


class Stopwatch:
    """Seconds and peak memory of the stages that an export reports."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.peaks: dict[str, int] = {}
        self._stage: str | None = None
        self._since = time.monotonic()

    def begin(self, stage: str | None) -> None:
        """End the stage at hand and begin another; None: none."""
        now, peak = time.monotonic(), _take_peak()
        if self._stage is not None:
            self.seconds[self._stage] = self.seconds.get(self._stage, 0.0) + now - self._since
            if peak is not None:
                self.peaks[self._stage] = max(self.peaks.get(self._stage, 0), peak)
        self._stage, self._since = stage, now


def _take_peak() -> int | None:
    """Return the bytes of the process's peak since the last call; None where none is kept."""
    megabytes = peak_megabytes()
    try:
        _PEAK_RESET.write_text("5")  # Linux: the peak is what is held now
    except OSError:
        return None
    return None if megabytes is None else round(megabytes * 1e6)


def measure(request: Request) -> Cost:
    """Export in this process and tell what it took.

    Raises:
        ElirError: see `run_export`.
    """
    from export.plan import run_export

    watch = Stopwatch()
    began, cpu = time.monotonic(), time.process_time()
    run_export(request, lambda stage, detail, done: watch.begin(detail or stage))
    watch.begin(None)
    whole = max([*watch.peaks.values(), round((peak_megabytes() or 0.0) * 1e6)])
    return Cost(
        seconds={name: round(value, 2) for name, value in watch.seconds.items()},
        stage_peak_bytes=watch.peaks,
        total_seconds=round(time.monotonic() - began, 1),
        cpu_seconds=round(time.process_time() - cpu, 1),
        peak_bytes=whole,
    )


@app.command()
def main(
    task: Annotated[str, typer.Option(help="As of the export.")] = "denoising",
    target: Annotated[str, typer.Option(help="As of the export.")] = "onnx",
    precision: Annotated[str, typer.Option(help="As of the export.")] = "int8",
    checkpoint: Annotated[Path | None, typer.Option(help="As of the export.")] = None,
    size: Annotated[int | None, typer.Option(help="As of the export.")] = None,
    crops: Annotated[int | None, typer.Option(help="As of the export.")] = None,
    enforce: Annotated[
        bool, typer.Option(help="Whether int8 must keep its gates; random weights cannot.")
    ] = True,
    out: Annotated[
        Path | None, typer.Option(callback=writable, help="Add the result to this JSON file.")
    ] = None,
    inside: Annotated[bool, typer.Option(hidden=True)] = False,
) -> None:
    """Measure one export."""
    found = _found(out)  # before the work: a file that is no record would lose it
    with tempfile.TemporaryDirectory() as folder:
        if inside:
            request = Request(
                task=task,
                target=target,
                precision=precision,
                checkpoint=checkpoint,
                size=size,
                crops=crops,
                enforce_gates=enforce,
                out=Path(folder),
            )
            print(_MARK + json.dumps(asdict(measure(request))))
            return
        cost = _in_a_process(sys.argv[1:], Path(folder))
    model = None if checkpoint is None else checkpoint.stem
    name = "-".join(str(part) for part in (task, target, precision, size, model) if part)
    console.print(_table(name, cost))
    if out is not None:
        command = without_out(sys.argv[1:])
        row = {"command": command, "processor": processor_name(), "cores": os.cpu_count()}
        write_json(out, found | {name: {**row, **asdict(cost)}})


def _found(out: Path | None) -> dict[str, object]:
    """Return what earlier runs have written.

    Raises:
        UsageError: the file holds something else.
    """
    if out is None or not out.exists():
        return {}
    try:
        found = json.loads(out.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{out} cannot be added to ({error})", fix="pass another --out") from error
    if not isinstance(found, dict) or not all(
        isinstance(each, dict) and "command" in each for each in found.values()
    ):
        raise UsageError(f"{out} is no record of costs", fix="pass another --out")
    return found


def without_out(arguments: Sequence[str]) -> list[str]:
    """Leave out where the result goes: the file is read on other machines."""
    before = ["", *arguments]
    return [
        each
        for each, last in zip(arguments, before, strict=False)
        if last != "--out" and each != "--out" and not each.startswith("--out=")
    ]


def _in_a_process(arguments: list[str], cache: Path) -> Cost:
    done = subprocess.run(
        [sys.executable, __file__, *arguments, "--inside"],
        env=os.environ | {CACHE_VARIABLE: str(cache)},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode > 0:
        raise typer.Exit(done.returncode)  # it has said why
    lines = [line for line in done.stdout.splitlines() if line.startswith(_MARK)]
    if done.returncode or not lines:
        raise ElirError(
            f"the export ended with code {done.returncode}",
            fix="free memory, if the system ended it" if done.returncode else None,
        )
    return Cost(**json.loads(lines[-1].removeprefix(_MARK)))


def _table(name: str, cost: Cost) -> Table:
    table = Table("stage", "seconds", "peak memory, GB", title=name)
    for stage, seconds in cost.seconds.items():
        peak = cost.stage_peak_bytes.get(stage)
        table.add_row(stage, f"{seconds:.1f}", "" if peak is None else f"{peak / 1e9:.2f}")
    whole = f"{cost.total_seconds:.1f} ({cost.cpu_seconds:.1f} of CPU)"
    table.add_row("in all", whole, f"{cost.peak_bytes / 1e9:.2f}")
    return table


if __name__ == "__main__":
    run_app(app)
