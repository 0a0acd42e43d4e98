"""What happens to a projector, as small steps; and a case: a history, the steps, and the property in question."""

from __future__ import annotations

from dataclasses import dataclass, replace

from lab.kit.history import TrialHistory

# More changes than this in one step are told in one line.
TOLD_MAX = 12
# The steps at which a projector can die, and how a person says it.
CRASHES = {
    "before-apply": "before it applies anything",
    "between": "in the middle of it",
    "after-checkpoint": "after it was done and before anybody was told",
    "idle": "between two batches",
}


@dataclass(frozen=True)
class Commit:
    """The source of truth commits these positions."""

    positions: tuple[int, ...]


@dataclass(frozen=True)
class Deliver:
    """One batch from the channel, in this order. What isn't committed can't be sent."""

    positions: tuple[int, ...]


@dataclass(frozen=True)
class Each:
    """The same, each change in a batch of its own: what lies between a change and its repetition, told in a line."""

    positions: tuple[int, ...]


@dataclass(frozen=True)
class Lose:
    """The channel loses the messages of these positions."""

    positions: tuple[int, ...]


@dataclass(frozen=True)
class Poll:
    """Catch-up asks for the next page. `lag`: the page is read from before the last so many commits.

    `meanwhile` are positions that are committed after the source was first asked, before it is asked again.
    """

    limit: int
    lag: int = 0
    meanwhile: tuple[int, ...] = ()


@dataclass(frozen=True)
class Die:
    """The next apply is interrupted at this step; `idle` means now. What was not acknowledged is delivered again.

    `reach` is how far the apply comes that is interrupted in the middle: in changes, or in statements and commits.
    """

    at: str
    reach: int = 1


@dataclass(frozen=True)
class Rewind:
    """The feed is read again from this position, as after a reset of a consumer group or the restore of a backup."""

    position: int


@dataclass(frozen=True)
class Takeover:
    """The owner freezes with this batch in hand, and a second one takes over, to which the batch is delivered again."""

    positions: tuple[int, ...]


@dataclass(frozen=True)
class Wake:
    """The frozen owner goes on with the batch that it had in hand."""


Step = Commit | Deliver | Each | Lose | Poll | Die | Rewind | Takeover | Wake
# Those that name positions.
PLACED = (Commit, Deliver, Each, Lose, Takeover)


@dataclass(frozen=True)
class TrialCase:
    """One trial. With `drain`, catch-up polls at the end until it finds nothing more, `page` changes at a time."""

    history: TrialHistory
    script: tuple[Step, ...]
    drain: bool = False
    page: int = 3
    snapshot: bool = False
    recreates: bool = False

    def with_script(self, script: list[Step]) -> TrialCase:
        """The same with other steps."""
        return replace(self, script=tuple(script))

    def committed(self) -> list[int]:
        """The positions that the script commits, in that order."""
        found: list[int] = []
        for step in self.script:
            if isinstance(step, Commit):
                found += step.positions
            elif isinstance(step, Poll):
                found += step.meanwhile
        return found

    def possible(self) -> bool:
        """Whether a source of truth can have done that.

        Each record's revisions come in order, nothing is deleted twice, and a transaction is committed as a whole.
        """
        whole = {
            position: range(change["transaction"], change["transaction"] + change["transaction_size"])
            for step in self.script
            if isinstance(step, Commit)
            for position in step.positions
            if (change := self.history.at(position))["transaction_size"] > 1
        }
        if any(place not in whole for places in whole.values() for place in places):
            return False
        last: dict[object, tuple[int, bool]] = {}
        for position in self.committed():
            change = self.history.at(position)
            revision, deleted = last.get(change["key"], (0, True))
            if change["revision"] != revision + 1 or (deleted and change["deleted"]):
                return False
            if revision and deleted and not self.recreates:
                return False
            last[change["key"]] = (change["revision"], change["deleted"])
        return True
