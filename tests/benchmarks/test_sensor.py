"""The sensor's table: candidates differ in width and K alone, and are asked for when missing."""

import dataclasses
import json
from pathlib import Path

import pytest

from benchmarks.sensor import _trained, _trained_markdown
from benchmarks.sensor_candidates import CANDIDATES, STEPS, checkpoint_of, configuration
from elir_edge.errors import CheckpointError

ROOT = Path(__file__).resolve().parents[2]


def test_candidates_differ_in_nothing_else() -> None:
    runs = [configuration(width, num_steps) for width, num_steps in CANDIDATES]
    assert [(r.model.velocity_width, r.model.num_steps) for r in runs] == list(CANDIDATES)
    same = [
        dataclasses.replace(r, model=dataclasses.replace(r.model, velocity_width=48, num_steps=3))
        for r in runs
    ]
    assert all(run == same[0] for run in same)
    assert (same[0].unrolled_steps, same[0].rounded) == (STEPS, True)


def test_a_missing_candidate_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"w32k3.*not trained yet.*sensor_candidates\.py"):
        _trained(tmp_path, [])
    paths = {checkpoint_of(tmp_path, width, num_steps) for width, num_steps in CANDIDATES}
    assert len(paths) == len(CANDIDATES)


def test_the_table_is_of_the_recorded_numbers() -> None:
    results = ROOT / "benchmarks" / "results"
    recorded = json.loads((results / "sensor-before.json").read_text())
    made = _trained_markdown(recorded["rows"], recorded["trained"])
    assert (results / "sensor-before.md").read_text().endswith(made)
    assert len(recorded["trained"]) == 1 + len(CANDIDATES)
    # The twin: another number.
    changed = [{**row, "psnr_db": row["psnr_db"] + 0.1} for row in recorded["trained"]]
    assert (
        not (results / "sensor-before.md")
        .read_text()
        .endswith(_trained_markdown(recorded["rows"], changed))
    )
