"""Latent consistency flow matching: paths, segments and losses; networks arrive as callables."""
