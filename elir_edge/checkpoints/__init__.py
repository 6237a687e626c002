"""The only readers of weights: own files, published files, downloads."""
