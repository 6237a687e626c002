"""Measure a bundle's run times and memory on this device."""

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from elir_edge.runtime.arrays import float_as
from elir_edge.runtime.restore import Restorer
from elir_edge.runtime.selftest import golden_images

_WARMUP_SECONDS = 2.0
_LEAST_RUNS = 3
_STATUS = Path("/proc/self/status")


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Times of runs, in milliseconds.

    Attributes:
        median: median time of a run.
        p90: 90th percentile of the times.
        runs: number of runs.
    """

    median: float
    p90: float
    runs: int

    @property
    def fps(self) -> float:
        """Return the runs per second that the median time corresponds to."""
        return 1000 / self.median


@dataclass(frozen=True, kw_only=True)
class BenchResult:
    """The result of a benchmark.

    Attributes:
        model: times of the graph alone, on an image in the graph's size and float format.
        end_to_end: times of `Restorer.restore` of the same image, from 8 bits to 8 bits.
        width: width of the image before any enlargement, in pixels.
        height: height of the image before any enlargement, in pixels.
        peak_megabytes: peak memory of the process in MB, including the runtime and the weights;
            None if the system does not report it.
        runtime: name and version of the runtime.
    """

    model: Timing
    end_to_end: Timing
    width: int
    height: int
    peak_megabytes: float | None
    runtime: str


BenchProgress = Callable[[float, float, float], None]


def run_bench(
    restorer: Restorer, *, seconds: float = 10.0, progress: BenchProgress = lambda *numbers: None
) -> BenchResult:
    """Time a bundle on its own sample image, which has the size of one run of the graph.

    Runs of the graph alone and of the whole restoration alternate, so that a slow moment of the
    machine affects both. The first two seconds (at least one run of each) are a warm-up.

    Args:
        restorer: the loaded bundle.
        seconds: duration of the measurement; at least three runs of each are timed.
        progress: called after each run, including the warm-up, with (elapsed seconds, total
            seconds, milliseconds of the graph's last run).

    Raises:
        BundleError: the sample image does not fit the graph.
        ImageError: the sample image cannot be read.
    """
    given, _ = golden_images(restorer)
    # The sample has the graph's size; a user's image is smaller if the task enlarges it first.
    small = given[:: restorer.upscale, :: restorer.upscale]
    image = float_as(small, np.dtype(np.uint8), gray=False)

    def model() -> None:
        restorer.run(given)

    def end_to_end() -> None:
        restorer.restore(image)

    began = time.perf_counter()
    total, last = _WARMUP_SECONDS + seconds, 0.0

    def report_progress(run: Callable[[], None], milliseconds: float) -> None:
        nonlocal last
        last = milliseconds if run is model else last
        progress(time.perf_counter() - began, total, last)

    runs = (model, end_to_end)
    _take_turns(runs, began + _WARMUP_SECONDS, least=1, after=report_progress)
    end = time.perf_counter() + seconds
    alone, whole = _take_turns(runs, end, least=_LEAST_RUNS, after=report_progress)
    return BenchResult(
        model=_timing(alone),
        end_to_end=_timing(whole),
        width=image.shape[1],
        height=image.shape[0],
        peak_megabytes=peak_megabytes(),
        runtime=restorer.runtime,
    )


def _take_turns(
    runs: Sequence[Callable[[], None]],
    end: float,
    *,
    least: int,
    after: Callable[[Callable[[], None], float], None],
) -> list[list[float]]:
    """Return the times of each function in milliseconds, and pass each time to `after`."""
    times: list[list[float]] = [[] for _ in runs]
    while len(times[0]) < least or time.perf_counter() < end:
        for run, found in zip(runs, times, strict=True):
            start = time.perf_counter()
            run()
            found.append(1000 * (time.perf_counter() - start))
            after(run, found[-1])
    return times


def _timing(times: list[float]) -> Timing:
    return Timing(
        median=statistics.median(times), p90=float(np.percentile(times, 90)), runs=len(times)
    )


def peak_megabytes() -> float | None:
    """Return the peak memory of this process in MB; None if the system does not report it.

    On Linux, `getrusage` also counts what the parent held when it started this process; the
    kernel's own high-water mark does not.
    """
    if _STATUS.is_file():
        for line in _STATUS.read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6
