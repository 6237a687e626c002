"""The picture of `growth.py`: images a second and memory against pixels, K and batch."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from elir_edge.errors import ElirError
from elir_edge.evaluation.trajectories import load_matplotlib
from elir_edge.files import replacing_file

_COLUMNS = {
    "whole": "one graph: side (exponents: of pixels)",
    "tiled": "tiles of one graph: side (of pixels)",
    "steps": "K, Euler steps",
    "batch": "images per run",
}
"""Titles of the axes, by series."""
_COLOURS = {"onnxruntime": "#0072B2", "openvino": "#D55E00"}
_NAMES = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}
_MARKERS = {1: "o", 2: "s"}
_WIDTH, _HEIGHT, _DPI = 8.8, 5.2, 150


def draw(path: Path, report: Mapping[str, Any]) -> None:
    """Draw a column per series: images a second above, memory below, all axes logarithmic.

    A series with a single point is left out.

    Raises:
        ElirError: all are.
    """
    figure = load_matplotlib()(figsize=(_WIDTH, _HEIGHT), layout="constrained")
    drawn = {law["series"]: None for law in report["exponents"]}
    if not drawn:
        raise ElirError("no picture: no series has two measured points")
    panels = figure.subplots(2, len(drawn), squeeze=False, sharex="col", sharey="row")
    handles: dict[str, Any] = {}
    for column, series in enumerate(drawn):
        laws = [law for law in report["exponents"] if law["series"] == series]
        for law in laws:
            handles |= _lines(panels[:, column], _points(report, law), law)
        panels[1, column].set_xlabel(_COLUMNS[series], fontsize=8)
        for row, kind in enumerate(("milliseconds", "memory")):
            _finish(panels[row, column], _points(report, laws[0]))
            _note(panels[row, column], laws, kind)
    panels[0, 0].set_ylabel("images a second", fontsize=8)
    panels[1, 0].set_ylabel("peak memory over idle, MB", fontsize=8)
    figure.suptitle(
        f"{report['task']}, float32; in the panels: exponents of milliseconds per run and of MB",
        fontsize=8,
    )
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4, fontsize=8)
    with replacing_file(path) as temporary:
        figure.savefig(temporary, format="png", dpi=_DPI)


def _points(report: Mapping[str, Any], law: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the measured points that a law was fitted to."""
    keys = ("series", "runtime", "threads")
    return [
        p for p in report["points"] if all(p[k] == law[k] for k in keys) and p["reason"] is None
    ]


def _lines(
    panels: Any, points: Sequence[Mapping[str, Any]], law: Mapping[str, Any]
) -> dict[str, Any]:
    """Draw one law's points above and below; return the line for the legend, by its name."""
    x = [p["x"] for p in points]
    style = {
        "color": _COLOURS.get(law["runtime"], "black"),
        "marker": _MARKERS.get(law["threads"], "^"),
        "markerfacecolor": "white" if law["threads"] == 1 else None,
        "linestyle": "--" if law["threads"] == 1 else "-",
        "markersize": 4,
        "linewidth": 1,
    }
    (line,) = panels[0].plot(x, [p["fps"] for p in points], **style)
    panels[1].plot(x, [p["memory_mb"] for p in points], **style)
    threads = "1 thread" if law["threads"] == 1 else f"{law['threads']} threads"
    return {f"{_NAMES.get(law['runtime'], law['runtime'])}, {threads}": line}


def _finish(panel: Any, points: Sequence[Mapping[str, Any]]) -> None:
    from matplotlib.ticker import LogLocator, StrMethodFormatter

    panel.set_xscale("log")
    panel.set_yscale("log")
    panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    panel.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    panel.minorticks_off()
    panel.set_xticks([p["x"] for p in points], [_tick(p["label"]) for p in points])
    panel.grid(alpha=0.3, linewidth=0.5)
    panel.tick_params(labelsize=7)


def _tick(label: str) -> str:
    return label.split(" x ")[0].removeprefix("K = ").removeprefix("batch ")


def _note(panel: Any, laws: Sequence[Mapping[str, Any]], kind: str) -> None:
    """Write the exponents into a corner that is empty: speed falls, memory rises."""
    above = kind == "milliseconds"
    for i, law in enumerate(laws):
        panel.annotate(
            law["shown"][kind],
            (0.03, 0.03 if above else 0.97),
            xytext=(0, 8 * (len(laws) - 1 - i) if above else -8 * i),
            textcoords="offset points",
            xycoords="axes fraction",
            va="bottom" if above else "top",
            color=_COLOURS.get(law["runtime"], "black"),
            style="italic" if law["threads"] == 1 else "normal",
            fontsize=6.5,
        )
