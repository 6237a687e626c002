"""The ELIR networks, in their training (over-parametrised) form and their collapsed form."""

from elir_edge.model.collapsible import CollapsibleConv2d, collapse
from elir_edge.model.config import ModelConfig, nano_config, paper_config_for
from elir_edge.model.elir import Elir, draw_noise, initialize

__all__ = [
    "CollapsibleConv2d",
    "Elir",
    "ModelConfig",
    "collapse",
    "draw_noise",
    "initialize",
    "nano_config",
    "paper_config_for",
]
