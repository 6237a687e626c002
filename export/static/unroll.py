"""The static form: K Euler steps unrolled, the time embedding folded into biases.

Every residual block adds `Linear(silu(embedding(t)))` to the output of its first convolution. In
the static graph, t takes the K values 0, 1/K, ..., so each step gets its own convolutions with the
bias `b + Linear(silu(embedding(i/K)))`. All steps share the kernels.
"""

import copy

import torch
from torch import Tensor, nn

from elir_edge.errors import ExportError
from elir_edge.model import CollapsibleConv2d, Elir, collapse
from elir_edge.model.autoencoder import Decoder
from elir_edge.model.typed import items
from elir_edge.model.velocity import DownStage, ResidualBlock, UpStage, VelocityUNet
from export.static.noise import corner


class StaticBlock(nn.Module):
    """A residual block at one fixed time.

    The skip convolution may read another tensor than the block, since the rewrite
    `fold_projections` merges the 1x1 convolutions of the first block.
    """

    def __init__(self, block: ResidualBlock, embedding: Tensor) -> None:
        super().__init__()
        self.act = block.act
        self.norm1 = block.norm1
        self.conv1 = _with_bias(block.conv1, block.time(nn.functional.silu(embedding))[0])
        self.norm2 = block.norm2
        self.conv2 = block.conv2
        self.skip = block.skip

    def forward(self, x: Tensor, skip_input: Tensor) -> Tensor:
        """Map x (B, in, h, w) to (B, out, h, w)."""
        h = self.conv2(self.act(self.norm2(self.conv1(self.act(self.norm1(x))))))
        result: Tensor = h + self.skip(skip_input)
        return result


class StaticStep(nn.Module):
    """One Euler step: z + scale * v(z, t) at a fixed t."""

    def __init__(self, velocity: VelocityUNet, t: float, scale: float) -> None:
        super().__init__()
        embedding = velocity.time(torch.tensor([t], dtype=velocity.in_proj.weight.dtype))
        self.in_proj = velocity.in_proj
        down, up = items(velocity.down, DownStage), items(velocity.up, UpStage)
        mid = items(velocity.mid, ResidualBlock)
        self.down_blocks = nn.ModuleList(StaticBlock(s.block, embedding) for s in down)
        self.down_resamples = nn.ModuleList(s.resample for s in down)
        self.mid = nn.ModuleList(StaticBlock(block, embedding) for block in mid)
        self.up_resamples = nn.ModuleList(s.resample for s in up)
        self.up_blocks = nn.ModuleList(StaticBlock(s.block, embedding) for s in up)
        self.act = velocity.act
        self.out_norm = velocity.out_norm
        self.out_conv = velocity.out_conv
        self.out_proj: nn.Module = velocity.out_proj
        self.scale = scale
        self.skip_from_latent = False

    def forward(self, z: Tensor) -> Tensor:
        """Return z (B, C, h, w) after the step."""
        h = self.in_proj(z)
        skips: list[Tensor] = []
        for i, (block, resample) in enumerate(
            zip(self.down_blocks, self.down_resamples, strict=True)
        ):
            h = block(h, z if i == 0 and self.skip_from_latent else h)
            skips.append(h)
            h = resample(h)
        for block in self.mid:
            h = block(h, h)
        for resample, block in zip(self.up_resamples, self.up_blocks, strict=True):
            h = torch.cat([resample(h), skips.pop()], dim=1)
            h = block(h, h)
        v = self.out_proj(self.out_conv(self.act(self.out_norm(h))))
        advanced: Tensor = z + (v if self.scale == 1 else self.scale * v)
        return advanced


class StaticDecoder(nn.Module):
    """The decoder with `3 tanh(z / 3)` written out, so that the factor 3 can be folded."""

    def __init__(self, layers: nn.Sequential) -> None:
        super().__init__()
        self.layers = layers
        self.limit = 3.0

    def forward(self, z: Tensor) -> Tensor:
        """Decode (B, C, h, w) to (B, 3, 8h, 8w)."""
        limited = torch.tanh(z / 3)
        image: Tensor = self.layers(limited if self.limit == 1 else self.limit * limited)
        return image


