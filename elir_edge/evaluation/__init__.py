"""Evaluation of checkpoints and bundles: metrics, pictures and reports."""
