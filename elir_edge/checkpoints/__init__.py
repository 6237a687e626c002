"""Reading of weights (own files, published files) and downloads; no other package reads them."""
