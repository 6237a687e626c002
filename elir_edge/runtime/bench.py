"""How long a bundle takes on this device, and how much memory."""

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from elir_edge.runtime.arrays import float_as
from elir_edge.runtime.restore import Restorer
from elir_edge.runtime.selftest import golden_images

_WARMUP_SECONDS = 2.0
_LEAST_RUNS = 3


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Times of runs, in milliseconds.

    Attributes:
        median: half of the runs took at most this.
        p90: nine tenths of them.
        runs: how many there were.
    """

    median: float
    p90: float
    runs: int

    @property
    def fps(self) -> float:
        """Runs a second, by the median."""
        return 1000 / self.median


@dataclass(frozen=True, kw_only=True)
class BenchResult:
    """What was measured.

    Attributes:
        model: the graph alone, on an image in the form that it takes.
        end_to_end: `Restorer.restore` of the same image: 8 bits in, 8 bits out.
        width: of the image, before any enlargement, in pixels.
        height: likewise.
        peak_megabytes: most memory that the process held at any time, the runtime and the weights
            included; None where the system does not say.
        runtime: name and version.
    """

    model: Timing
    end_to_end: Timing
    width: int
    height: int
    peak_megabytes: float | None
    runtime: str


Progress = Callable[[float, float, float], None]


def run_bench(
    restorer: Restorer, *, seconds: float = 10.0, progress: Progress = lambda *numbers: None
) -> BenchResult:
    """Time a bundle on its own sample image, cut to what one run of the graph takes.

    The model alone and the whole way take turns, so that a slow moment of the machine falls on
    both. Runs of the first two seconds (at least one of each) do not count.

    Args:
        restorer: the bundle, loaded.
        seconds: how long to measure; at least three runs of each count.
        progress: called after each run, those of the warm-up included, with (seconds passed,
            seconds in all, milliseconds of the model's last run).

    Raises:
        BundleError: the sample image does not fit the graph.
    """
    given, _ = golden_images(restorer)
    # The sample has the graph's size, the user's image is smaller where it is enlarged first.
    small = given[:: restorer.upscale, :: restorer.upscale]
    image = float_as(small, np.dtype(np.uint8), gray=False)

    def model() -> None:
        restorer.run(given)

    def end_to_end() -> None:
        restorer.restore(image)

    began = time.perf_counter()
    total, last = _WARMUP_SECONDS + seconds, 0.0

    def tell(run: Callable[[], None], milliseconds: float) -> None:
        nonlocal last
        last = milliseconds if run is model else last
        progress(time.perf_counter() - began, total, last)

    runs = (model, end_to_end)
    _take_turns(runs, began + _WARMUP_SECONDS, least=1, after=tell)
    end = time.perf_counter() + seconds
    alone, whole = _take_turns(runs, end, least=_LEAST_RUNS, after=tell)
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
    """Return the milliseconds of each run; `after` is told each as it is taken."""
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
    """Return the most memory that this process has held, in MB; None where nothing says it."""
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6
