"""Collapsing in the forward pass: same function, same gradients as the expanded pair."""

import contextlib
import copy

import pytest
import torch

from elir_edge.model import CollapsibleConv2d, Elir, ModelConfig, collapse, draw_noise, initialize
from elir_edge.model.collapsible import collapsed_once, expanded_forward
from tests.conftest import make_model, tiny_config, tiny_published_like

CONFIGS = [tiny_config(expansion=4), tiny_published_like(expansion=4)]


def _block() -> tuple[CollapsibleConv2d, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    block = CollapsibleConv2d(5, 3, 4)
    initialize(block, generator)
    for parameter in block.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
    x = torch.randn(2, 5, 6, 7, generator=generator).double().requires_grad_(True)
    return block.double(), x


def test_function_and_gradients_equal_the_expanded_form() -> None:
    block, x = _block()
    tensors = [x, *block.parameters()]
    collapsed, expanded = block(x), expanded_forward(block, x)
    assert (collapsed - expanded).abs().max() <= 1e-10  # borders included: zero padding in both
    cotangent = torch.randn(
        collapsed.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64
    )
    gradients = torch.autograd.grad(collapsed, tensors, cotangent)
    reference = torch.autograd.grad(expanded, tensors, cotangent)
    for got, expected in zip(gradients, reference, strict=True):
        assert (got - expected).abs().max() <= 1e-10


def test_a_changed_projection_is_seen() -> None:
    block, x = _block()
    expanded = expanded_forward(block, x)
    block.project.weight.data[0, 0] += 1e-3
    assert (block(x) - expanded).abs().max() > 1e-6


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: c.variant)
@pytest.mark.parametrize(("dtype", "limit"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_collapsed_model_equals_the_expanded_one(
    config: ModelConfig, dtype: torch.dtype, limit: float
) -> None:
    model = make_model(config).to(dtype)
    image = torch.rand(1, 3, 64, 32, generator=torch.Generator().manual_seed(0)).to(dtype)
    noise = draw_noise(config, 64, 32).to(dtype)
    collapsed = collapse(model)
    assert isinstance(collapsed, Elir)
    assert not any(isinstance(m, CollapsibleConv2d) for m in collapsed.modules())
    assert any(isinstance(m, CollapsibleConv2d) for m in model.modules())
    reference = _expanded(model)(image, noise)
    assert (collapsed(image, noise) - reference).abs().max() <= limit
    # The twin.
    collapsed.velocity.mid[0].conv1.weight.data[0, 0] += 1e-2  # type: ignore[union-attr, index]
    assert (collapsed(image, noise) - reference).abs().max() > limit


def _expanded(model: Elir) -> Elir:
    """Return a copy whose collapsible blocks run as the two convolutions that they stand for."""
    model = copy.deepcopy(model)
    for module in model.modules():
        for name, child in list(module.named_children()):
            if isinstance(child, CollapsibleConv2d):
                setattr(module, name, torch.nn.Sequential(child.expand, child.project))
    return model


def _two_uses(once: bool) -> tuple[list[torch.Tensor], int]:
    """Return output and gradients of a block that convolves three times, and kernels computed."""
    block, x = _block()
    computed = 0
    compute = block.collapsed_parameters

    def counting() -> tuple[torch.Tensor, torch.Tensor]:
        nonlocal computed
        computed += 1
        return compute()

    block.collapsed_parameters = counting  # type: ignore[method-assign]
    with collapsed_once(block) if once else contextlib.nullcontext():
        first = block(x)
        with torch.no_grad():
            target = block(x + 1)
        second = block(first.repeat(1, 2, 1, 1)[:, :5])
    loss = (second - target).square().sum() + first.sum()
    return [loss, *torch.autograd.grad(loss, [x, *block.parameters()])], computed


def test_a_kernel_computed_once_changes_no_gradient() -> None:
    """Equal to the last bit or nearly (sums in another order): 1e-12 relative in float64."""
    (once, count_once), (each, count_each) = _two_uses(True), _two_uses(False)
    assert (count_once, count_each) == (1, 3)
    for got, expected in zip(once, each, strict=True):
        assert (got - expected).abs().max() <= 1e-12 * expected.abs().max()
    # The twin: what is compared does differ where a weight does.
    assert (once[1] - 1.001 * each[1]).abs().max() > 1e-12 * each[1].abs().max()


def test_a_kernel_kept_without_gradient_is_made_anew_with_one() -> None:
    block, x = _block()
    with collapsed_once(block):
        with torch.no_grad():
            block(x)
        loss = block(x).sum()
    (gradient,) = torch.autograd.grad(loss, block.project.weight)
    assert (gradient != 0).any()


def test_nothing_is_kept_behind_the_block() -> None:
    block, x = _block()
    with collapsed_once(block):
        before = block(x)
    block.project.weight.data.mul_(2)
    assert (block(x) - before).abs().max() > 0.1
