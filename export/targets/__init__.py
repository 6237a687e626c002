"""What bundles can be made for: one folder for each target; `registry.py` has them by name."""
