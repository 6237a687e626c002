"""What a rewrite gives, and what tells why it refused."""

import copy
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from torch import nn

from export.static.unroll import StaticElir, StaticStep


@dataclass(frozen=True, kw_only=True)
class Rewritten:
    """A static model after a rewrite.

    Attributes:
        static: with the same function.
        count: how often the rewrite applied.
        refusals: layers that it is for and that it left alone, with the precondition they miss;
            where there is no such layer, that.
    """

    static: StaticElir
    count: int
    refusals: tuple[str, ...] = ()


def reasons_of(refused: Iterable[tuple[str, str]], *, count: int, none: str) -> tuple[str, ...]:
    """Return a line for each reason, naming the first layers that it holds for.

    Args:
        refused: pairs of a layer's path and the reason.
        count: how often the rewrite applied.
        none: the line where it neither applied nor refused.
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
    """Return the first attribute that is not as expected, said in a phrase; None: all are."""
    for name, value in expected.items():
        got = getattr(layer, name)
        if got != value:
            return f"{name} {got}, expected {value}"
    return None


def replace_transposed(
    static: StaticElir,
    refusal_of: Callable[[nn.ConvTranspose2d], str | None],
    replacement_of: Callable[[nn.ConvTranspose2d], nn.Module],
) -> Rewritten:
    """Replace transposed convolutions of the decoder and of the steps' upsamplings.

    Args:
        static: left as it was.
        refusal_of: the precondition that a layer misses; None: it is replaced.
        replacement_of: a layer with the same function. Steps that shared a layer share it again.
    """
    static = copy.deepcopy(static)
    made: dict[int, nn.Module] = {}
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
        if id(layer) not in made:
            made[id(layer)] = replacement_of(layer)
        parent[i] = made[id(layer)]
        count += 1
    none = "there is no transposed convolution"
    return Rewritten(
        static=static, count=count, refusals=reasons_of(refused, count=count, none=none)
    )


def _upsamplings(
    static: StaticElir,
) -> Iterator[tuple[str, nn.Sequential | nn.ModuleList, int]]:
    """Yield path, parent and index of the decoder's layers and the steps' upsamplings."""
    for i in range(len(static.decoder.layers)):
        yield f"decoder.layers.{i}", static.decoder.layers, i
    for number, step in enumerate(static.steps):
        assert isinstance(step, StaticStep)
        for i in range(len(step.up_resamples)):
            yield f"steps.{number}.up_resamples.{i}", step.up_resamples, i
