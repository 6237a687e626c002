"""TensorRT: build engines and run them."""
