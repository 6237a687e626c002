"""The sinusoid of t, by hand."""

import math

import pytest
import torch

from elir_edge.model.time import sinusoid


def test_by_hand() -> None:
    """Six features: frequencies 1, 10000^(-1/2), 10000^-1."""
    got = sinusoid(torch.tensor([0.0, 0.25], dtype=torch.float64), 6)
    assert got[0].tolist() == [1, 1, 1, 0, 0, 0]
    angles = [250.0, 2.5, 0.025]
    expected = [math.cos(a) for a in angles] + [math.sin(a) for a in angles]
    assert got[1].tolist() == pytest.approx(expected, abs=1e-10)


def test_other_times_differ() -> None:
    a, b = sinusoid(torch.tensor([0.0, 1 / 3]), 32)
    assert (a - b).abs().max() > 0.1
