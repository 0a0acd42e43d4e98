"""Scale the experiments of the course by one environment variable."""

from __future__ import annotations

import os

from lab.base import BadInput, Problem

VARIABLE = "LAB_TEACHING_SCALE"


def scale() -> float:
    """Return the factor for numbers of commands: `LAB_TEACHING_SCALE`, or 1. Raises BadInput if it is no number."""
    text = os.environ.get(VARIABLE, "1")
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.05 <= value <= 100:
        raise BadInput([Problem(VARIABLE, f"`{text}` is no scale", "a number from 0.05 to 100; 1 is as the course is")])
    return value


def scaled(count: int) -> int:
    """Return a number multiplied by the scale; at least 1."""
    return max(1, round(count * scale()))
