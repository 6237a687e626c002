"""From a checkpoint to a verified bundle: `python -m export --task denoising --target onnx`."""
