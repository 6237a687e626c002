"""Where gradients of Eq. 3-5 go, by hand, and where there must be none.

What must be zero is compared with zero itself: a path that is cut leaves no rounding behind.
"""

import copy
from collections.abc import Callable
from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from elir_edge.data.datasets import Share
from elir_edge.flow.losses import LcfmSettings, LcfmTerms, fm_terms, lcfm_terms
from elir_edge.flow.segments import draw_times, per_sample
from elir_edge.model import Elir, initialize
from elir_edge.train.objectives import BatchDraws, LossModule, RestorationObjective, StepImages
from tests.conftest import tiny_config
from tests.flow.closed_forms import F64, attached_terms

SETTINGS = LcfmSettings(num_segments=2, dt=0.25, alpha=0.5, beta=0.25, sigma_min=0.0)
PARTS = ("encoder", "coarse", "velocity", "decoder", "target_encoder")


def test_gradients_by_hand() -> None:
    """Only the first point's v = w z depends on w: w = 2, z_0 = 1, z_1 = 5, t = 1/4, all exact.

    z_t = 2, v = 4, end = 1/2, f = 3; at 1/2: z = 3, v = 6, f = 3 (end - t = 0). df/dw = z_t / 4 and
    dv/dw = z_t. z_1_hat = f + w f / 2 = 6, so dz_1_hat/dw = (1 + w / 2) df/dw + f / 2 = 2.5. With
    z_1 = 4, z_t = 1.75, z_next = 2.5: f_t = 2.625, f_next = 2.5, and df/dw = 0.4375.
    """
    w = torch.tensor(2.0, dtype=F64, requires_grad=True)
    image = torch.full((1, 1, 1, 1), 4.0, dtype=F64)

    def gradients(z_1: float, terms_of: Callable[..., LcfmTerms] = lcfm_terms) -> list[float]:
        z_0, t = torch.ones(1, 1, 1, 1, dtype=F64), torch.tensor([0.25], dtype=F64)
        terms = terms_of(
            lambda z, t: w * z, lambda z: z, z_0, z_1 * torch.ones_like(z_0), image, t, SETTINGS
        )
        named = (terms.f, terms.v, terms.mse)
        return [torch.autograd.grad(term, w, retain_graph=True)[0].item() for term in named]

    assert gradients(5.0) == [0.0, 2 * (4 - 6) * 2, 2 * (6 - 4) * 2.5]
    assert gradients(4.0)[:2] == [2 * (2.625 - 2.5) * 0.4375, 2 * (3.5 - 5) * 1.75]
    # The twin, without theta-minus: dv/dw = z_t - z_next shrinks and changes its sign.
    assert gradients(4.0, attached_terms)[1] == 2 * (3.5 - 5) * (1.75 - 2.5)


@pytest.mark.parametrize("num_segments", [1, 3])
def test_last_interval_gets_no_gradient(num_segments: int) -> None:
    """v(z, t) = speed of t's bin: bins in (1 - dt, 1] are second points only, so they stay put.

    At t = 1 the image term multiplies by 1 - end = 0. Every bin below 1 - dt gets something: a
    thousand times fill 16 bins. The twin without theta-minus trains all.
    """
    num_bins = 16
    settings = LcfmSettings(num_segments=num_segments, dt=0.25, alpha=0.1, beta=0.1)
    t = draw_times(1000, settings.dt, torch.Generator().manual_seed(0)).to(F64)
    z_0 = torch.zeros(1000, 1, 1, 1, dtype=F64)
    speeds = torch.linspace(0, 2, num_bins, dtype=F64).requires_grad_(True)

    def field(z: Tensor, t: Tensor) -> Tensor:
        return per_sample(speeds[(t * num_bins).long().clamp(max=num_bins - 1)], z)

    trained = []
    for terms_of in (lcfm_terms, attached_terms):
        total = terms_of(field, lambda z: z, z_0, z_0 + 1, z_0 + 1, t, settings).total(settings)
        trained.append(torch.autograd.grad(total, speeds)[0] != 0)
    assert trained[0].tolist() == [True] * 12 + [False] * 4
    assert trained[1].all()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(("flow", "terms"), [("lcfm", ("f", "v", "mse")), ("fm", ("fm", "mse"))])
def test_each_term_reaches_its_parts_only(
    flow: Literal["lcfm", "fm"], terms: tuple[str, ...], precision: str
) -> None:
    """Eq. 5 as a table: L_2 trains encoder and coarse estimator, the flow's terms the field.

    Nothing reaches the decoder, frozen as in training, or the target encoder, though its weights
    ask for gradients here. Under bfloat16 too: the copies that autocast keeps of weights must not
    be those made without gradients.
    """
    model, objective, parts = _everything(flow)
    draws = BatchDraws(generator=torch.Generator().manual_seed(2), share=Share())
    losses = LossModule(model, objective, precision)(_images(), draws, 0)
    latent, field = {"encoder", "coarse"}, {"velocity"}
    expected = {"l_2": latent, "total": latent | field} | dict.fromkeys(terms, field)
    assert {name: _reached(loss, parts) for name, loss in losses.items()} == expected


def test_what_is_not_cut_off_is_seen() -> None:
    """The twins: without the detachments f reaches what made z_0 and z_1, thawed decoders learn."""
    model, objective, parts = _everything("lcfm")
    images = _images()
    clean, degraded = images.clean, images.degraded
    z_0, z_1 = model.initial_point(degraded), objective.target_encoder(clean)
    t = torch.tensor([0.1, 0.6])
    args = (model.velocity, model.decoder, z_0, z_1, clean, t, SETTINGS)
    made = {"encoder", "coarse", "target_encoder"}
    assert _reached(attached_terms(*args).f, parts) == {"velocity"} | made
    assert _reached(lcfm_terms(*args).f, parts) == {"velocity"}
    assert _reached(fm_terms(*args).fm, parts) == {"velocity"}
    model.decoder.requires_grad_(True)
    assert _reached(lcfm_terms(*args).mse, parts) == {"velocity", "decoder"}


def _images() -> StepImages:
    clean, degraded = torch.rand(2, 2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    return StepImages(clean=clean, degraded=degraded)


def _everything(
    flow: Literal["lcfm", "fm"],
) -> tuple[Elir, RestorationObjective, dict[str, nn.Module]]:
    """Return a tiny model, its objective and all parts by name; of the model's, some learn."""
    model = Elir(tiny_config())
    initialize(model, torch.Generator().manual_seed(0))
    target = copy.deepcopy(model.encoder)
    objective = RestorationObjective(
        target_encoder=target, settings=SETTINGS, sigma_s=0.1, flow=flow
    )
    parts: dict[str, nn.Module] = {name: getattr(model, name) for name in PARTS[:-1]}
    parts["target_encoder"] = target
    model.requires_grad_(False)
    for _, part in objective.trainable(model):
        part.requires_grad_(True)
    return model, objective, parts


def _reached(loss: Tensor, parts: dict[str, nn.Module]) -> set[str]:
    """Return the parts in which the loss's gradient is anything but zero."""
    found = set()
    for name, part in parts.items():
        weights = [weight for weight in part.parameters() if weight.requires_grad]
        if not weights:
            continue
        gradients = torch.autograd.grad(loss, weights, retain_graph=True, allow_unused=True)
        if any(gradient is not None and (gradient != 0).any() for gradient in gradients):
            found.add(name)
    return found
