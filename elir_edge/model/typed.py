"""Modules out of torch's containers, with their types."""

from collections.abc import Iterable
from typing import TypeVar

from torch import nn

M = TypeVar("M", bound=nn.Module)


def items(modules: Iterable[nn.Module], kind: type[M]) -> list[M]:
    """Return the modules as a list of `kind`, which each of them must be."""
    result = []
    for module in modules:
        if not isinstance(module, kind):
            raise TypeError(f"{type(module).__name__} instead of {kind.__name__}")
        result.append(module)
    return result
