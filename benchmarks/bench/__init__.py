"""The benchmark: the lab, a peer that somebody would pick instead, and the limit, side by side in one run."""
