"""Int8 as ONNX graphs with pairs of QuantizeLinear and DequantizeLinear."""
