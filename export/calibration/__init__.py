"""What int8 is calibrated and judged on, whatever writes it."""
