"""Exact rewrites of the static model, in the order in which they may be applied.

Each takes a static model and returns a new one that computes the same, with the number of changes
and the reasons why layers were left unchanged.
"""

from collections.abc import Callable

from export.static.rewrites.base import RewriteResult
from export.static.rewrites.fold_projections import fold_projections
from export.static.rewrites.fold_scales import fold_scales
from export.static.rewrites.last_convolution import last_convolution
from export.static.rewrites.norm_to_averages import norm_to_averages
from export.static.rewrites.transpose_to_phases import transpose_to_phases
from export.static.rewrites.transpose_to_shuffle import transpose_to_shuffle
from export.static.rewrites.upsample_convolution import upsample_convolution
from export.static.unroll import StaticElir

Rewrite = Callable[[StaticElir], RewriteResult]

REWRITES: dict[str, Rewrite] = {
    "fold_scales": fold_scales,
    "fold_projections": fold_projections,
    "upsample_convolution": upsample_convolution,
    "transpose_to_shuffle": transpose_to_shuffle,
    "transpose_to_phases": transpose_to_phases,
    "last_convolution": last_convolution,
    "norm_to_averages": norm_to_averages,
}
