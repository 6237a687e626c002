"""The target for TensorRT engines."""
