"""The result of a rewrite, and helpers that describe why layers were refused."""

import copy
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from torch import nn

from export.static.unroll import StaticElir, StaticStep


@dataclass(frozen=True, kw_only=True)
class RewriteResult:
    """A static model after a rewrite.

    Attributes:
        static: the new static model, which computes the same.
        count: how often the rewrite was applied.
        refusals: lines that name layers of the right kind that were left unchanged, with the
            precondition that they violate; or one line that there is no such layer.
    """

    static: StaticElir
    count: int
    refusals: tuple[str, ...] = ()


def reasons_of(refused: Iterable[tuple[str, str]], *, count: int, none: str) -> tuple[str, ...]:
    """Return one line per reason, with the first layers that were refused for it.

    Args:
        refused: pairs of a layer's path and the reason.
        count: how often the rewrite was applied.
        none: the line to return if no layer was rewritten or refused.
    """
    by_reason: dict[str, list[str]] = {}
    for path, reason in refused:
        by_reason.setdefault(reason, []).append(path)
    lines = tuple(
        f"{', '.join(paths[:3])}{', ...' if len(paths) > 3 else ''}: {reason}"
        for reason, paths in by_reason.items()
    )
    return lines if lines or count else (none,)


def mismatch(layer: nn.Module, **expected: object) -> str | None:
    """Return a phrase about the first attribute that is not as expected; None: all are."""
    for name, value in expected.items():
        got = getattr(layer, name)
        if got != value:
            return f"{name} {got}, expected {value}"
    return None


def replace_transposed(
    static: StaticElir,
    refusal_of: Callable[[nn.ConvTranspose2d], str | None],
    replacement_of: Callable[[nn.ConvTranspose2d], nn.Module],
) -> RewriteResult:
    """Replace transposed convolutions in the decoder and in the Euler steps' upsampling.

    Args:
        static: the static model; it is not changed.
        refusal_of: returns the precondition that a layer violates; None: the layer is replaced.
        replacement_of: returns an equivalent layer. Steps that shared a layer share the new one.
    """
    static = copy.deepcopy(static)
    replacements: dict[int, nn.Module] = {}
    refused: list[tuple[str, str]] = []
    count = 0
    for path, parent, i in _upsamplings(static):
        layer = parent[i]
        if not isinstance(layer, nn.ConvTranspose2d):
            continue
        refusal = refusal_of(layer)
        if refusal is not None:
            refused.append((path, refusal))
            continue
        if id(layer) not in replacements:
            replacements[id(layer)] = replacement_of(layer)
        parent[i] = replacements[id(layer)]
        count += 1
    none = "there is no transposed convolution"
    return RewriteResult(
        static=static, count=count, refusals=reasons_of(refused, count=count, none=none)
    )


def _upsamplings(
    static: StaticElir,
) -> Iterator[tuple[str, nn.Sequential | nn.ModuleList, int]]:
    """Yield path, parent and index of the decoder's layers and the steps' upsampling layers."""
    for i in range(len(static.decoder.layers)):
        yield f"decoder.layers.{i}", static.decoder.layers, i
    for number, step in enumerate(static.steps):
        assert isinstance(step, StaticStep)
        for i in range(len(step.up_resamples)):
            yield f"steps.{number}.up_resamples.{i}", step.up_resamples, i
