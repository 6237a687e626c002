"""The target for ONNX Runtime and OpenVINO."""
