"""The shipped checkpoints; `elir_edge.checkpoint` reads them."""
