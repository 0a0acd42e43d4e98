"""What the lab raises, and how a mistake is told: loaded before anything else, so without the libraries of data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches


def nearest(word: str, valid: Iterable[str]) -> str:
    """Suggest a correction for a mistyped name: the nearest valid one, or all of them if none is near."""
    names = sorted(valid)
    if close := get_close_matches(str(word), names, n=1, cutoff=0.5):
        return f"did you mean `{close[0]}`?"
    return f"valid: {', '.join(names)}" if names else "nothing is valid here"


@dataclass(frozen=True, order=True)
class Problem:
    """One mistake: where (file, table, key), what, and a way out."""

    where: str
    what: str
    way_out: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" + (f" ({self.way_out})" if self.way_out else "")


class LabError(Exception):
    """Everything that the lab itself raises. The command line prints it without a traceback.

    LabError
    ├── BadInput          the user's file, key or argument is wrong; carries every problem at once
    │   └── NotReadable   the file itself can't be read: missing, binary, not TOML, not a run
    │       └── DamagedRun  a file of a finished run is not what the lab wrote (`lab.runs`)
    ├── MissingDriver     a store's library is not installed; says how to get it
    ├── ReadOnly          a query tried to change a projection
    ├── CannotTake        a store can't take a change, however often it is tried: the change is poison to it
    ├── Unavailable       a store refused a batch for now; the same batch may succeed later
    ├── Fenced            another process was given the partition that this one writes to
    ├── Damaged           a store's files are not what was written there
    ├── NotAnswered       the store can't answer this class of query
    │   └── NoAnswer      a statement of the user's own came to no answer: an error, too long, too large
    ├── SourceLost        the source of truth was deleted or replaced, or another one is in its place
    └── Unsound           the lab's own evidence contradicts itself: no figure of the run can be trusted
    """

    # Exit status of a command that ends with this error: 2 for bad input, 3 if no verdict is possible, 4 for the rest.
    exit_status = 2


@dataclass
class BadInput(LabError):
    """The user's input is wrong. All problems are reported at once, each with its place and a way out."""

    problems: Sequence[Problem] = field(default_factory=tuple)

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


class NotReadable(BadInput):
    """A file that can't be read at all."""

    def __init__(self, where: str, what: str, way_out: str = "") -> None:
        super().__init__([Problem(where, what, way_out)])


class MissingDriver(LabError):
    """A store's library is not installed."""


class ReadOnly(LabError):
    """A query tried to change a projection."""

    exit_status = 4


class CannotTake(LabError):
    """A store can't take a change, however often it is tried."""

    exit_status = 4


class Unavailable(LabError):
    """A store refused a batch for now."""

    exit_status = 4


class Fenced(LabError):
    """A partition has another owner, of this generation: nothing of the batch is written."""

    exit_status = 4

    def __init__(self, said: str, generation: int) -> None:
        super().__init__(said)
        self.generation = generation


class Damaged(LabError):
    """A store's files are not what was written there."""

    exit_status = 4


class NotAnswered(LabError):
    """A store was asked a class of query that it doesn't answer."""

    exit_status = 4


class SourceLost(LabError):
    """The source of truth was deleted, or replaced by another one."""

    exit_status = 4


class NoAnswer(NotAnswered):
    """A statement of the user's own came to no answer in this engine."""


class Unsound(LabError):
    """The lab's own evidence contradicts itself."""

    exit_status = 3
