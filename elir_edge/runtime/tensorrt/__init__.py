"""TensorRT in both its kinds: what runs where, building engines, the memory of the GPU."""
