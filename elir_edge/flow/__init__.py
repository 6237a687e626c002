"""Latent consistency flow matching: paths, segments and losses; networks are given as callables."""
