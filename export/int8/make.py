"""From a verified float32 graph to the int8 files of each runtime, judged."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from elir_edge.errors import ParityError
from elir_edge.runtime.manifest import Check
from export.int8.begin import begin, reasons
from export.int8.cache import cached
from export.int8.judge import Quality
from export.int8.photos import Calibration
from export.int8.running import running
from export.int8.search import Finding
from export.parity import MAX_LOST_INT8, MIN_PSNR_INT8, PSNR_CEILING
from export.to_onnx import RESTORED


@dataclass(frozen=True, kw_only=True)
class Made:
    """A Q/DQ graph for one runtime.

    Attributes:
        model: the graph.
        finding: how its recipe was found.
        excluded: convolutions in float32, and what that wins.
        checks: its gates.
    """

    model: onnx.ModelProto
    finding: Finding
    excluded: dict[str, str]
    checks: list[Check]


def make_int8(
    probe: onnx.ModelProto,
    shipped: onnx.ModelProto,
    calibration: Calibration,
    runtimes: Sequence[str],
    *,
    batch: int,
    noise: NDArray[np.float32] | None,
    enforce_gates: bool,
    report: Callable[[str], None],
) -> dict[str, Made]:
    """Find a recipe for every runtime, carry it out and judge it there, on crops of its own.

    Each runtime after the first takes the first one's recipe where that passes and is as fast as
    its own best, so that one file may serve all.

    Args:
        probe: float32 graph with all stages as outputs.
        shipped: the same with the image as its only output.
        calibration: crops.
        runtimes: by name.
        batch: images per run of the graph.
        noise: (B, C, H/8, W/8) where it is an input, else None.
        enforce_gates: whether a missed gate is an error, and recipes that miss one are repaired.
        report: told what is going on.

    Raises:
        ParityError: a gate is missed; stage, layers and mends are named.
    """
    begun = begin(
        probe,
        shipped,
        calibration,
        batch=batch,
        noise=noise,
        enforce_gates=enforce_gates,
        report=report,
    )
    search = begun.search
    made: dict[str, Made] = {}
    for runtime in runtimes:
        prefer = made[runtimes[0]].finding.recipe if made else None
        key = {
            **begun.key,
            "runtime": runtime,
            "version": version(runtime),
            "prefer": None if prefer is None else asdict(prefer),
        }
        find = functools.partial(search.find, runtime, prefer, repair=enforce_gates)
        finding = cached(key, find, report)
        model = search.make(finding.recipe)
        report(f"{runtime}: gates")
        with running(model, runtime) as run:
            quality = begun.for_gates(run)
        checks = gate_checks(runtime, quality)
        if enforce_gates:
            require_gates(runtime, checks, finding)
        wins = {name: win for each in made.values() for name, win in each.finding.layers.items()}
        wins |= finding.layers
        excluded = reasons(finding.recipe.float_nodes, wins)
        made[runtime] = Made(model=model, finding=finding, excluded=excluded, checks=checks)
    return made


def name_files(made: Mapping[str, Made], folder: Path) -> dict[str, Path]:
    """Return the file of each runtime: `model.onnx` for the first and all with its recipe."""
    first = next(iter(made.values()))
    return {
        runtime: folder
        / ("model.onnx" if each.finding.recipe == first.finding.recipe else f"model-{runtime}.onnx")
        for runtime, each in made.items()
    }


def gate_checks(runtime: str, quality: Quality) -> list[Check]:
    """Return the two gates of int8."""
    nearness = min(quality.worst_psnr_db, PSNR_CEILING)
    return [
        Check(
            form=f"int8 in {runtime}",
            stage=RESTORED,
            reference="fp32 on unseen crops",
            metric="psnr_db",
            value=nearness,
            threshold=MIN_PSNR_INT8,
            at_least=True,
            passed=bool(nearness >= MIN_PSNR_INT8),
        ),
        Check(
            form=f"int8 in {runtime}",
            stage=RESTORED,
            reference="ground truth of unseen crops",
            metric="lost_db",
            value=quality.lost_db,
            threshold=MAX_LOST_INT8,
            at_least=False,
            passed=bool(quality.lost_db <= MAX_LOST_INT8),
        ),
    ]


def require_gates(runtime: str, checks: Sequence[Check], finding: Finding) -> None:
    """Require both gates.

    Raises:
        ParityError: one is missed; it names the stage and the layers that do the harm.
    """
    missed = [check for check in checks if not check.passed]
    if not missed:
        return
    blame = ""
    if finding.stages:
        stage = min(finding.stages, key=lambda name: finding.stages[name])
        layers = ", ".join(f"{name} ({win:.3f} dB)" for name, win in [*finding.layers.items()][:3])
        blame = (
            f"; quantized alone, stage {stage!r} is at {finding.stages[stage]:.1f} dB, the lowest; "
            f"kept in float32, most is won by {layers or 'no single layer'}"
        )
    raise ParityError(
        f"int8 in {runtime} misses its gate{blame}",
        got=", ".join(f"{check.metric} {check.value:.3g}" for check in missed),
        expected=", ".join(
            f"{check.metric} {'>=' if check.at_least else '<='} {check.threshold:g}"
            for check in missed
        ),
        fix="calibrate on photos like those of the application (--calibration DIR), train longer, "
        "or use --precision fp16",
    )
