"""The rewrites that end in a shuffle, layer by layer: values, borders, sharing, refusals, nodes."""

import copy
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
import torch
from torch import Tensor, nn

from elir_edge.errors import ParityError
from elir_edge.model import ModelConfig, draw_noise
from elir_edge.model.typed import items
from export.onnx_graph.to_onnx import to_probe_graph
from export.static.rewrites import REWRITES
from export.static.rewrites.last_convolution import as_blocks
from export.static.rewrites.transpose_to_phases import PhaseConvolution
from export.static.rewrites.transpose_to_shuffle import as_shuffle
from export.static.unroll import StaticElir, StaticStep, static_form
from export.verify import StageValues, compare_fp32, model_stages, verify_exact, verify_onnx
from tests.conftest import make_model, tiny_config, tiny_published_like

Form = Callable[[nn.Module], nn.Module]


def _transposed(kernel: int, *, bias: bool = True) -> nn.ConvTranspose2d:
    padding = (kernel - 2) // 2
    return nn.ConvTranspose2d(5, 3, kernel, stride=2, padding=padding, bias=bias)


def _phases(layer: nn.Module) -> nn.Module:
    assert isinstance(layer, nn.ConvTranspose2d)
    return PhaseConvolution(layer)


LAYERS: list[tuple[nn.Module, Form]] = [
    (_transposed(2), as_shuffle),
    (_transposed(2, bias=False), as_shuffle),
    (_transposed(4), _phases),
    (_transposed(4, bias=False), _phases),
    (nn.Conv2d(5, 3, 3, padding=1), as_blocks),
    (nn.Conv2d(5, 3, 3, padding=1, bias=False), as_blocks),
]
SIZES = [(1, 1), (1, 3), (2, 5)]
"""In pixels, or in blocks for the last convolution: most windows hang over a border."""


def _differences(layer: nn.Module, form: Form, dtype: torch.dtype, error: float) -> list[float]:
    """Return the largest difference for each size; one weight of the new form is off by `error`."""
    generator = torch.Generator().manual_seed(0)
    layer = copy.deepcopy(layer).to(dtype).requires_grad_(False)
    for parameter in layer.parameters():
        parameter.uniform_(-1, 1, generator=generator)
    rewritten = form(layer).requires_grad_(False)
    next(rewritten.parameters()).view(-1)[0] += error
    scale = 4 if isinstance(layer, nn.Conv2d) else 1
    differences = []
    for height, width in SIZES:
        x = torch.rand(2, 5, scale * height, scale * width, generator=generator).to(dtype)
        expected, got = layer(x), rewritten(x)
        assert got.shape == expected.shape
        differences.append(float((got - expected).abs().max()))
    return differences


@pytest.mark.parametrize(("dtype", "most"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize(("layer", "form"), LAYERS)
def test_layer_is_equal_to_its_borders(
    layer: nn.Module, form: Form, dtype: torch.dtype, most: float
) -> None:
    assert max(_differences(layer, form, dtype, error=0)) <= most


@pytest.mark.parametrize(("layer", "form"), LAYERS)
def test_layer_with_a_corrupted_weight_is_not(layer: nn.Module, form: Form) -> None:
    """The twin: one weight off by a thousandth shows, if its window ever leaves the border."""
    assert max(_differences(layer, form, torch.float64, error=1e-3)) > 1e-5


def _column(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float32).view(1, 1, -1, 1)


def test_shuffle_by_hand() -> None:
    """Each pixel becomes itself times the kernel."""
    layer = nn.ConvTranspose2d(1, 1, 2, stride=2)
    layer.weight.data.copy_(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]))
    layer.bias.data.fill_(0.5)  # type: ignore[union-attr]
    got = as_shuffle(layer)(_column(1, 10))[0, 0]
    assert got.tolist() == [[1.5, 2.5], [3.5, 4.5], [10.5, 20.5], [30.5, 40.5]]


