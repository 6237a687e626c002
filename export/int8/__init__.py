"""INT8: calibrate once, write a Q/DQ graph for each runtime, keep what passes the gates.

photos -> equalize -> observe -> (quantize -> correct biases -> judge) for each recipe -> search.
"""
