"""The rows of the speed benchmark: what is measured of each way to run a model."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.speed.deployments import YARDSTICKS, Deployment
from benchmarks.speed.intervals import Interval, median_interval, turn_ratios
from benchmarks.speed.turns import Measurements

EQUAL_DB = 200.0
"""PSNR that stands for equal results, for which it is infinite."""
_DIGITS = 4


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What a group of rows has in common.

    Attributes:
        task: its name.
        model: `nano`, `sensor` or `paper`.
        size: side of the network's input, in pixels.
        steps: K, Euler steps.
        parameters: of the collapsed network.
        macs: multiply-accumulates of the exported float32 graph's convolutions for one image.
    """

    task: str
    model: str
    size: int
    steps: int
    parameters: int
    macs: int


@dataclass(frozen=True, kw_only=True)
class Row:
    """What was measured of a deployment; or, in `reason`, why nothing was.

    Attributes:
        parameters: of the collapsed network.
        megabytes: of the file that the runtime loads.
        median_ms: of the graph alone; `p90_ms` likewise.
        end_to_end_ms: median, from the file to 8-bit pixels.
        peak_megabytes: the most memory that the row's process held, its libraries included.
        psnr_db: of its results against float32 torch with the same noise, mean over photos, equal
            ones counted as `EQUAL_DB`; None where the noise is another for every image.
        reference: title of the row that the ratios refer to.
        ratio: how many times as fast as the reference, alone: median over turns, and interval.
        share_of_peak: rate of multiply-accumulates over the machine's measured peak.
        others: cores that other processes kept busy meanwhile, on average.
        clock_mhz: mean over turns of the fastest core's clock.
    """

    task: str
    model: str
    size: int
    steps: int
    parameters: int
    target: str
    precision: str
    runtime: str
    title: str
    version: str | None = None
    reason: str | None = None
    megabytes: float | None = None
    gmac: float | None = None
    median_ms: float | None = None
    p90_ms: float | None = None
    fps: float | None = None
    end_to_end_ms: float | None = None
    end_to_end_p90_ms: float | None = None
    end_to_end_fps: float | None = None
    peak_megabytes: float | None = None
    psnr_db: float | None = None
    reference: str | None = None
    ratio: float | None = None
    ratio_interval: tuple[float, float] | None = None
    end_to_end_ratio: float | None = None
    end_to_end_ratio_interval: tuple[float, float] | None = None
    gmac_per_s: float | None = None
    share_of_peak: float | None = None
    share_of_peak_interval: tuple[float, float] | None = None
    others: float | None = None
    clock_mhz: float | None = None


def summarise(
    subject: Subject,
    deployments: Sequence[Deployment],
    found: Measurements,
    facts: dict[str, dict[str, Any]],
) -> list[Row]:
    """Return the rows of a group.

    Args:
        subject: of all.
        deployments: in the order of the table.
        found: what workers said, by title; yardsticks by their names.
        facts: `megabytes` and `psnr_db` by title, where they are known.
    """
    return [_row(subject, deployment, deployments, found, facts) for deployment in deployments]


def _row(
    subject: Subject,
    deployment: Deployment,
    deployments: Sequence[Deployment],
    found: Measurements,
    facts: dict[str, dict[str, Any]],
) -> Row:
    own = found.get(deployment.title, {"reason": "not started"})
    fixed: dict[str, Any] = {
        "task": subject.task,
        "model": subject.model,
        "size": subject.size,
        "steps": subject.steps,
        "parameters": subject.parameters,
        "target": deployment.target,
        "precision": deployment.precision,
        "runtime": deployment.runtime,
        "title": deployment.title,
    }
    if "reason" in own or not own["turns"]["model"]:
        return Row(**fixed, reason=own.get("reason", "not measured yet"))
    turns = own["turns"]
    alone = _times(turns["model"])
    values = {
        "version": own["version"],
        "gmac": subject.macs / 1e9,
        "median_ms": float(np.median(alone)),
        "p90_ms": float(np.percentile(alone, 90)),
        "fps": 1000 / float(np.median(alone)),
        "gmac_per_s": subject.macs / float(np.median(alone)) / 1e6,
        "peak_megabytes": own.get("peak_mb"),
        "others": _others(own),
        "clock_mhz": own.get("clock_mhz"),
        **facts.get(deployment.title, {}),
        **_end_to_end(_times(turns.get("end_to_end", []))),
        **_ratios(deployment, deployments, found),
        **_share(subject, deployment, turns["model"], found),
    }
    return Row(**fixed, **{name: rounded(value) for name, value in values.items()})


