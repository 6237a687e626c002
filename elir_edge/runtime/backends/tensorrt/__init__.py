"""TensorRT: engines built and run."""
