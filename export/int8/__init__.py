"""INT8 quantization: the search for the fastest recipe that passes the quality gates.

photos -> equalize -> observe ranges -> search (each recipe: quantize -> correct biases -> judge).
"""