def test_phases_by_hand() -> None:
    """Taps 1 2 4 8 along the rows: y0 = 2 x0, y1 = 4 x0 + x1, y2 = 8 x0 + 2 x1, y3 = 4 x1."""
    layer = nn.ConvTranspose2d(1, 1, 4, stride=2, padding=1, bias=False)
    layer.weight.data.zero_()
    layer.weight.data[0, 0, :, 1] = torch.tensor([1.0, 2.0, 4.0, 8.0])
    got = PhaseConvolution(layer)(_column(1, 10))[0, 0]
    assert got[:, 0].tolist() == [2.0, 14.0, 28.0, 40.0]
    assert got[:, 1].tolist() == [0.0] * 4


def test_blocks_by_hand() -> None:
    """A kernel whose one tap is the upper left moves the image down and right by a pixel."""
    layer = nn.Conv2d(1, 1, 3, padding=1, bias=False)
    layer.weight.data.zero_()
    layer.weight.data[0, 0, 0, 0] = 1
    x = torch.arange(1.0, 33.0).view(1, 1, 8, 4)
    expected = torch.zeros_like(x)
    expected[..., 1:, 1:] = x[..., :-1, :-1]
    assert torch.equal(as_blocks(layer)(x), expected)


def _case(config: ModelConfig, dtype: torch.dtype) -> tuple[StaticElir, Tensor, StageValues]:
    model = make_model(config).to(dtype)
    image = torch.rand(1, 3, 32, 48, generator=torch.Generator().manual_seed(0)).to(dtype)
    noise = draw_noise(model.config, 32, 48).to(dtype)
    return static_form(model, noise), image, model_stages(model, image, noise)


NANO, PUBLISHED = tiny_config(), tiny_published_like()
APPLICABLE = [
    (NANO, ("transpose_to_shuffle",)),
    (PUBLISHED, ("transpose_to_phases",)),
    (PUBLISHED, ("last_convolution",)),
    (PUBLISHED, ("upsample_convolution", "transpose_to_phases", "last_convolution")),
]


def _step_resample(static: StaticElir) -> nn.Module:
    return items(static.steps, StaticStep)[0].up_resamples[0]


def _last(static: StaticElir) -> nn.Module:
    return static.decoder.layers[-1]


@pytest.mark.parametrize(
    ("config", "rewrite", "place", "stage"),
    [
        (NANO, "transpose_to_shuffle", _step_resample, "step_1"),
        (NANO, "transpose_to_shuffle", _last, "decoded"),
        (PUBLISHED, "transpose_to_phases", _step_resample, "step_1"),
        (PUBLISHED, "last_convolution", _last, "decoded"),
    ],
)
def test_a_corrupted_new_layer_is_named(
    config: ModelConfig, rewrite: str, place: Callable[[StaticElir], nn.Module], stage: str
) -> None:
    static, image, expected = _case(config, torch.float64)
    rewritten = REWRITES[rewrite](static).static
    verify_exact(rewrite, expected, rewritten, image, None)
    for parameter in place(rewritten).parameters():
        parameter += 1e-3
    with pytest.raises(ParityError, match=stage):
        verify_exact(rewrite, expected, rewritten, image, None)


@pytest.mark.parametrize(("config", "rewrites"), APPLICABLE)
def test_steps_go_on_sharing_their_kernels(config: ModelConfig, rewrites: tuple[str, ...]) -> None:
    static, _, _ = _case(config, torch.float32)
    for rewrite in rewrites:
        static = REWRITES[rewrite](static).static
    first, *others = items(static.steps, StaticStep)
    assert others
    for step in others:
        for mine, theirs in zip(first.up_resamples, step.up_resamples, strict=True):
            assert mine is theirs or isinstance(mine, nn.Identity)


