"""Efficient Latent Image Restoration on edge devices: train, export, run.

Importing this package imports neither torch nor any runtime. Applications use `elir_edge.runtime`.
"""

__version__ = "0.1.0"
