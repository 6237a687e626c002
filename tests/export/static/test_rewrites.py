"""Each rewrite keeps the function: float64 to 1e-10, float32 to 1e-5, image borders included."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from elir_edge.errors import ParityError
from elir_edge.model import draw_noise
from export.static.rewrites import REWRITES
from export.static.rewrites.base import reasons_of
from export.static.rewrites.fold_projections import compose_projection
from export.static.rewrites.fold_scales import scale_convolution
from export.static.rewrites.transpose_to_shuffle import as_shuffle
from export.static.rewrites.upsample_convolution import as_transposed
from export.static.unroll import StaticElir, static_form
from export.verify import model_stages, verify_exact
from tests.conftest import make_model, tiny_config, tiny_published_like

CONFIGS = {"nano-like": tiny_config(num_steps=3), "published-like": tiny_published_like()}
APPLIED = {
    ("nano-like", "fold_scales"): 3 + 3 + 1,
    ("nano-like", "fold_projections"): 3 + 3,
    ("nano-like", "upsample_convolution"): 0,
    ("nano-like", "transpose_to_shuffle"): 3 + 3,
    ("nano-like", "transpose_to_phases"): 0,
    ("nano-like", "last_convolution"): 0,
    ("published-like", "fold_scales"): 3 + 3 + 1,
    ("published-like", "fold_projections"): 3 + 3,
    ("published-like", "upsample_convolution"): 3,
    ("published-like", "transpose_to_shuffle"): 0,
    ("published-like", "transpose_to_phases"): 3,
    ("published-like", "last_convolution"): 1,
    ("nano-like", "norm_to_averages"): 0,
    ("published-like", "norm_to_averages"): 3 * (5 * 2 + 1),
}


def _case(config: str, dtype: torch.dtype) -> tuple[StaticElir, torch.Tensor, dict]:  # type: ignore[type-arg]
    model = make_model(CONFIGS[config]).to(dtype)
    image = torch.rand(1, 3, 48, 64, generator=torch.Generator().manual_seed(0)).to(dtype)
    noise = draw_noise(model.config, 48, 64).to(dtype)
    return static_form(model, noise), image, model_stages(model, image, noise)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(("config", "rewrite"), APPLIED)
def test_keeps_every_stage(config: str, rewrite: str, dtype: torch.dtype) -> None:
    static, image, expected = _case(config, dtype)
    done = REWRITES[rewrite](static)
    rewritten, count = done.static, done.count
    assert count == APPLIED[config, rewrite]
    verify_exact(rewrite, expected, rewritten, image, None)
    verify_exact("unroll", expected, static, image, None)  # the given one is left as it was


@pytest.mark.parametrize("config", CONFIGS)
def test_all_together_and_twice(config: str) -> None:
    static, image, expected = _case(config, torch.float64)
    for rewrite in (*REWRITES.values(), *REWRITES.values()):
        static = rewrite(static).static
    verify_exact("all", expected, static, image, None)


@pytest.mark.parametrize(("config", "rewrite"), [k for k, count in APPLIED.items() if count])
def test_a_corrupted_weight_is_seen(config: str, rewrite: str) -> None:
    """The twin of `test_keeps_every_stage`: one weight off by a thousandth fails the check."""
    static, image, expected = _case(config, torch.float64)
    rewritten = REWRITES[rewrite](static).static
    first = rewritten.decoder.layers[0]
    assert isinstance(first, nn.Conv2d)
    first.weight.view(-1)[0] += 1e-3
    with pytest.raises(ParityError, match="decoded"):
        verify_exact(rewrite, expected, rewritten, image, None)


def test_upsampling_and_convolution_by_hand() -> None:
    """One channel, taps 1 2 4 along the rows only: y[2i] = x[i-1] + 6 x[i], and so on."""
    conv = nn.Conv2d(1, 1, 3, padding=1, bias=False)
    kernel = torch.zeros(1, 1, 3, 3)
    kernel[0, 0, :, 1] = torch.tensor([1.0, 2.0, 4.0])
    conv.weight.data.copy_(kernel)
    x = torch.tensor([[[[1.0], [10.0]]]])
    got = as_transposed(conv)(x)[0, 0, :, 0]
    assert got.tolist() == [6.0, 43.0, 61.0, 30.0]
    assert torch.equal(got, conv(F.interpolate(x, scale_factor=2))[0, 0, :, 0])


@pytest.mark.parametrize("bias", [True, False])
def test_biases_come_along(bias: bool) -> None:
    """Of both forms of doubling a side; within 1e-6 for values of about 1."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(1, 3, 6, 5, generator=generator)
    conv = nn.Conv2d(3, 2, 3, padding=1, bias=bias)
    doubled = as_transposed(conv)
    assert (doubled.bias is not None) == bias
    torch.testing.assert_close(
        doubled(x), conv(F.interpolate(x, scale_factor=2)), atol=1e-6, rtol=0
    )
    transposed = nn.ConvTranspose2d(3, 2, 2, stride=2, bias=bias)
    shuffled = as_shuffle(transposed)
    first = shuffled[0]
    assert isinstance(first, nn.Conv2d)
    assert (first.bias is not None) == bias
    torch.testing.assert_close(shuffled(x), transposed(x), atol=1e-6, rtol=0)


