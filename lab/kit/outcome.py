"""What one trial led to: what a reader found after each step, and the story."""

from __future__ import annotations

from dataclasses import dataclass, field

from lab.kit.history import Row
from lab.kit.script import TrialCase
from lab.kit.telling import told


@dataclass(frozen=True)
class Seen:
    """What a reader finds after a step: `told` are the positions acknowledged so far, in their order."""

    step: int
    rows: list[Row]
    checkpoint: int
    committed: int
    told: int
    after: str = ""


@dataclass
class TrialOutcome:
    """What a script led to. `told` are acknowledged positions and `handed` all that were handed over, both in order.

    `lines` are the story: (step, who, what, changes delivered). `raised` is what the projector did that ended it:
    `raises KeyError: 3`. `printed` are the last lines on standard error of a consumer in a process of its own.
    """

    case: TrialCase
    seen: list[Seen] = field(default_factory=list)
    told: list[int] = field(default_factory=list)
    handed: list[int] = field(default_factory=list)
    committed: list[int] = field(default_factory=list)
    lines: list[tuple[int, str, str, int]] = field(default_factory=list)
    raised: str | None = None
    raised_at: int = 0
    notes: set[str] = field(default_factory=set)
    printed: list[str] = field(default_factory=list)

    @property
    def deliveries(self) -> int:
        """How many changes were handed over."""
        return sum(count for _, _, _, count in self.lines)

    def raise_at(self, step: int, error: BaseException) -> None:
        """Note what the projector raised of itself, which ended the trial."""
        # What happened in another process is told in that process's words.
        self.raised, self.raised_at = getattr(error, "lab_told", None) or f"raises {told(error)}", step
        self.lines.append((step, "projector", self.raised, 0))

    def complete(self) -> bool:
        """Whether everything that was committed was handed over and acknowledged."""
        return set(self.told) >= set(self.committed)
