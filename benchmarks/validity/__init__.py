"""What the simulator and the statistics are held against, and how well they hold; writes docs/validity.md."""
