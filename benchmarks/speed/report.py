"""The report of the speed benchmark, for people and for `--compare`."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from benchmarks.roofline import Estimate
from benchmarks.speed import compare, paper
from benchmarks.speed.rows import EQUAL_DB, Row
from benchmarks.speed.turns import LEAD, PAPER, TimingProtocol
from elir_edge.console import console

ESTIMATES = "estimates by rooflines, not measured: no chip below was at hand"
_SPEED: dict[str, Callable[[Row], str]] = {
    "ms": lambda row: _number(row.median_ms, 1),
    "p90": lambda row: _number(row.p90_ms, 1),
    "FPS": lambda row: _number(row.fps, 1),
    "whole FPS": lambda row: _number(row.end_to_end_fps, 1),
    "ratio": lambda row: _with_interval(row.ratio, row.ratio_interval),
}
_COST: dict[str, Callable[[Row], str]] = {
    "MB": lambda row: _number(row.megabytes, 1),
    "GMAC": lambda row: _number(row.gmac, 2),
    "memory MB": lambda row: _number(row.peak_megabytes, 0),
    "PSNR dB": lambda row: "equal" if row.psnr_db == EQUAL_DB else _number(row.psnr_db, 1),
    "of peak": lambda row: _percent(row.share_of_peak),
}


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.0f} %"


def _with_interval(value: float | None, interval: Sequence[float] | None) -> str:
    if value is None:
        return ""
    return f"{value:.2f}" + ("" if interval is None else f" [{interval[0]:.2f}, {interval[1]:.2f}]")


def table_of(
    title: str, rows: Sequence[Row], columns: dict[str, Callable[[Row], str]] = _SPEED
) -> Table:
    """Return the table of a group's measured rows, narrow enough for 80 columns."""
    table = Table("", title=title, box=SIMPLE_HEAD, padding=(0, 1, 0, 0), collapse_padding=True)
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        if row.reason is None:
            table.add_row(row.title, *(cell(row) for cell in columns.values()))
    return table


def title_of(report: dict[str, Any], row: Row) -> str:
    """Return the title of a group's table."""
    protocol = TimingProtocol(**report["protocol"])
    weights = "random weights" if row.model == "paper" else "shipped"
    short = f"; {protocol.images} images after {protocol.warmup}, not the paper's protocol"
    return (
        f"{row.task}, {row.model} ({weights}), K = {row.steps}, {row.size} x {row.size}, "
        f"batch 1, {report['threads']} threads{'' if follows_paper(protocol) else short}"
    )


def follows_paper(protocol: TimingProtocol) -> bool:
    """Whether as much is measured as the paper's protocol has it, or more."""
    return protocol.images >= PAPER.images and protocol.warmup >= PAPER.warmup


def groups_of(rows: Sequence[Row]) -> list[list[Row]]:
    """Return rows by task, model, size and K, in their order."""
    groups: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.task, row.model, row.size, row.steps), []).append(row)
    return list(groups.values())


def paper_lines(rows: Sequence[Row]) -> list[str]:
    """Return the paper's figures of the same model as a group's, a line each."""
    row = rows[0]
    figures = paper.figures_of(row.model, row.task, row.parameters, row.steps)
    return [
        f"the paper, not measured here: {figure.fps:g} FPS, {1000 / figure.fps:.1f} ms on an "
        f"{paper.GPU} ({figure.source})"
        for figure in figures
    ]


def missing_lines(rows: Sequence[Row]) -> list[str]:
    """Return why rows were not measured, a line for each reason."""
    titles: dict[str, list[str]] = {}
    for row in rows:
        if row.reason is not None:
            titles.setdefault(row.reason, []).append(row.title)
    return [f"{', '.join(names)}: not measured, {reason}" for reason, names in titles.items()]


def estimate_lines(estimates: Sequence[Estimate]) -> list[str]:
    """Return estimates, a line each."""
    return [
        f"{e.chip}, {e.arithmetic}: "
        + (
            f"none, {e.reason}"
            if e.milliseconds is None or e.fps is None
            else f"{e.milliseconds:.3g} ms, {e.fps:.3g} FPS = {e.formula}"
        )
        for e in estimates
    ]


