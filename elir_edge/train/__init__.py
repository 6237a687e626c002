"""Training: presets, objectives and the training loop."""