@pytest.mark.parametrize(
    ("config", "rewrites"),
    [(NANO, ("transpose_to_shuffle",)), (PUBLISHED, ("transpose_to_phases", "last_convolution"))],
)
def test_exported_graph_pads_in_its_convolutions_and_holds_each_kernel_once(
    config: ModelConfig, rewrites: tuple[str, ...], tmp_path: Path
) -> None:
    static, image, expected = _case(config, torch.float32)
    total = 0
    for rewrite in rewrites:
        done = REWRITES[rewrite](static)
        static, count = done.static, done.count
        total += count
    graph = to_probe_graph(static, image, None)
    verify_onnx("onnx", graph, tmp_path, expected, image, None, compare_fp32)
    nodes = Counter(node.op_type for node in graph.graph.node)
    assert nodes["DepthToSpace"] == total
    assert nodes["Pad"] == nodes["ConvTranspose"] == 0
    assert _num_weights(graph) == sum(p.numel() for p in static.parameters() if p.dim() == 4)


def _num_weights(graph: onnx.ModelProto) -> int:
    kernels = {node.input[1] for node in graph.graph.node if node.op_type == "Conv"}
    weights = [weight for weight in graph.graph.initializer if weight.name in kernels]
    assert len(weights) == len(kernels)
    return sum(torch.Size(weight.dims).numel() for weight in weights)


@pytest.mark.parametrize(
    ("rewrite", "layer"),
    [
        ("transpose_to_shuffle", nn.ConvTranspose2d(8, 4, 3, stride=2)),
        ("transpose_to_shuffle", nn.ConvTranspose2d(8, 4, 2, stride=1)),
        ("transpose_to_shuffle", nn.ConvTranspose2d(8, 4, 2, stride=2, padding=1)),
        ("transpose_to_shuffle", nn.ConvTranspose2d(8, 4, 2, stride=2, output_padding=1)),
        ("transpose_to_shuffle", nn.ConvTranspose2d(8, 4, 2, stride=2, dilation=2)),
        ("transpose_to_shuffle", nn.ConvTranspose2d(8, 4, 2, stride=2, groups=2)),
        ("transpose_to_shuffle", nn.ConvTranspose2d(8, 4, 4, stride=2, padding=1)),
        ("transpose_to_phases", nn.ConvTranspose2d(8, 4, 2, stride=2)),
        ("transpose_to_phases", nn.ConvTranspose2d(8, 4, 4, stride=2)),
        ("transpose_to_phases", nn.ConvTranspose2d(8, 4, 4, stride=4, padding=1)),
        (
            "transpose_to_phases",
            nn.ConvTranspose2d(8, 4, 4, stride=2, padding=1, output_padding=1),
        ),
        ("transpose_to_phases", nn.ConvTranspose2d(8, 4, 4, stride=2, padding=1, dilation=2)),
        ("transpose_to_phases", nn.ConvTranspose2d(8, 4, 4, stride=2, padding=1, groups=2)),
        ("last_convolution", nn.Conv2d(8, 8, 3, padding=1)),
        ("last_convolution", nn.Conv2d(8, 4, 5, padding=1)),
        ("last_convolution", nn.Conv2d(8, 4, 3, padding=1, stride=2)),
        ("last_convolution", nn.Conv2d(8, 4, 3)),
        ("last_convolution", nn.Conv2d(8, 4, 3, padding=1, padding_mode="reflect")),
        ("last_convolution", nn.Conv2d(8, 4, 3, padding=1, dilation=2)),
        ("last_convolution", nn.Conv2d(8, 4, 3, padding=1, groups=2)),
        ("last_convolution", nn.ReLU()),
    ],
)
def test_other_layers_are_left(rewrite: str, layer: nn.Module) -> None:
    static, _, _ = _case(PUBLISHED, torch.float32)
    for step in items(static.steps, StaticStep):
        step.up_resamples = nn.ModuleList([layer])
    static.decoder.layers = nn.Sequential(layer)
    done = REWRITES[rewrite](static)
    rewritten = done.static
    assert done.count == 0
    assert all("expected" in line or "no transposed" in line for line in done.refusals)
    assert done.refusals
    assert rewritten is not static
    assert type(rewritten.decoder.layers[0]) is type(layer)
