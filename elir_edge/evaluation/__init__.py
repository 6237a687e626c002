"""Quality of checkpoints and bundles: metrics, pictures, reports."""