def rounded(value: Any) -> Any:
    """Return numbers with the digits that mean something."""
    if isinstance(value, tuple):
        return tuple(rounded(each) for each in value)
    return float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value


def _times(turns: Iterable[Sequence[float]]) -> list[float]:
    return [time for turn in turns for time in turn]


def _end_to_end(times: list[float]) -> dict[str, float]:
    if not times:
        return {}
    median = float(np.median(times))
    return {
        "end_to_end_ms": median,
        "end_to_end_p90_ms": float(np.percentile(times, 90)),
        "end_to_end_fps": 1000 / median,
    }


def _others(own: dict[str, Any]) -> float | None:
    """Return how many cores others kept busy; ticks of the clock may make it slightly negative."""
    if own.get("busy_s") is None or not own.get("wall_s"):
        return None
    return max(0.0, float(own["busy_s"] - own["own_s"]) / float(own["wall_s"]))


def _measured(deployments: Iterable[Deployment], found: Measurements) -> list[Deployment]:
    return [v for v in deployments if found.get(v.title, {}).get("turns", {}).get("model")]


def _ratios(
    deployment: Deployment, deployments: Sequence[Deployment], found: Measurements
) -> dict[str, Any]:
    """Return the ratios to the first measured row, of a GPU's to the first GPU's."""
    measured = _measured(deployments, found)
    peers = [each for each in measured if each.gpu] if deployment.gpu else measured
    reference = peers[0].title
    values: dict[str, Any] = {"reference": reference}
    for kind, name in (("model", "ratio"), ("end_to_end", "end_to_end_ratio")):
        theirs, own = (found[title]["turns"].get(kind) for title in (reference, deployment.title))
        if theirs and own:
            values |= _with_interval(name, turn_ratios(theirs, own))
    return values


def _with_interval(name: str, values: Sequence[float]) -> dict[str, Any]:
    interval: Interval | None = median_interval(values)
    return {
        name: float(np.median(values)),
        f"{name}_interval": None if interval is None else (interval.low, interval.high),
    }


def _share(
    subject: Subject, deployment: Deployment, turns: Sequence[Sequence[float]], found: Measurements
) -> dict[str, Any]:
    """Return the share of the peak, turn by turn; a CPU computes fp16 files in float32."""
    arithmetic = "int8" if deployment.precision == "int8" else "fp32"
    best = fastest_yardstick(arithmetic, found)
    if deployment.gpu or best is None:
        return {}
    # The yardstick's time for as many multiply-accumulates as the row does.
    scaled = [
        [time * subject.macs / found[best]["macs"] for time in turn]
        for turn in found[best]["turns"]["model"]
    ]
    return _with_interval("share_of_peak", turn_ratios(scaled, turns))


def fastest_yardstick(arithmetic: str, found: Measurements) -> str | None:
    """Return the name of the yardstick of an arithmetic with the highest rate; None: none ran."""
    rates = {
        name: rate
        for name, (_, of) in YARDSTICKS.items()
        if of == arithmetic and (rate := yardstick_rate(name, found)) is not None
    }
    return max(rates, key=lambda name: rates[name]) if rates else None


def yardstick_rate(name: str, found: Measurements) -> float | None:
    """Return a yardstick's 10^9 multiply-accumulates a second; None: it did not run."""
    own = found.get(name, {})
    times = _times(own.get("turns", {}).get("model", []))
    return own["macs"] / float(np.median(times)) / 1e6 if times else None
