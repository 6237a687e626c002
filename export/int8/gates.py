"""The quality gates of int8 models, for all engines."""

from collections.abc import Sequence
from typing import Any

from elir_edge.errors import ParityError
from elir_edge.runtime.manifest import Check
from export.calibration.judge import Quality
from export.int8.cost import Gain
from export.int8.search import SearchResult
from export.onnx_graph.to_onnx import RESTORED
from export.parity import MAX_LOST_INT8, MIN_PSNR_INT8, PSNR_CEILING, judge


def gate_checks(runtime: str, quality: Quality) -> list[Check]:
    """Return the checks of the two gates.

    The first is the PSNR against float32 of the worst crop, the second the mean PSNR that is lost
    against the ground truth, both in dB.

    Args:
        runtime: name of the runtime.
        quality: the quality on the gate crops.
    """
    nearness = min(quality.worst_psnr_db, PSNR_CEILING)
    form, truth = f"int8 in {runtime}", "ground truth of unseen crops"
    near = "fp32 on unseen crops"
    return [
        judge(form, RESTORED, near, "psnr_db", nearness, at_least=MIN_PSNR_INT8),
        judge(form, RESTORED, truth, "lost_db", quality.lost_db, at_most=MAX_LOST_INT8),
    ]


def require_gates(what: str, checks: Sequence[Check], *, blame: str = "", fix: str) -> None:
    """Require that both gates are passed.

    Args:
        what: the model that was judged, for the message.
        checks: the checks of `gate_checks`.
        blame: the cause for the message, if it is known (`blame_of`).
        fix: advice for the message.

    Raises:
        ParityError: a gate is missed.
    """
    missed = [check for check in checks if not check.passed]
    if missed:
        raise ParityError(
            f"{what} misses its gate{blame}",
            got=", ".join(f"{check.metric} {check.value:.3g}" for check in missed),
            expected=", ".join(
                f"{check.metric} {'>=' if check.at_least else '<='} {check.threshold:g}"
                for check in missed
            ),
            fix=fix,
        )


def gates_of_search(
    runtime: str, quality: Quality, result: SearchResult[Any], *, enforce: bool
) -> list[Check]:
    """Return the checks of the two gates for a search result.

    Args:
        runtime: the runtime's name in the checks.
        quality: the quality on the gate crops.
        result: the search result.
        enforce: whether a missed gate is an error.

    Raises:
        ParityError: a gate is missed and enforced; the worst stage and layers are named.
    """
    checks = gate_checks(runtime, quality)
    if enforce:
        require_gates_of_search(result.runtime, checks, result)
    return checks


def require_gates_of_search(
    runtime: str, checks: Sequence[Check], result: SearchResult[Any]
) -> None:
    """Require that a search result passes both gates.

    Args:
        runtime: the runtime's name in the message.
        checks: the checks of `gate_checks`.
        result: the search result.

    Raises:
        ParityError: a gate is missed; the worst stage and layers are named.
    """
    require_gates(
        f"int8 in {runtime}",
        checks,
        blame=blame_of(result),
        fix="calibrate on photos like those of the application (--calibration DIR), train longer, "
        "or use --precision fp16",
    )


def blame_of(result: SearchResult[Any]) -> str:
    """Return a phrase about the worst stage and layers; empty if the search did not rate them."""
    if not result.stages:
        return ""
    stage = min(result.stages, key=lambda name: result.stages[name])
    gains = ", ".join(gain.title for gain in result.gains[:3])
    return (
        f"; the worst stage is {stage!r}, at {result.stages[stage]:.1f} dB if quantized alone; "
        f"the largest gains from float32 are those of {gains or 'no single layer'}"
    )


def reasons(float_nodes: Sequence[str], gains: Sequence[Gain]) -> dict[str, str]:
    """Return the reasons why convolutions stay in float32, for the manifest.

    Args:
        float_nodes: names of convolutions in float32.
        gains: what they gain; of several for one convolution, the last counts.
    """
    by_name = {name: gain for gain in gains for name in gain.names}
    return {name: _reason(by_name[name]) for name in float_nodes}


def _reason(gain: Gain) -> str:
    others = len(gain.names) - 1
    together = f" together with {others} neighbours" if others else ""
    return f"float32 gains {gain.gain_db:.3f} dB{together}"
