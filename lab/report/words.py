"""The report's fixed texts: marks of verdicts, and the lines of a witness."""

from __future__ import annotations

MARKS = {"pass": "✓", "fail": "✗", "unknown": "?"}

# The lines of a witness's timeline and their names, from top to bottom.
LINES = {"source": "source of truth", "channel": "channel", "projector": "projector", "reader": "reader"}
