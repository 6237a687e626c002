"""What a run leaves for programs and people: log, events, pictures."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from elir_edge.errors import TrainingError
from elir_edge.train.record import Record


def _log(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def _events(folder: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return {
        tag: [(event.step, pytest.approx(event.value)) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }


def test_losses_and_scores_go_to_log_and_events(tmp_path: Path) -> None:
    with Record(tmp_path, step=0) as record:
        record.losses(1, {"total": 0.5, "coarse": 0.25})
        record.scores(1, {"full": 21.5}, seconds=12.345)
    assert _log(tmp_path) == [
        {"step": 1, "total": 0.5, "coarse": 0.25},
        {"step": 1, "seconds": 12.3, "full": 21.5},
    ]
    assert _events(tmp_path) == {
        "loss/total": [(1, 0.5)],
        "loss/coarse": [(1, 0.25)],
        "validation/seconds": [(1, 12.3)],
        "validation/full": [(1, 21.5)],
    }


def test_what_lies_beyond_the_state_is_taken_back(tmp_path: Path) -> None:
    with Record(tmp_path, step=0) as record:
        for step in range(1, 5):
            record.losses(step, {"total": float(step)})
    with Record(tmp_path, step=2) as record:
        record.losses(3, {"total": 30.0})
    assert [(line["step"], line["total"]) for line in _log(tmp_path)] == [(1, 1), (2, 2), (3, 30)]
    assert _events(tmp_path)["loss/total"] == [(1, 1.0), (2, 2.0), (3, 30.0)]


def test_samples_are_a_grid_of_columns(tmp_path: Path) -> None:
    columns = {
        kind: [np.full((32, 48, 3), level + 10 * row, np.uint8) for row in range(3)]
        for kind, level in (("input", 50), ("full", 200))
    }
    with Record(tmp_path, step=0) as record:
        record.samples(7, columns)
        record.samples(8, {})
    (path,) = (tmp_path / "samples").iterdir()
    assert path.name == "step_0000007.png"
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    for row in range(3):
        for level in (50, 200):
            assert (pixels == level + 10 * row).all(axis=2).sum() >= 32 * 48
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Images("samples")] == [7]


@pytest.mark.parametrize("line", ["no json", "[]", '{"total": 1}', '{"step": "one"}'])
def test_a_damaged_log_is_one_line(line: str, tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text(f'{line}\n{{"step": 2}}\n')
    with pytest.raises(TrainingError, match=r"log\.jsonl is damaged .*fix: move it away"):
        Record(tmp_path, step=4)
    assert (tmp_path / "log.jsonl").read_text().startswith(line)
