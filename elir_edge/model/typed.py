"""Typed access to the modules in torch's containers."""

from collections.abc import Iterable
from typing import TypeVar

from torch import nn

M = TypeVar("M", bound=nn.Module)


def items(modules: Iterable[nn.Module], kind: type[M]) -> list[M]:
    """Return the modules as a list of `kind`; every module must be an instance of `kind`."""
    result = []
    for module in modules:
        if not isinstance(module, kind):
            raise TypeError(f"{type(module).__name__} instead of {kind.__name__}")
        result.append(module)
    return result
