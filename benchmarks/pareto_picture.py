"""The picture of `pareto.py`: per task, LPIPS-squeeze and PSNR over milliseconds."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from elir_edge.evaluation.trajectories import load_matplotlib
from elir_edge.files import replacing_file
from elir_edge.tasks import get_task

_PANELS = {"lpips": "LPIPS-squeeze, down is better", "psnr_db": "PSNR in dB, up is better"}
_COLOURS = {
    "torch eager": "#000000",
    "ONNX Runtime": "#0072B2",
    "OpenVINO": "#D55E00",
    "LiteRT": "#009E73",
    "ncnn": "#CC79A7",
    "": "#7F7F7F",
}
"""By runtime, told apart by colour-blind readers as well (Okabe and Ito)."""
_MARKERS = {"fp32": "o", "int8": "s"}
_OTHERS = {"classical": "x", "size": "^", "peer": "*"}
_LINES = {
    "size": "other sizes (int8 filled)",
    "peer": "peers, ncnn",
    "classical": "classical, best named",
}
_WIDTH, _ROW_HEIGHT, _DPI = 8.6, 2.35, 150
_SHORT = {
    "non-local means": "NLM",
    "unsharp masking": "unsharp",
    "weighted mean": "w. mean",
    "Real-ESRGAN": "R-ESRGAN",
    "animevideov3 x4": "anime",
    "bilateral": "bilat.",
}


def draw(path: Path, results: Sequence[Mapping[str, Any]]) -> None:
    """Draw all tasks' results."""
    height = 0.7 + _ROW_HEIGHT * len(results)
    figure = load_matplotlib()(figsize=(_WIDTH, height), layout="constrained")
    panels = figure.subplots(len(results), len(_PANELS), squeeze=False)
    handles: dict[str, Any] = {}
    for row, result in enumerate(results):
        for column, metric in enumerate(_PANELS):
            handles |= _panel(panels[row, column], result, metric)
        task = get_task(result["task"])
        side = result["settings"]["side"]
        panels[row, 0].set_title(f"{task.name}: {task.title}, {side} x {side}", fontsize=9)
        panels[row, 1].set_title(_conditions(result), fontsize=7, loc="right")
    for column in range(len(_PANELS)):
        panels[-1, column].set_xlabel("milliseconds", fontsize=8)
    processors = dict.fromkeys(result["machine"]["processor"] for result in results)
    figure.suptitle("Quality against time, " + ", ".join(processors), fontsize=9)
    figure.legend(
        handles.values(), handles.keys(), loc="outside lower center", ncols=4, fontsize=7.5
    )
    with replacing_file(path) as temporary:
        figure.savefig(temporary, format="png", dpi=_DPI)


def _conditions(result: Mapping[str, Any]) -> str:
    settings = result["settings"]
    count = len(settings["photos"])
    return f"{count} photo{'s' if count != 1 else ''}, {settings['threads']} threads"


def _panel(panel: Any, result: Mapping[str, Any], metric: str) -> dict[str, Any]:
    """Draw one panel; return what its legend names."""
    rows = [r for r in result["rows"] if r["reason"] is None and r["ms"] is not None]
    handles: dict[str, Any] = {}
    for row in rows:
        if row["family"] == "steps":
            continue
        name, style = _style(row)
        handles[name] = panel.scatter(row["ms"], row[metric], **style)
    handles |= _steps(panel, rows, metric)
    handles |= _front(panel, rows, result["front"][metric], metric)
    for row in result["rows"]:
        if row["family"] == "input":
            name = "input"
            handles[name] = panel.axhline(row[metric], color="#7F7F7F", linestyle=":", linewidth=1)
    _label(panel, rows, metric)
    panel.set_xscale("log")
    panel.set_ylabel(_PANELS[metric], fontsize=7)
    panel.tick_params(labelsize=7, which="both")
    _plain_ticks(panel)
    panel.margins(x=0.06, y=0.12)
    panel.grid(alpha=0.3, linewidth=0.5)
    return handles


def _plain_ticks(panel: Any) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    panel.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
    panel.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    panel.xaxis.set_minor_formatter(NullFormatter())
    panel.minorticks_off()


def _style(row: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return a point's name in the legend, and how it is drawn."""
    colour = _COLOURS.get(row["runtime"], "#000000")
    if row["family"] == "nano":
        name = f"nano, {row['runtime']} {row['precision']}"
        return name, {"color": colour, "marker": _MARKERS[row["precision"]], "s": 26, "zorder": 4}
    style: dict[str, Any] = {"marker": _OTHERS[row["family"]], "s": 34, "zorder": 3}
    if row["family"] == "size":
        filled = row["precision"] == "int8"
        style |= {"edgecolors": colour, "facecolors": colour if filled else "white"}
    else:
        style |= {"color": colour}
    return _LINES[row["family"]], style


def _steps(panel: Any, rows: Sequence[Mapping[str, Any]], metric: str) -> dict[str, Any]:
    """Draw the curve over K, from its first number to its last."""
    points = sorted((r["steps"], r["ms"], r[metric]) for r in rows if r["family"] == "steps")
    if not points:
        return {}
    colour = _COLOURS["ONNX Runtime"]
    ms, values = [p[1] for p in points], [p[2] for p in points]
    (line,) = panel.plot(
        ms, values, color=colour, linewidth=0.8, marker=".", markersize=3, zorder=2
    )
    (first, *_), (last, *_) = points[0], points[-1]
    _text(panel, f"{first}", ms[0], values[0], ("right", "bottom"), color=colour)
    if last != first:
        _text(panel, f"{last}", ms[-1], values[-1], ("left", "bottom"), color=colour)
    return {f"K = {first} to {last}, ONNX Runtime fp32": line}


def _front(
    panel: Any, rows: Sequence[Mapping[str, Any]], titles: Sequence[str], metric: str
) -> dict[str, Any]:
    """Draw the staircase of what no other row beats."""
    found = sorted((r["ms"], r[metric]) for r in rows if r["title"] in titles)
    if not found:
        return {}
    x, y = zip(*found, strict=True)
    (line,) = panel.step(
        x,
        y,
        where="post",
        color="#E69F00",
        linewidth=3,
        alpha=0.45,
        zorder=1,
        solid_capstyle="butt",
    )
    return {"not beaten in both": line}


def _label(panel: Any, rows: Sequence[Mapping[str, Any]], metric: str) -> None:
    """Name peers, sizes, and the classical method that is best by this metric."""
    named = [r for r in rows if r["family"] in ("peer", "size") and r["precision"] == "fp32"]
    classical = [r for r in rows if r["family"] == "classical"]
    sign = -1 if metric == "lpips" else 1
    named += sorted(classical, key=lambda row: sign * row[metric])[-1:]
    middle = math.sqrt(min(r["ms"] for r in rows) * max(r["ms"] for r in rows)) if rows else 0
    for row in named:
        text = row["title"].removesuffix(f", {row['runtime']} {row['precision']}")
        for long, short in _SHORT.items():
            text = text.replace(long, short)
        side = "right" if row["ms"] > middle else "left"
        _text(panel, text, row["ms"], row[metric], (side, "bottom"))


def _text(
    panel: Any, text: str, x: float, y: float, sides: tuple[str, str], color: str = "black"
) -> None:
    """Write beside a point, on the side away from the panel's edge."""
    offset = (-4 if sides[0] == "right" else 3, 2)
    note = panel.annotate(
        text,
        (x, y),
        xytext=offset,
        textcoords="offset points",
        ha=sides[0],
        va=sides[1],
        color=color,
        fontsize=6.5,
        zorder=6,
    )
    note.set_in_layout(False)
