"""Examples for `lab check`: a textbook's handler, and the same handler corrected."""
