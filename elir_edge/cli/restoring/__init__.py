"""The parts of `elir-edge restore`."""
