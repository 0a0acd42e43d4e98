"""The course's library: short experiments, sliders, figures in the report's style, and claims that must hold.

`LAB_TEACHING_SCALE` shrinks or grows every experiment (`scale`).
"""

from lab.teach import (
    choosing,
    corners,
    dying,
    figures,
    ladder,
    loading,
    loops,
    moving,
    onetable,
    people,
    queueing,
    racing,
    streams,
)
from lab.teach.animation import animate, moments
from lab.teach.assignments import hand_in, passed
from lab.teach.desk import Reader, do, growth, source_of_truth
from lab.teach.experiments import (
    experiment,
    from_file,
    lag_of,
    messages,
    never_visible,
    projection,
    verdict,
    witness,
)
from lab.teach.output import ClaimFailed, claim, say, show, table
from lab.teach.ride import ride
from lab.teach.widgets import choice, explore, share, slider

__all__ = [
    "ClaimFailed",
    "Reader",
    "animate",
    "choice",
    "choosing",
    "claim",
    "corners",
    "do",
    "dying",
    "experiment",
    "explore",
    "figures",
    "from_file",
    "growth",
    "hand_in",
    "ladder",
    "lag_of",
    "loading",
    "loops",
    "messages",
    "moments",
    "moving",
    "never_visible",
    "onetable",
    "passed",
    "people",
    "projection",
    "queueing",
    "racing",
    "ride",
    "say",
    "share",
    "show",
    "slider",
    "source_of_truth",
    "streams",
    "table",
    "verdict",
    "witness",
]
