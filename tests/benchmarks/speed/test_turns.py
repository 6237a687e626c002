"""The protocol's counts, by a runtime that counts its calls; what becomes of one that crashes."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from benchmarks.speed.turns import (
    LEAD,
    PAPER,
    PLAN,
    QUICK,
    RESULT,
    Measurements,
    TimingProtocol,
    TurnPlan,
    Worker,
    measure,
    measure_folder,
    read_result,
    write_plan,
)
from elir_edge.errors import ElirError
from tests.benchmarks.speed.counting_worker import CRASH_CODE

_MODULE = "tests.benchmarks.speed.counting_worker"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with 200 empty photos."""
    (tmp_path / "photos").mkdir()
    for i in range(PAPER.images):
        (tmp_path / "photos" / f"{i:03d}.png").touch()
    return tmp_path


def _worker(row: str, *limit: str, yardstick: bool = False) -> Worker:
    arguments = ("photos", f"{row}.json", *limit)
    return Worker(row=row, module=_MODULE, arguments=arguments, yardstick=yardstick)


def test_the_protocol_is_the_papers(folder: Path) -> None:
    """10 warm up, 200 are timed, each another photo; 3 runs before each turn are not timed."""
    assert (PAPER.warmup, PAPER.images) == (10, 200)
    workers = (_worker("row"), _worker("peak", yardstick=True))
    news: list[tuple[str, int, int]] = []

    def told(phase: str, done: int, total: int, known: Measurements) -> None:
        news.append((phase, done, total))

    found = measure(TurnPlan(workers=workers, protocol=PAPER, threads=1), folder, told)
    turns = PAPER.images // PAPER.turn
    assert [len(turn) for turn in found["row"]["turns"]["model"]] == [PAPER.turn] * turns
    assert [len(turn) for turn in found["row"]["turns"]["end_to_end"]] == [PAPER.turn] * turns
    counted = json.loads((folder / "row.json").read_text())
    around = PAPER.warmup + turns * LEAD
    assert counted["model"] == around + PAPER.images + PAPER.outputs
    assert counted["end_to_end"] == around + PAPER.images
    assert counted["seen"] == 2 * PAPER.images
    assert (found["row"]["version"], found["row"]["macs"]) == ("counting 1.0", 1000)
    assert found["row"]["peak_mb"] is None or found["row"]["peak_mb"] > 1
    outputs = np.load(folder / found["row"]["outputs"])
    assert outputs[:, 0, 0, 0].tolist() == list(range(PAPER.outputs))
    # A yardstick runs the model alone, a few times each turn, and its results are of no use.
    assert set(found["peak"]["turns"]) == {"model"}
    assert [len(turn) for turn in found["peak"]["turns"]["model"]] == [LEAD] * turns
    assert "outputs" not in found["peak"]
    assert news[-1] == ("images", 200, 200)


def test_quick_has_the_fewest_turns_that_have_an_interval() -> None:
    assert QUICK.images // QUICK.turn == 6


def test_a_crash_is_a_rows_own(folder: Path) -> None:
    plan = TurnPlan(
        workers=(_worker("crashing", "5"), _worker("row")),
        protocol=TimingProtocol(images=5, warmup=2, turn=3, outputs=1),
        threads=1,
    )
    write_plan(folder, plan)
    assert TurnPlan.from_json((folder / PLAN).read_text()) == plan
    measure_folder(folder, lambda *news: None)
    found = read_result(folder)
    reason = found["rows"]["crashing"]["reason"]
    assert reason == f"its process ended early (exit code {CRASH_CODE})"
    assert [len(turn) for turn in found["rows"]["row"]["turns"]["model"]] == [3, 2]
    assert found["machine"]["processor"]
    assert found["started"]


def test_load_and_clock_are_noted(folder: Path) -> None:
    protocol = TimingProtocol(images=2, warmup=0, turn=1, outputs=0)
    plan = TurnPlan(workers=(_worker("row"),), protocol=protocol, threads=1)
    found = measure(plan, folder)["row"]
    assert asdict(protocol) == {"images": 2, "warmup": 0, "turn": 1, "outputs": 0}
    assert found["wall_s"] > 0
    assert found["own_s"] >= 0
    assert found["busy_s"] is None or found["busy_s"] >= 0
    assert "outputs" not in found


def test_no_result_is_said(tmp_path: Path) -> None:
    with pytest.raises(ElirError, match="gave no result"):
        read_result(tmp_path)
    (tmp_path / RESULT).write_text("{")
    with pytest.raises(ElirError, match="gave no result"):
        read_result(tmp_path)
