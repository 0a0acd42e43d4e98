"""What happens to a projector, as small steps; and a case: a history, the steps, and the property in question."""

from __future__ import annotations

from dataclasses import dataclass, replace

from lab.kit.history import TrialHistory

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
class Lose:
    """The channel loses the messages of these positions."""

    positions: tuple[int, ...]


@dataclass(frozen=True)
class Poll:
    """Catch-up asks for the next page. `lag`: the page is read from before the last so many commits."""

    limit: int
    lag: int = 0


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


Step = Commit | Deliver | Lose | Poll | Die | Rewind


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
        return [position for step in self.script if isinstance(step, Commit) for position in step.positions]

    def possible(self) -> bool:
        """Whether a source of truth can have done that: each record's revisions in order, and nothing deleted twice."""
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
