"""Conversion of the static torch graph to ONNX."""
