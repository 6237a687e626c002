"""Two reports of the speed benchmark side by side: what became worse by more than noise."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elir_edge.errors import ElirError, UsageError

FORMAT, VERSION = "elir-edge speed", 2
"""What a report says that it is; reports of version 1 had no version."""
SPEED_MARGIN = 0.05
MEMORY_MARGIN, MEMORY_FLOOR_MB = 0.10, 8.0
FILE_MARGIN = 0.02
PSNR_MARGIN_DB = 0.5
RULE = (
    f"worse is: speed, where the whole new interval of the ratio lies below the whole old one and "
    f"its middle fell by more than {SPEED_MARGIN:.0%} (of the reference row itself: of its share "
    f"of the measured peak); memory, by more than {MEMORY_MARGIN:.0%} and {MEMORY_FLOOR_MB:g} MB; "
    f"the file, by more than {FILE_MARGIN:.0%}; PSNR against fp32, by more than "
    f"{PSNR_MARGIN_DB:g} dB; a row that was measured and no longer is"
)
_MACHINE = ("device", "processor", "cores", "system", "gpu")
_KEY = ("task", "model", "size", "steps", "target", "precision", "runtime")
_ALONE, _WHOLE, _SHARE = "ratio", "end_to_end_ratio", "share_of_peak"
_RATIOS = (_ALONE, _WHOLE, _SHARE)
_NUMBERS = ("peak_megabytes", "megabytes", "psnr_db", *_RATIOS)
_FIELDS = {
    *_KEY, "title", "reason", "reference", *_NUMBERS, *(f"{name}_interval" for name in _RATIOS)
}  # fmt: skip
"""Of a row, that are compared."""
_HUGE = 1e12

Report = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Regression:
    """What became worse: the row, the quantity, and both values."""

    row: str
    what: str
    old: str
    new: str

    def __str__(self) -> str:
        """Return a line for people."""
        return f"{self.row}: {self.what} {self.old} -> {self.new}"


@dataclass(frozen=True, kw_only=True)
class ReportComparison:
    """The result of a comparison.

    Attributes:
        regressions: what became worse.
        compared: how many rows both reports measured.
        unjudged: rows whose speed cannot be judged, with the reason.
        skipped: rows of the old report that the new one did not ask for.
    """

    regressions: tuple[Regression, ...]
    compared: int
    unjudged: tuple[str, ...]
    skipped: int


def read_report(path: Path) -> Report:
    """Read a report.

    Raises:
        UsageError: it is none, or of another version.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path} cannot be read as a report of fps.py", got=str(error)) from error
    ours = isinstance(found, dict) and found.get("format") == FORMAT
    if not ours or found.get("version") != VERSION:
        version = found.get("version") if ours else None
        raise UsageError(
            f"{path} is no report that this version can compare",
            got="another file" if version is None else f"version {version}",
            expected=f"{FORMAT}, version {VERSION}",
            fix="measure anew with --out",
        )
    facts = all(isinstance(found.get(name), dict) for name in ("machine", "protocol", "versions"))
    rows = found.get("rows")
    if not facts or "threads" not in found or not isinstance(rows, list) or not all(map(_ok, rows)):
        raise UsageError(
            f"{path} is damaged: fields are missing or of another type",
            fix="measure anew with --out",
        )
    return dict(found)


def _refuse_constant(text: str) -> float:
    raise ValueError(f"{text} is no number of JSON")


def _ok(row: object) -> bool:
    """Whether a row has all that is compared, of its types."""
    if not isinstance(row, dict) or not set(row) >= _FIELDS:
        return False
    texts = all(isinstance(row[name], str | int) for name in (*_KEY, "title"))
    names = all(row[name] is None or isinstance(row[name], str) for name in ("reason", "reference"))
    numbers = all(row[name] is None or _is_number(row[name]) for name in _NUMBERS)
    intervals = [row[f"{name}_interval"] for name in _RATIOS]
    return texts and names and numbers and all(each is None or _is_pair(each) for each in intervals)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and abs(value) < _HUGE


def _is_pair(value: object) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2 and all(map(_is_number, value))


