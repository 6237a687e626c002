"""The targets that bundles can be made for: one folder each; `registry.py` lists them by name."""
