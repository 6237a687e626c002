"""Training: presets, objectives, the loop."""