def require_same_machine(old: Report, machine: dict[str, Any], threads: int) -> None:
    """Require that a report is of the machine at hand, with as many threads.

    Raises:
        UsageError: it is of another; milliseconds and ratios would say nothing about the code.
    """
    theirs = {**{name: old["machine"].get(name) for name in _MACHINE}, "threads": old["threads"]}
    ours = {**{name: machine.get(name) for name in _MACHINE}, "threads": threads}
    other = [name for name in ours if ours[name] != theirs[name]]
    if other:
        raise UsageError(
            "the report to compare with is of another machine",
            got=", ".join(f"{name} {theirs[name]}" for name in other),
            expected=", ".join(f"{name} {ours[name]}" for name in other),
            fix="compare reports of one machine, measured with the same threads",
        )


def compare(old: Report, new: Report) -> ReportComparison:
    """Compare the rows that both reports have, by `RULE`.

    Raises:
        ElirError: they have none in common.
    """
    before = {_key(row): row for row in old["rows"] if row["reason"] is None}
    after = {_key(row): row for row in new["rows"]}
    common = [key for key in before if key in after]
    if not common:
        raise ElirError(
            "the two reports have no row in common",
            got=", ".join(sorted({f"{key[0]} {key[1]} {key[2]}" for key in before})) or "no rows",
            fix="measure the same tasks, models, sizes and runtimes",
        )
    regressions: list[Regression] = []
    unjudged: list[str] = []
    for key in common:
        name, one, other = _name(after[key]), before[key], after[key]
        if other["reason"] is not None:
            regressions.append(
                Regression(row=name, what="is no longer measured:", old="ms", new=other["reason"])
            )
            continue
        regressions += [Regression(row=name, **worse) for worse in _worse(one, other)]
        reason = _why_unjudged(one, other)
        if reason is not None:
            unjudged.append(f"{name}: {reason}")
    return ReportComparison(
        regressions=tuple(regressions),
        compared=len(common),
        unjudged=tuple(unjudged),
        skipped=len(before) - len(common),
    )


def _key(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in _KEY)


def _name(row: dict[str, Any]) -> str:
    return f"{row['task']} {row['model']} {row['size']}, {row['title']}"


def _quantities(row: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    if row["reference"] == row["title"]:
        return ((_SHARE, "share of the peak"),)
    return ((_ALONE, "speed alone"), (_WHOLE, "speed end to end"))


def _why_unjudged(old: dict[str, Any], new: dict[str, Any]) -> str | None:
    """Return why speed was not judged; None where it was."""
    if old["reference"] != new["reference"]:
        return f"speed not judged, compared with {old['reference']!r} before"
    for name, _ in _quantities(new):
        if old[f"{name}_interval"] is None or new[f"{name}_interval"] is None:
            return "speed not judged, too few turns or no peak was measured"
    return None


def _worse(old: dict[str, Any], new: dict[str, Any]) -> Iterator[dict[str, str]]:
    if old["reference"] == new["reference"]:
        for name, what in _quantities(new):
            if slower(old, new, name):
                yield {"what": what, "old": _shown(old, name), "new": _shown(new, name)}
    pairs = (
        ("peak_megabytes", "peak memory", "MB", memory_grew),
        ("megabytes", "file", "MB", file_grew),
        ("psnr_db", "PSNR against fp32", "dB", psnr_fell),
    )
    for name, what, unit, judge in pairs:
        one, other = old[name], new[name]
        if one is not None and other is not None and judge(one, other):
            yield {"what": what, "old": f"{one:g} {unit}", "new": f"{other:g} {unit}"}


def slower(old: dict[str, Any], new: dict[str, Any], name: str) -> bool:
    """Whether a ratio fell by more than noise and margin; False where an interval is missing."""
    before, after = old[f"{name}_interval"], new[f"{name}_interval"]
    if before is None or after is None:
        return False
    return bool(after[1] < before[0] and new[name] < (1 - SPEED_MARGIN) * old[name])


def memory_grew(old: float, new: float) -> bool:
    """Whether memory grew by more than both margins."""
    return new > (1 + MEMORY_MARGIN) * old and new > old + MEMORY_FLOOR_MB


def file_grew(old: float, new: float) -> bool:
    """Whether a file grew by more than the margin."""
    return new > (1 + FILE_MARGIN) * old


def psnr_fell(old: float, new: float) -> bool:
    """Whether PSNR fell by more than the margin, in dB."""
    return new < old - PSNR_MARGIN_DB


def _shown(row: dict[str, Any], name: str) -> str:
    low, high = row[f"{name}_interval"]
    return f"{row[name]:g} [{low:g}, {high:g}]"
