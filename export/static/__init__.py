"""From the trained model to one static torch graph."""