class StaticElir(nn.Module):
    """ELIR without loops, time input or random numbers: image (and noise) in, all stages out.

    Args:
        model: the model in collapsed form.
        noise: a constant noise sample, (1, C, H/8, W/8); None: the noise is the second input.

    Raises:
        ExportError: the model is in its training form, or has no flow or decoder.
    """

    def __init__(self, model: Elir, noise: Tensor | None) -> None:
        super().__init__()
        if any(isinstance(module, CollapsibleConv2d) for module in model.modules()):
            raise ExportError("the model is in its over-parametrised form", fix="collapse it first")
        if not isinstance(model.velocity, VelocityUNet) or not isinstance(model.decoder, Decoder):
            raise ExportError(
                "the model has no vector field or no decoder: it was made for an ablation",
                expected="a model that restores in the latent space by a flow",
            )
        num_steps = model.config.num_steps
        with torch.no_grad():
            self.encoder = model.encoder
            self.coarse = model.coarse
            self.steps = nn.ModuleList(
                StaticStep(model.velocity, step / num_steps, 1 / num_steps)
                for step in range(num_steps)
            )
            self.decoder = StaticDecoder(model.decoder.layers)
        self.noise: Tensor | None
        self.register_buffer("noise", noise)

    def stages(self, image: Tensor, noise: Tensor | None = None) -> dict[str, Tensor]:
        """Return every stage's output by name, in order; `restored` is clamped to [0, 1]."""
        draw = self.noise if noise is None else noise
        if draw is None:
            raise ExportError("this static model takes its noise as an input")
        stages = {"latent": self.encoder(image)}
        stages["coarse"] = self.coarse(stages["latent"])
        z = stages["coarse"] + draw
        for i, step in enumerate(self.steps, start=1):
            z = stages[f"step_{i}"] = step(z)
        stages["decoded"] = self.decoder(z)
        stages["restored"] = stages["decoded"].clamp(0, 1)
        return stages

    def forward(self, image: Tensor, noise: Tensor | None = None) -> tuple[Tensor, ...]:
        """Return the stages' outputs as a tuple, for the exporter."""
        return tuple(self.stages(image, noise).values())

    @property
    def stage_names(self) -> list[str]:
        """Names of the outputs of `forward`, in order."""
        steps = [f"step_{i}" for i in range(1, len(self.steps) + 1)]
        return ["latent", "coarse", *steps, "decoded", "restored"]


def static_form(model: Elir, noise: Tensor | None) -> StaticElir:
    """Collapse and unroll a trained model; for the other arguments and errors see `unroll`."""
    collapsed = collapse(model)
    assert isinstance(collapsed, Elir)
    return unroll(collapsed, noise)


def unroll(model: Elir, noise: Tensor | None) -> StaticElir:
    """Return the static form of a collapsed model, for inference; the model is not changed.

    Args:
        model: see `StaticElir`.
        noise: see `StaticElir`.

    Raises:
        ExportError: see `StaticElir`.
    """
    return StaticElir(copy.deepcopy(model).eval().requires_grad_(False), noise).eval()


def at_side(
    static: StaticElir, image: Tensor, noise: Tensor | None, side: int
) -> tuple[StaticElir, Tensor | None]:
    """Return the static model for smaller images, and their noise if the noise is an input.

    Args:
        static: the static model.
        image: an example image (B, 3, H, H) of the model's size.
        noise: an example (B, C, H/8, H/8) if the noise is an input, else None.
        side: side of the smaller images, in pixels; their noise is a corner of the present one.
    """
    own = static.noise if noise is None else noise
    assert own is not None
    smaller = corner(own, side, image.shape[-1]).contiguous()
    if noise is not None:
        return static, smaller
    small = copy.deepcopy(static)
    small.noise = smaller
    return small, None


def _with_bias(conv: nn.Module, extra: Tensor) -> nn.Conv2d:
    """Return a convolution that shares `conv`'s kernel and adds `extra` to its bias."""
    assert isinstance(conv, nn.Conv2d)
    assert conv.bias is not None
    twin = copy.copy(conv)
    twin._parameters = dict(conv._parameters)
    twin.bias = nn.Parameter(conv.bias.detach() + extra, requires_grad=False)
    return twin
