"""Training photos and their degradations."""
