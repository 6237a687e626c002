"""The static model in float32, which is exported, and in float64, which shows errors of algebra.

Collapsing, unrolling and the exact rewrites change values only by rounding. This is checked to
1e-10 in float64 on a small image, and to 1e-5 in float32 on the verification image.
"""

import copy
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from elir_edge.model import Elir, collapse, draw_noise
from elir_edge.runtime.manifest import Check
from export.calibration.photos import CalibrationSet
from export.static.equalize import channel_factors, equalize
from export.static.noise import corner
from export.static.rewrites import REWRITES
from export.static.unroll import StaticElir, unroll
from export.verify import StageValues, compare_exact, model_stages, verify_exact

_EQUALIZATION_CROPS = 16
_ALGEBRA_SIZE = 64
"""Side of the image for checks in float64; small, since algebra does not depend on the size."""


@dataclass(frozen=True, kw_only=True)
class Twin:
    """The static model at one precision, with the stages that it must give on one image.

    Attributes:
        reference: stages of the model as trained.
        static: the static model.
        image: the image, (B, 3, H, W) in [0, 1].
        given_noise: the noise if it is an input of the static model, else None.
    """

    reference: StageValues
    static: StaticElir
    image: Tensor
    given_noise: Tensor | None

    def verify(self, form: str) -> list[Check]:
        """Require that the static model gives the reference's stages up to rounding.

        Raises:
            ParityError: a stage differs by more than the tolerance.
        """
        return verify_exact(form, self.reference, self.static, self.image, self.given_noise)

    def replaced(self, static: StaticElir) -> "Twin":
        """Return the case with another static model."""
        return dataclasses.replace(self, static=static)


@dataclass(frozen=True, kw_only=True)
class VerifiedModel:
    """The static model that is exported, with the record of its rewrites and checks.

    Attributes:
        single: the float32 model on the verification image.
        checks: all checks, in order.
        applied: see `Twins`.
        refused: see `Twins`.
    """

    single: Twin
    checks: tuple[Check, ...]
    applied: Mapping[str, int]
    refused: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class Twins:
    """A static model in both precisions, with a record of its rewrites and checks.

    Attributes:
        single: the float32 model, which is exported, on the verification image.
        double: the float64 model, on a small image.
        checks: all checks so far, in order.
        applied: how often each exact rewrite was applied, by its name.
        refused: by rewrite, lines about the layers that it left unchanged and why; rewrites
            without such layers are missing.
    """

    single: Twin
    double: Twin
    checks: tuple[Check, ...] = ()
    applied: Mapping[str, int] = field(default_factory=dict)
    refused: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def verified(self) -> VerifiedModel:
        """Return the model without its float64 twin, which takes 0.2 GB at published sizes."""
        return VerifiedModel(
            single=self.single, checks=self.checks, applied=self.applied, refused=self.refused
        )


def collapse_and_unroll(model: Elir, image: Tensor, noise: Tensor, *, as_input: bool) -> Twins:
    """Collapse the over-parametrised blocks and unroll the Euler steps.

    Args:
        model: the model as trained.
        image: the verification image, (B, 3, H, W) in [0, 1].
        noise: a sample of sigma_s N(0, I), (1 or B, C, H/8, W/8).
        as_input: whether the noise is an input of the static model; else it is a constant.

    Raises:
        ParityError: collapsing or unrolling changes a stage by more than the tolerance.
        ExportError: the model has no flow or decoder.
    """
    single, checks = _static_twin(model, image, noise, as_input=as_input)
    side = min(_ALGEBRA_SIZE, image.shape[-1])
    small = image[:1, :, :side, :side].double()
    draw = draw_noise(model.config, side, side, seed=0).double()
    double, algebra = _static_twin(copy.deepcopy(model).double(), small, draw, as_input=False)
    return Twins(single=single, double=double, checks=(*checks, *algebra))


def _static_twin(
    model: Elir, image: Tensor, noise: Tensor, *, as_input: bool
) -> tuple[Twin, list[Check]]:
    reference = model_stages(model, image, noise)
    collapsed = collapse(model)
    assert isinstance(collapsed, Elir)
    got = model_stages(collapsed, image, noise)
    checks = compare_exact("collapse", reference, got, image.dtype)
    twin = Twin(
        reference=reference,
        static=unroll(collapsed, None if as_input else noise),
        image=image,
        given_noise=noise if as_input else None,
    )
    return twin, [*checks, *twin.verify("unroll")]


def equalize_twins(twins: Twins, calibration: CalibrationSet) -> Twins:
    """Equalize both models, with factors from the float32 model on the calibration crops.

    Raises:
        ParityError: a stage changes by more than the tolerance.
    """
    single, double = twins.single, twins.double
    noise = single.static.noise if single.given_noise is None else single.given_noise
    assert noise is not None
    inputs = []
    for crop in calibration.ranges[:_EQUALIZATION_CROPS]:
        image = torch.from_numpy(crop.degraded.transpose(2, 0, 1)[None].copy())
        image = image.repeat(len(single.image), 1, 1, 1)
        inputs.append((image, corner(noise, image.shape[-1], single.image.shape[-1])))
    factors = channel_factors(single.static, inputs)
    double = double.replaced(equalize(double.static, factors)[0])
    static, count = equalize(single.static, factors)
    return _step(twins, "equalize", single.replaced(static), double, count)


def rewrite_twins(twins: Twins, name: str) -> Twins:
    """Apply the exact rewrite `name` to both models.

    Raises:
        ParityError: a stage changes by more than the tolerance.
    """
    rewritten = REWRITES[name](twins.double.static)
    double = twins.double.replaced(rewritten.static)
    single = twins.single.replaced(REWRITES[name](twins.single.static).static)
    return _step(twins, name, single, double, rewritten.count, rewritten.refusals)


def _step(
    twins: Twins,
    name: str,
    single: Twin,
    double: Twin,
    count: int,
    refusals: tuple[str, ...] = (),
) -> Twins:
    return Twins(
        single=single,
        double=double,
        checks=(*twins.checks, *double.verify(name), *single.verify(name)),
        applied={**twins.applied, name: count},
        refused={**twins.refused, name: refusals} if refusals else twins.refused,
    )
