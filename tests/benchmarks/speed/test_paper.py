"""The paper's figures: as printed there, beside the right models, below what the GPU can do."""

from pathlib import Path

import pytest
import torch

from benchmarks.roofline import RTX_2080_TI
from benchmarks.speed.paper import all_figures, figures_of
from elir_edge.model import Elir, paper_config_for
from elir_edge.model.macs import macs_of
from elir_edge.tasks import get_task


def _printed(text: str, fps: float) -> bool:
    """Whether a table's row or a sentence has a figure with two decimals, or about 50."""
    return f"{fps:.2f}" in text or (fps == 50 and r"\sim 50$" in text)


def test_figures_are_printed_in_the_paper(shared: Path) -> None:
    text = (shared / "paper" / "elir.txt").read_text(encoding="utf-8")
    figures = all_figures()
    assert len(figures) == 3 + 2 + 1 + 4 + 3
    for figure in figures:
        assert _printed(text, figure.fps), figure
    assert not _printed(text, figures[-1].fps + 0.01)


def _published(task: str, steps: int | None = None) -> Elir:
    properties = get_task(task)
    config = paper_config_for(
        task, num_steps=steps or properties.num_steps, sigma_s=properties.sigma_s
    )
    with torch.device("meta"):
        return Elir(config)


@pytest.mark.parametrize(
    ("task", "speeds"),
    [
        ("bfr", [19.51]),
        ("bsr", [52.20]),
        ("sr", [50.0, 49.26, 49.26]),
        ("denoising", [50.0, 49.26]),
        ("inpainting", [50.0]),
    ],
)
def test_the_published_models_have_their_figures(task: str, speeds: list[float]) -> None:
    model = _published(task)
    parameters = sum(p.numel() for p in model.parameters())
    found = figures_of("paper", task, parameters, model.config.num_steps)
    assert [figure.fps for figure in found] == speeds
    assert not figures_of("nano", task, parameters, model.config.num_steps)
    # No figure may be above what the GPU's peak in float32 allows.
    macs = sum(macs_of(model, get_task(task).image_size).values())
    limit = RTX_2080_TI.tops["fp32"] * 1e12 / (2 * macs)
    assert all(figure.fps < limit for figure in found)


def test_other_steps_have_other_figures() -> None:
    model = _published("sr", steps=5)
    parameters = sum(p.numel() for p in model.parameters())
    (found,) = figures_of("paper", "sr", parameters, 5)
    assert found.fps == 36.35
    assert "Table 10" in found.source
