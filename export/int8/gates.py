"""The gates of int8, whatever made the model."""

from collections.abc import Mapping, Sequence
from typing import Any

from elir_edge.errors import ParityError
from elir_edge.runtime.manifest import Check
from export.calibration.judge import Quality
from export.int8.search import SearchResult
from export.onnx_graph.to_onnx import RESTORED
from export.parity import MAX_LOST_INT8, MIN_PSNR_INT8, PSNR_CEILING, judge


def gate_checks(runtime: str, quality: Quality) -> list[Check]:
    """Return the two gates: nearness to float32 (the worst crop), and PSNR lost (the mean)."""
    nearness = min(quality.worst_psnr_db, PSNR_CEILING)
    form, truth = f"int8 in {runtime}", "ground truth of unseen crops"
    near = "fp32 on unseen crops"
    return [
        judge(form, RESTORED, near, "psnr_db", nearness, at_least=MIN_PSNR_INT8),
        judge(form, RESTORED, truth, "lost_db", quality.lost_db, at_most=MAX_LOST_INT8),
    ]


def require_gates(what: str, checks: Sequence[Check], *, blame: str = "", fix: str) -> None:
    """Require both gates.

    Args:
        what: is judged.
        checks: by `gate_checks`.
        blame: what does the harm, if that is known (`blame_of`).
        fix: what to do where a gate is missed.

    Raises:
        ParityError: one is missed.
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
    """Return the two gates of what a search found.

    Args:
        runtime: what the result ran in, as the checks name it.
        quality: on the gates' crops.
        result: of the search.
        enforce: whether both must be kept.

    Raises:
        ParityError: one is missed; it names the stage and the layers that do the harm.
    """
    checks = gate_checks(runtime, quality)
    if enforce:
        require_gates_of_search(result.runtime, checks, result)
    return checks


def require_gates_of_search(
    runtime: str, checks: Sequence[Check], result: SearchResult[Any]
) -> None:
    """Require both gates of what a search found.

    Raises:
        ParityError: one is missed; it names the stage and the layers that do the harm.
    """
    require_gates(
        f"int8 in {runtime}",
        checks,
        blame=blame_of(result),
        fix="calibrate on photos like those of the application (--calibration DIR), train longer, "
        "or use --precision fp16",
    )


def blame_of(result: SearchResult[Any]) -> str:
    """Return the stage and the layers that do the harm; nothing where none was looked for."""
    if not result.stages:
        return ""
    stage = min(result.stages, key=lambda name: result.stages[name])
    layers = ", ".join(f"{name} ({win:.3f} dB)" for name, win in [*result.layers.items()][:3])
    return (
        f"; quantized alone, stage {stage!r} is at {result.stages[stage]:.1f} dB, the lowest; "
        f"kept in float32, most is won by {layers or 'no single layer'}"
    )


def reasons(float_nodes: Sequence[str], layers: Mapping[str, float]) -> dict[str, str]:
    """Return for convolutions in float32 what that wins, for the manifest."""
    return {name: f"wins {layers[name]:.3f} dB" for name in float_nodes}
