"""Segments and paths by hand."""

import pytest
import torch

from elir_edge.flow.segments import draw_times, extrapolate, interpolate, segment_end

F64 = torch.float64


@pytest.mark.parametrize(
    ("t", "num_segments", "end"),
    [
        (0.0, 3, 1 / 3),
        (0.32, 3, 1 / 3),
        (0.34, 3, 2 / 3),
        (0.5, 2, 1.0),
        (0.99, 3, 1.0),
        (1.0, 3, 1.0),
        (0.7, 1, 1.0),
        (0.2, 5, 0.4),
    ],
)
def test_segment_ends(t: float, num_segments: int, end: float) -> None:
    got = segment_end(torch.tensor([t], dtype=F64), num_segments)
    assert got.item() == pytest.approx(end, abs=1e-12)


def test_path_ends_and_middle() -> None:
    z_0, z_1 = torch.full((3, 1, 1, 1), 2.0, dtype=F64), torch.full((3, 1, 1, 1), 4.0, dtype=F64)
    t = torch.tensor([0.0, 0.5, 1.0], dtype=F64)
    got = interpolate(z_0, z_1, t, sigma_min=0.1).flatten().tolist()
    # t z_1 + (1 - 0.9 t) z_0: at the end a tenth of the source is left.
    assert got == pytest.approx([2.0, 2.0 + 1.1, 4.2], abs=1e-12)


def test_extrapolation() -> None:
    z = torch.tensor([1.0, 1.0], dtype=F64).view(2, 1, 1, 1)
    v = torch.tensor([3.0, -2.0], dtype=F64).view(2, 1, 1, 1)
    t, end = torch.tensor([0.25, 0.5], dtype=F64), torch.tensor([0.5, 1.0], dtype=F64)
    assert extrapolate(z, v, t, end).flatten().tolist() == [1.75, 0.0]


def test_times_are_uniform_below_the_last_interval() -> None:
    t = draw_times(20_000, 0.2, torch.Generator().manual_seed(0))
    assert t.min() >= 0
    assert t.max() <= 0.8
    # The mean of 20,000 uniform draws deviates by 0.0016 (one sigma).
    assert t.mean().item() == pytest.approx(0.4, abs=0.008)
    again = draw_times(20_000, 0.2, torch.Generator().manual_seed(0))
    assert torch.equal(t, again)
