"""How hard tests try: few examples by day, where the suite should end soon; `make nightly` sets EXAMPLES to many."""

from __future__ import annotations

import os


def examples(by_day: int) -> int:
    """So many examples, or as many as EXAMPLES says, whichever is more."""
    return max(by_day, int(os.environ.get("EXAMPLES", "0")))
