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


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize(
    ("num_segments", "ends"), [(1, [1, 1, 1, 1, 1]), (3, [1, 1, 2, 3, 3]), (5, [1, 1, 2, 5, 5])]
)
def test_segment_ends_at_the_ends(num_segments: int, ends: list[int], dtype: torch.dtype) -> None:
    """0, the last number below 1/K, 1/K itself, 1 - dt (dt = 0.05) and 1, in K-ths of the interval.

    Ends are the very numbers that K Euler steps visit, so they are compared without tolerance.
    """
    first = torch.tensor(1 / num_segments, dtype=dtype)
    below = torch.nextafter(first, torch.zeros((), dtype=dtype)).item()
    t = torch.tensor([0.0, below, first.item(), 0.95, 1.0], dtype=dtype)
    expected = torch.tensor([i / num_segments for i in ends], dtype=dtype)
    assert torch.equal(segment_end(t, num_segments), expected)


def test_closed_segments_would_differ() -> None:
    """The twin: a boundary belongs to the segment that begins there; `ceil` gives the one before.

    All i/K for K = 1..21; from 22 on, floor(t K) loses some boundaries to rounding.
    """
    for num_segments in range(1, 22):
        index = torch.arange(num_segments)
        t = torch.tensor([i / num_segments for i in range(num_segments)], dtype=torch.float32)
        got = torch.round(segment_end(t, num_segments) * num_segments).long()
        assert torch.equal(got, index + 1)
        closed = torch.ceil(t * num_segments).clamp(min=1).long()
        assert torch.equal(closed, got) == (num_segments == 1)


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
