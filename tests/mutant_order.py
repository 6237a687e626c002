"""The order in which mutants are tried: random, but the same in every run (a helper)."""

import hashlib
from typing import Any


def place_of(item: Any) -> bytes:
    """Return what cosmic-ray's work items are sorted by."""
    (mutation,) = item.mutations
    name = f"{mutation.module_path} {mutation.operator_name} {mutation.occurrence}"
    return hashlib.sha256(f"{name} {mutation.operator_args}".encode()).digest()