def noted_lines(report: dict[str, Any], rows: Sequence[Row]) -> list[str]:
    """Return under what load, clock and protocol a report was measured."""
    others = [row.others for row in rows if row.others is not None]
    clocks = [row.clock_mhz for row in rows if row.clock_mhz is not None]
    protocol, machine = report["protocol"], report["machine"]
    lines = [
        f"protocol: {protocol['warmup']} images to warm up, {protocol['images']} measured, "
        f"batch 1, synchronised, in turns of {protocol['turn']} that begin with {LEAD} untimed; "
        f"{report['photos']}",
        f"ratio: to {_references(rows)} in the same run, [interval of at least 95 %] over turns",
        f"{machine['processor']}, {machine['cores']} cores, {machine['device']}, {report['date']}; "
        f"load {report['load_before']} before, {report['load_after']} after",
    ]
    if others:
        lines.append(f"other processes kept {min(others):.2f} to {max(others):.2f} cores busy")
    if clocks:
        lines.append(f"clock {min(clocks):.0f} to {max(clocks):.0f} MHz")
    for group, rates in report["peaks"].items():
        shown = ", ".join(f"{rate:.0f} in {name}" for name, rate in rates.items())
        lines.append(f"peak of this machine beside {group}, GMAC/s: {shown}")
    return lines


def _references(rows: Sequence[Row]) -> str:
    names = dict.fromkeys(row.reference for row in rows if row.reference is not None)
    return ", ".join(map(repr, names)) or "none"


def show_group(report: dict[str, Any], group: Sequence[Row]) -> None:
    """Print a group: measured rows, what the paper says, what could not be measured."""
    console.print(table_of(title_of(report, group[0]), group))
    console.print(table_of("what it costs", group, _COST))
    for line in (*paper_lines(group), *missing_lines(group)):
        console.print(line, markup=False, soft_wrap=True)


def show_notes(report: dict[str, Any], rows: Sequence[Row]) -> None:
    """Print under what circumstances all rows were measured."""
    for line in noted_lines(report, rows):
        console.print(line, markup=False, soft_wrap=True)
    console.print(f"versions {report['versions']}", markup=False, soft_wrap=True)


def show_estimates(title: str, estimates: Sequence[Estimate]) -> None:
    """Print estimates, apart from what was measured."""
    console.print(f"{title}: {ESTIMATES}", markup=False, soft_wrap=True)
    for line in estimate_lines(estimates):
        console.print(f"  {line}", markup=False, soft_wrap=True)


def markdown(report: dict[str, Any], rows: Sequence[Row]) -> str:
    """Return the measured rows, the paper's figures and the circumstances, for a README."""
    lines: list[str] = []
    for group in groups_of(rows):
        columns = {**_SPEED, **_COST}
        lines += [title_of(report, group[0]), "", f"| | {' | '.join(columns)} |"]
        lines += ["|" + "---|" * (1 + len(columns))]
        for row in group:
            if row.reason is None:
                values = (cell(row) for cell in columns.values())
                lines.append(f"| {row.title} | {' | '.join(values)} |")
        lines += ["", *(f"- {line}" for line in (*paper_lines(group), *missing_lines(group))), ""]
    lines += [f"- {line}" for line in noted_lines(report, rows)]
    return "\n".join(lines) + "\n"


def as_json(report: dict[str, Any], rows: Sequence[Row]) -> dict[str, Any]:
    """Return what `compare.read_report` reads."""
    return {
        "format": compare.FORMAT,
        "version": compare.VERSION,
        **report,
        "rows": [asdict(row) for row in rows],
        "paper": [
            {"task": f.task, "millions": f.millions, "steps": f.steps, "fps": f.fps}
            | {"gpu": paper.GPU, "source": f.source}
            for group in groups_of(rows)
            for f in paper.figures_of(
                group[0].model, group[0].task, group[0].parameters, group[0].steps
            )
        ],
    }


def show_comparison(
    found: compare.ReportComparison, old: dict[str, Any], new: dict[str, Any]
) -> None:
    """Print what became worse, and what could not be judged."""
    if old["protocol"] != new["protocol"]:
        pair = f"{old['protocol']} before, {new['protocol']} now"
        console.print(f"the protocols differ: {pair}", markup=False, soft_wrap=True)
    if old["versions"] != new["versions"]:
        names = {*old["versions"], *new["versions"]}
        changed = ", ".join(
            f"{name} {old['versions'].get(name)} -> {new['versions'].get(name)}"
            for name in sorted(names)
            if old["versions"].get(name) != new["versions"].get(name)
        )
        console.print(f"versions differ: {changed}", markup=False, soft_wrap=True)
    for line in (*map(str, found.regressions), *found.unjudged):
        console.print(line, markup=False, soft_wrap=True)
    console.print(
        f"{found.compared} rows compared, {found.skipped} of the old report not measured now; "
        f"{len(found.regressions)} regressions; {compare.RULE}",
        markup=False,
        soft_wrap=True,
    )
