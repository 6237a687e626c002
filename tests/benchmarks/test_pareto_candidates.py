"""Candidates are opened and restore; the same model gives the same picture in every runtime."""

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks import pareto_candidates
from benchmarks.classical import degraded_photo
from benchmarks.own_graphs import shipped_model
from benchmarks.pareto_candidates import EXPORTS, Wanted, open_candidates
from elir_edge.data.datasets import to_float
from elir_edge.errors import ExportError
from elir_edge.metrics import psnr
from elir_edge.model import Elir
from export.request import Request

_SIDE = 64


@pytest.fixture
def tiny(tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a tiny model in place of the shipped ones."""

    def model(task: str, num_steps: int | None = None) -> Elir:
        return shipped_model(task, num_steps, path=tiny_checkpoint)

    request = pareto_candidates._request

    def requested(*given: Any) -> Request:
        made = request(*given)
        return dataclasses.replace(made, checkpoint=made.checkpoint or tiny_checkpoint)

    monkeypatch.setattr(pareto_candidates, "shipped_model", model)
    monkeypatch.setattr(pareto_candidates, "_request", requested)
    monkeypatch.setattr(pareto_candidates, "EXPORTS", EXPORTS[:1])
    monkeypatch.setattr(pareto_candidates, "_OTHER_SIZES", ())
    return tiny_checkpoint


def test_all_ways_to_run_a_model_agree(
    tiny: Path, tmp_path: Path, photo: NDArray[np.uint8]
) -> None:
    named_alike = tmp_path / "nano.safetensors"
    shutil.copy(tiny, named_alike)
    wanted = Wanted(
        side=_SIDE, threads=1, steps=(1, 2), checkpoints=(named_alike,), classical=False
    )
    told: list[str] = []
    found = {c.title: c for c in open_candidates("denoising", wanted, told.append)}
    assert list(found) == [
        "input",
        "nano, torch eager",
        "nano, ONNX Runtime fp32",
        "nano, OpenVINO fp32",
        *(f"nano, K = {k}{' (as trained)' if k == _trained(tiny) else ''}" for k in (1, 2)),
        f"{named_alike}, ONNX Runtime fp32",
    ]
    assert told[0] == "nano: exporting for onnx at fp32"
    degraded = degraded_photo("denoising", to_float(photo[:_SIDE, :_SIDE]), [0, 0])
    images = {title: c.restore(degraded) for title, c in found.items() if c.restore is not None}
    assert len(images) == len(found)
    reference = images.pop("nano, torch eager")
    assert psnr(images.pop("input"), reference) < 60
    for title, image in images.items():
        same = "K = " not in title or "as trained" in title
        # Tolerance of float32 in other runtimes: 80 dB. The twin: another K is another picture.
        assert (psnr(image, reference) > 80) == same, title


def test_an_export_that_fails_is_the_rows_reason(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(request: Request) -> None:
        raise ExportError("it does not")

    monkeypatch.setattr(pareto_candidates, "run_export", refuse)
    wanted = Wanted(side=_SIDE, threads=1, classical=False)
    found = {c.title: c for c in open_candidates("denoising", wanted)}
    assert found["nano, OpenVINO fp32"].reason == "it does not"
    assert found["nano, OpenVINO fp32"].restore is None
    assert found["nano, torch eager"].restore is not None


def _trained(checkpoint: Path) -> int:
    return shipped_model("denoising", path=checkpoint).config.num_steps
