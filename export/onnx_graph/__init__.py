"""From the static torch graph to ONNX."""
