"""How large the experiments of the course are: everything is scaled by one environment variable."""

from __future__ import annotations

import os

from lab.base import BadInput, Problem

VARIABLE = "LAB_TEACHING_SCALE"


def scale() -> float:
    """The factor for numbers of commands; 1 unless `LAB_TEACHING_SCALE` says otherwise. Raises BadInput."""
    text = os.environ.get(VARIABLE, "1")
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.05 <= value <= 100:
        raise BadInput([Problem(VARIABLE, f"`{text}` is no scale", "a number from 0.05 to 100; 1 is as the course is")])
    return value


def scaled(count: int) -> int:
    """So many, at the scale that was asked for; 1 at the least."""
    return max(1, round(count * scale()))
