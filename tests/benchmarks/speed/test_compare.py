"""The rule of a comparison: it passes just inside, and fails just outside."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.speed.compare import (
    FORMAT,
    RULE,
    VERSION,
    Report,
    compare,
    read_report,
    require_same_machine,
)
from elir_edge.errors import ElirError, UsageError

_MACHINE = {
    "device": "this machine",
    "processor": "A",
    "cores": 2,
    "system": "Linux x86_64",
    "gpu": None,
}


def _row(title: str, **values: Any) -> dict[str, Any]:
    interval = {"ratio": 2.0, "end_to_end_ratio": 2.0, "share_of_peak": 0.5}
    intervals = {f"{name}_interval": [0.95 * v, 1.05 * v] for name, v in interval.items()}
    return {
        "task": "denoising",
        "model": "nano",
        "size": 256,
        "steps": 3,
        "target": "onnx",
        "precision": "fp32",
        "runtime": title,
        "title": title,
        "reason": None,
        "reference": "eager",
        "peak_megabytes": 100.0,
        "megabytes": 10.0,
        "psnr_db": 50.0,
        **interval,
        **intervals,
        **values,
    }


def _report(*rows: dict[str, Any], **more: Any) -> Report:
    return {
        "format": FORMAT,
        "version": VERSION,
        "machine": _MACHINE,
        "threads": 2,
        "protocol": {},
        "versions": {},
        "rows": list(rows),
        **more,
    }


def _regressions(**values: Any) -> list[str]:
    old, new = _report(_row("eager"), _row("ort")), _report(_row("eager"), _row("ort", **values))
    return [found.what for found in compare(old, new).regressions]


@pytest.mark.parametrize(
    ("values", "what"),
    [
        # The old interval is [1.9, 2.1].
        ({"ratio": 1.89, "ratio_interval": [1.8, 1.899]}, "speed alone"),
        (
            {"end_to_end_ratio": 1.89, "end_to_end_ratio_interval": [1.8, 1.899]},
            "speed end to end",
        ),
        ({"peak_megabytes": 110.1}, "peak memory"),
        ({"megabytes": 10.21}, "file"),
        ({"psnr_db": 49.49}, "PSNR against fp32"),
        ({"reason": "its process ended"}, "is no longer measured:"),
    ],
)
def test_just_outside(values: dict[str, Any], what: str) -> None:
    assert _regressions(**values) == [what]


@pytest.mark.parametrize(
    "values",
    [
        {},
        # The intervals touch.
        {"ratio": 1.85, "ratio_interval": [1.8, 1.9]},
        # Apart, but the middle fell by 5 % only.
        {"ratio": 1.9, "ratio_interval": [1.89, 1.899]},
        {"end_to_end_ratio": 1.9, "end_to_end_ratio_interval": [1.89, 1.899]},
        {"ratio": 2.5, "ratio_interval": [2.4, 2.6]},
        {"peak_megabytes": 109.9},
        {"megabytes": 10.19},
        {"psnr_db": 49.51},
        {"psnr_db": None},
    ],
)
def test_just_inside(values: dict[str, Any]) -> None:
    assert _regressions(**values) == []


def test_little_memory_may_grow_by_a_larger_share() -> None:
    old = _report(_row("eager", peak_megabytes=20.0))
    inside, outside = _row("eager", peak_megabytes=27.9), _row("eager", peak_megabytes=28.1)
    assert not compare(old, _report(inside)).regressions
    assert [r.what for r in compare(old, _report(outside)).regressions] == ["peak memory"]


def test_the_reference_row_is_compared_by_its_share_of_the_peak() -> None:
    """Its own ratio is always 1."""
    old = _report(_row("eager"))
    slow = {"share_of_peak": 0.47, "share_of_peak_interval": [0.46, 0.474]}
    found = compare(old, _report(_row("eager", **slow)))
    assert [str(r) for r in found.regressions] == [
        "denoising nano 256, eager: share of the peak 0.5 [0.475, 0.525] -> 0.47 [0.46, 0.474]"
    ]
    touching = {"share_of_peak": 0.47, "share_of_peak_interval": [0.46, 0.475]}
    assert not compare(old, _report(_row("eager", **touching))).regressions


def test_what_cannot_be_judged_is_said() -> None:
    old = _report(_row("eager"), _row("ort"), _row("openvino"))
    new = _report(
        _row("eager"),
        _row("ort", ratio_interval=None, ratio=0.1),
        _row("openvino", reference="ort", ratio=0.1, ratio_interval=[0.1, 0.1]),
    )
    found = compare(old, new)
    assert not found.regressions
    assert found.compared == 3
    assert ["too few turns" in line for line in found.unjudged] == [True, False]
    assert "compared with 'eager' before" in found.unjudged[1]


def test_rows_that_were_not_asked_for_are_counted() -> None:
    old = _report(_row("eager"), _row("ort"), _row("litert", reason="missing"))
    found = compare(old, _report(_row("eager")))
    assert (found.compared, found.skipped, found.regressions) == (1, 1, ())
    with pytest.raises(ElirError, match=r"no row in common.*denoising nano 256"):
        compare(old, _report(_row("eager", size=512)))


def test_the_rule_is_stated() -> None:
    for part in ("5%", "10%", "8 MB", "2%", "0.5 dB", "no longer"):
        assert part in RULE


@pytest.mark.parametrize(
    ("name", "value"), [("processor", "B"), ("cores", 4), ("gpu", "H200"), ("device", "adb:1")]
)
def test_other_machines_are_refused(name: str, value: object) -> None:
    require_same_machine(_report(), dict(_MACHINE), 2)
    with pytest.raises(UsageError, match=f"another machine; got {name}"):
        require_same_machine(_report(), {**_MACHINE, name: value}, 2)
    with pytest.raises(UsageError, match="got threads 2; expected threads 1"):
        require_same_machine(_report(), dict(_MACHINE), 1)


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text(json.dumps(_report(_row("eager"))))
    assert read_report(path)["rows"][0]["title"] == "eager"
    for content, message in (
        ("{", "cannot be read"),
        ("[]", "another file"),
        (json.dumps({"task": "denoising", "rows": []}), "another file"),
        (json.dumps(_report() | {"version": 1}), "version 1; expected .*version 2"),
        (json.dumps(_report() | {"version": VERSION + 1}), f"version {VERSION + 1}"),
    ):
        path.write_text(content)
        with pytest.raises(UsageError, match=message):
            read_report(path)
    with pytest.raises(UsageError, match="cannot be read"):
        read_report(tmp_path / "absent.json")


def test_comparing_changes_nothing() -> None:
    old, new = _report(_row("eager")), _report(_row("eager"))
    kept = copy.deepcopy((old, new))
    compare(old, new)
    assert (old, new) == kept
