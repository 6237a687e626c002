"""Efficient Latent Image Restoration on edge devices: train, export, run.

Importing this package imports neither torch nor any runtime; see `elir_edge.runtime` for the part
that applications use.
"""

__version__ = "0.1.0"