def test_projection_by_hand() -> None:
    inner, outer = nn.Conv2d(1, 2, 1), nn.Conv2d(2, 1, 1)
    inner.weight.data.copy_(torch.tensor([2.0, 3.0]).view(2, 1, 1, 1))
    inner.bias.data.copy_(torch.tensor([1.0, -1.0]))  # type: ignore[union-attr]
    outer.weight.data.copy_(torch.tensor([5.0, 7.0]).view(1, 2, 1, 1))
    outer.bias.data.fill_(0.5)  # type: ignore[union-attr]
    composed = compose_projection(outer, inner)
    assert composed.weight.item() == 5 * 2 + 7 * 3
    assert composed.bias is not None
    assert composed.bias.item() == 5 * 1 + 7 * -1 + 0.5


def test_scaling_by_hand() -> None:
    conv = nn.Conv2d(1, 1, 1)
    conv.weight.data.fill_(3)
    conv.bias.data.fill_(5)  # type: ignore[union-attr]
    scale_convolution(conv, 0.5)
    assert conv(torch.ones(1, 1, 1, 1)).item() == 4.0


@pytest.mark.parametrize(
    ("upsample", "conv"),
    [
        (nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(8, 8, 3, padding=1)),
        (nn.Upsample(scale_factor=3), nn.Conv2d(8, 8, 3, padding=1)),
        (nn.Upsample(scale_factor=2), nn.Conv2d(8, 8, 5, padding=2)),
        (nn.Upsample(scale_factor=2), nn.Conv2d(8, 8, 3, padding=0)),
        (nn.Upsample(scale_factor=2), nn.ReLU()),
    ],
)
def test_upsample_convolution_refuses_other_pairs(upsample: nn.Module, conv: nn.Module) -> None:
    static, _, _ = _case("nano-like", torch.float32)
    static.decoder.layers = nn.Sequential(upsample, conv)
    done = REWRITES["upsample_convolution"](static)
    assert done.count == 0
    assert [type(m) for m in done.static.decoder.layers] == [type(upsample), type(conv)]
    (refusal,) = done.refusals
    assert refusal.startswith("decoder.layers.0: ")


def test_what_is_left_alone_is_said() -> None:
    static, _, _ = _case("nano-like", torch.float32)
    static.decoder.layers = nn.Sequential(
        nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(8, 8, 3, padding=1)
    )
    done = REWRITES["upsample_convolution"](static)
    assert done.refusals == ("decoder.layers.0: mode bilinear, expected nearest",)
    static.decoder.layers = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1))
    for name, reason in {
        "upsample_convolution": "the decoder has no upsampling of nearest neighbours",
        "last_convolution": "decoder.layers.0: out_channels 8, expected at most 4",
    }.items():
        assert REWRITES[name](static).refusals == (reason,)
    folded = REWRITES["fold_scales"](static)
    assert (folded.count > 0, folded.refusals) == (True, ())
    assert REWRITES["fold_scales"](folded.static).refusals == (
        "there is no factor next to a convolution",
    )


def test_layers_of_one_reason_share_a_line() -> None:
    refused = [(f"layer{i}", "groups 2, expected 1") for i in range(4)] + [("other", "bias")]
    assert reasons_of(refused, count=1, none="none") == (
        "layer0, layer1, layer2, ...: groups 2, expected 1",
        "other: bias",
    )
    assert reasons_of([], count=1, none="none") == ()
    assert reasons_of([], count=0, none="none") == ("none",)
