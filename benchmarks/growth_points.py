"""Points of `growth.py`: what is measured, in a process per point that take turns."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import growth_worker
from benchmarks.speed.turns import read_answer
from export.onnx_graph.to_onnx import IMAGE

_SLOW_MS = 400.0
"""Points that take longer run once a turn, without an untimed run."""
_TURN = 3


@dataclass(frozen=True, kw_only=True)
class Point:
    """One measurement.

    Attributes:
        series: `whole`, `tiled`, `steps` or `batch`.
        x: what the series varies: pixels, K or images.
        label: x for people.
        images: restored by one run.
        rounds: milliseconds of the runs, by round.
        memory_mb: peak, above the idle process.
        idle_mb: with the runtime imported and nothing loaded.
        computed: pixels that the graph computes per pixel of the picture.
        reason: why nothing was measured.
    """

    series: str
    runtime: str
    threads: int
    x: float
    label: str
    images: int = 1
    rounds: list[list[float]] = field(default_factory=list)
    memory_mb: float | None = None
    idle_mb: float | None = None
    computed: float = 1.0
    reason: str | None = None

    @property
    def median_ms(self) -> float:
        """Median of a run, in milliseconds."""
        return float(np.median(np.concatenate(self.rounds)))

    @property
    def fps(self) -> float:
        """Images a second."""
        return 1000 * self.images / self.median_ms

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        values = {k: v for k, v in asdict(self).items() if k != "rounds"}
        if self.rounds:
            values |= {"median_ms": round(self.median_ms, 3), "fps": round(self.fps, 3)}
        return {k: round(v, 1) if k.endswith("_mb") and v else v for k, v in values.items()}


@dataclass(frozen=True, kw_only=True)
class Job:
    """A point to measure, and what its process loads."""

    point: Point
    artifact: Path
    image: Path
    bundle: bool = False


class _Process:
    """The process of a point."""

    def __init__(self, job: Job) -> None:
        request = {
            "artifact": str(job.artifact),
            "image": str(job.image),
            "bundle": job.bundle,
            "runtime": job.point.runtime,
            "threads": job.point.threads,
            "input": IMAGE,
        }
        self._process = subprocess.Popen(
            [sys.executable, growth_worker.__file__, json.dumps(request)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": str(job.point.threads)},
        )
        self.reason: str | None = None
        self.reason = (self._read() or {}).get("reason", self.reason)

    def ask(self, line: str) -> Any:
        """Return the answer; None of a process that cannot go on, whose `reason` says why."""
        if self.reason is not None:
            return None
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(f"{line}\n")
            self._process.stdin.flush()
        return self._read()

    def close(self) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()

    def _read(self) -> Any:
        assert self._process.stdout is not None
        found = read_answer(self._process.stdout)
        if found is None:
            self.reason = f"its process ended early (exit code {self._process.wait()})"
        return found


def measure(jobs: Sequence[Job], rounds: int) -> list[Point]:
    """Time all jobs of a series in turns; then ask each for its memory."""
    processes = []
    try:
        for job in jobs:
            processes.append(_Process(job))
        slow = [(process.ask("time 1") or [0])[0] > _SLOW_MS for process in processes]
        times: list[list[list[float]]] = [[] for _ in jobs]
        for _ in range(rounds):
            for i, process in enumerate(processes):
                if process.reason is None and not slow[i]:
                    process.ask(f"time {_TURN}")
                if process.reason is None:
                    times[i].append(process.ask("time 1" if slow[i] else f"time {_TURN}"))
        memory = [process.ask("memory") for process in processes]
    finally:
        for process in processes:
            process.close()
    return [
        replace(job.point, reason=processes[i].reason)
        if processes[i].reason is not None
        else replace(
            job.point,
            rounds=times[i],
            memory_mb=memory[i]["peak_mb"] - memory[i]["idle_mb"],
            idle_mb=memory[i]["idle_mb"],
        )
        for i, job in enumerate(jobs)
    ]
