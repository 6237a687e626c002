"""The shipped checkpoints; `elir_edge.checkpoints.own` reads them."""
