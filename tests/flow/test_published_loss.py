"""The published code's loss against the paper's text: values and gradients by hand.

One number, v(z, t) = a z + b t with a = b = 1, K = 2, dt = 1/4, z_0 = 0, z_1 = 2: z_t = 2 t. All
numbers are exact in binary, so the tolerance is none.
"""

from typing import Literal

import pytest
import torch
from torch import Tensor

from elir_edge.flow.losses import LcfmSettings, LcfmTerms, lcfm_terms

F64 = torch.float64
Loss = Literal["paper", "published"]


def _terms(loss: Loss, t: float) -> tuple[LcfmTerms, Tensor, Tensor]:
    a, b = (torch.tensor(1.0, dtype=F64, requires_grad=True) for _ in range(2))

    def column(value: float) -> Tensor:
        return torch.tensor([value], dtype=F64).view(1, 1, 1, 1)

    terms = lcfm_terms(
        lambda z, at: a * z + b * at.view(-1, 1, 1, 1),
        lambda z: z,
        column(0),
        column(2),
        column(2),
        torch.tensor([t], dtype=F64),
        LcfmSettings(num_segments=2, dt=0.25, alpha=0.5, beta=0.25, sigma_min=0, loss=loss),
    )
    return terms, a, b


def _gradients(term: Tensor | None, a: Tensor, b: Tensor) -> tuple[float, float]:
    assert term is not None
    found = torch.autograd.grad(term, (a, b), retain_graph=True, allow_unused=True)
    first, second = (0.0 if g is None else g.item() for g in found)
    return first, second


@pytest.mark.parametrize(
    ("loss", "compared"),
    [
        # v of the next segment, at 5/8: 1.25 + 0.625 = 1.875; back to 1/2: 1.25 - 1/8 * 1.875.
        ("paper", 1.25 - 0.125 * 1.875),
        # The path's own point at 1/2.
        ("published", 1.0),
    ],
)
def test_a_pair_that_crosses_the_end(loss: Loss, compared: float) -> None:
    """At t = 3/8: z = 0.75, v = 1.125, end 1/2, f = 0.75 + 1/8 * 1.125 = 0.890625.

    d f / d a = 1/8 * 0.75, d f / d b = 1/8 * 0.375; what f is compared with has no gradient.
    """
    terms, a, b = _terms(loss, 0.375)
    miss = 0.890625 - compared
    assert terms.f.item() == miss**2
    assert _gradients(terms.f, a, b) == (2 * miss * 0.09375, 2 * miss * 0.046875)
    # The velocity term is the same in both: v at 5/8 against v at 3/8.
    assert terms.v.item() == (1.125 - 1.875) ** 2


@pytest.mark.parametrize("loss", ["paper", "published"])
def test_the_image_of_a_crossing_pair(loss: Loss) -> None:
    """z_1_hat = f + 1/2 v(f, 1/2) = 0.890625 + 1/2 * 1.390625 = 1.5859375, for an image of 2.

    d / d a: 1/2 f, and in the paper's text also (1 + 1/2 a) d f / d a; b likewise with 1/2 * 1/2.
    """
    terms, a, b = _terms(loss, 0.375)
    miss = 1.5859375 - 2
    assert terms.mse is not None
    assert terms.mse.item() == miss**2
    through_f = 1.5 if loss == "paper" else 0.0
    expected = (
        2 * miss * (0.5 * 0.890625 + through_f * 0.09375),
        2 * miss * (0.5 * 0.5 + through_f * 0.046875),
    )
    assert _gradients(terms.mse, a, b) == expected


@pytest.mark.parametrize("t", [0.125, 0.25, 0.5, 0.75])
def test_pairs_within_a_segment_are_the_same(t: float) -> None:
    """Also where the second point is the end itself (t = 1/4, 3/4): there it is its own target."""
    (paper, a, b), (published, c, d) = _terms("paper", t), _terms("published", t)
    assert paper.f.item() == published.f.item()
    assert _gradients(paper.f, a, b) == _gradients(published.f, c, d)


def test_in_the_last_segment_the_published_image_teaches_nothing() -> None:
    """No step is left after f, and f is cut off: of Eq. 4 only the flow's terms remain."""
    terms, a, b = _terms("published", 0.625)
    assert _gradients(terms.mse, a, b) == (0.0, 0.0)
    paper, a, b = _terms("paper", 0.625)
    assert _gradients(paper.mse, a, b) != (0.0, 0.0)


@pytest.mark.parametrize(
    ("num_segments", "dt", "share"), [(3, 0.05, 0.105), (5, 0.05, 0.211), (3, 0.2, 0.5)]
)
def test_how_many_pairs_cross(num_segments: int, dt: float, share: float) -> None:
    """(K - 1) dt / (1 - dt): 10 % of sr's draws, 21 % of bfr's, 50 % of bsr's; to 0.001."""
    assert (num_segments - 1) * dt / (1 - dt) == pytest.approx(share, abs=1e-3)
    t = torch.linspace(0, 1 - dt, 100_001, dtype=F64)[:-1]
    end = (torch.floor(t * num_segments) + 1) / num_segments
    assert (t + dt > end + 1e-12).double().mean().item() == pytest.approx(
        (num_segments - 1) * dt / (1 - dt), abs=1e-3
    )


def test_a_perceptual_error_enters_by_its_own_weight() -> None:
    settings = LcfmSettings(num_segments=1, dt=0.25, alpha=0, beta=0, sigma_min=0, lpips=0.5)
    z = torch.ones(1, 1, 1, 1, dtype=F64)
    calls: list[tuple[float, float]] = []

    def perceptual(image: Tensor, reference: Tensor) -> Tensor:
        calls.append((image.item(), reference.item()))
        return torch.tensor([3.0], dtype=F64)

    def terms(weighted: LcfmSettings) -> LcfmTerms:
        t = torch.tensor([0.5], dtype=F64)
        return lcfm_terms(
            lambda z_t, t: 0 * z_t, lambda z: 5 * z, 0 * z, z, z, t, weighted, perceptual
        )

    found = terms(settings)
    assert calls == [(2.5, 1.0)]
    assert found.mse is None
    assert found.total(settings).item() == found.f.item() + 0.5 * 3
    without = LcfmSettings(num_segments=1, dt=0.25, alpha=0, beta=0, sigma_min=0)
    assert terms(without).lpips is None
    assert len(calls) == 1
