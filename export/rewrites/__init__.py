"""Exact rewrites of the static model, in the order in which they may be applied.

Each takes a static model and returns a new one with the same function, and how often it applied.
"""

from collections.abc import Callable

from export.prepare import StaticElir
from export.rewrites.fold_projections import fold_projections
from export.rewrites.fold_scales import fold_scales
from export.rewrites.last_convolution import last_convolution
from export.rewrites.norm_to_averages import norm_to_averages
from export.rewrites.transpose_to_phases import transpose_to_phases
from export.rewrites.transpose_to_shuffle import transpose_to_shuffle
from export.rewrites.upsample_convolution import upsample_convolution

Rewrite = Callable[[StaticElir], tuple[StaticElir, int]]

REWRITES: dict[str, Rewrite] = {
    "fold_scales": fold_scales,
    "fold_projections": fold_projections,
    "upsample_convolution": upsample_convolution,
    "transpose_to_shuffle": transpose_to_shuffle,
    "transpose_to_phases": transpose_to_phases,
    "last_convolution": last_convolution,
    "norm_to_averages": norm_to_averages,
}
