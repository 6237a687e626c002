"""What only the TensorRT target needs: its int8 graphs, its lines for applications."""
