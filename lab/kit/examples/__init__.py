"""Projectors to try `lab check` on: a textbook's handler, and the same mended."""
