"""Photos and their degradations."""
