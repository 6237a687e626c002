"""Conversion of the trained model to a static torch graph."""
