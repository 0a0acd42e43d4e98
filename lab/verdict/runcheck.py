"""A check of runs: its description, its function on the evidence, when it can be made, and how its witness is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from lab.checks import OF_RUNS, Check
from lab.verdict.evidence import Evidence
from lab.verdict.finding import Finding
from lab.verdict.story import Story
from lab.verdict.witness import Witness, witness

Needs = Callable[[Evidence], str | None]


@dataclass(frozen=True)
class RunCheck:
    """One check of runs. Calling it looks at the evidence of one projection.

    `needs` says why the check can't be made of a projection, or None if it can. `look` leaves the anomaly's name out of
    the witness; it is put before it here.
    """

    about: Check
    look: Callable[[Evidence], Finding]
    needs: tuple[Needs, ...]
    story: Story

    def __call__(self, evidence: Evidence) -> Finding:
        """Pass, fail with the witness of one violation, or unknown with the reason."""
        for needed in self.needs:
            if (reason := needed(evidence)) is not None:
                return Finding("unknown", 0, reason)
        return self.named(self.look(evidence))

    def named(self, finding: Finding) -> Finding:
        """The finding with the anomaly's name before its witness, if it is a failure."""
        if finding.verdict != "fail":
            return finding
        return replace(finding, witness=f"{self.about.anomaly}: {finding.witness}")

    def witness(self, evidence: Evidence, finding: Finding) -> Witness | None:
        """The fewest deliveries that still show what this check found; None if there is no such witness."""
        return witness(evidence, self, self.story, finding)


def run_check(*needs: Needs, story: Story | None = None) -> Callable[[Callable[[Evidence], Finding]], RunCheck]:
    """Decorator: the function is the check of runs that `lab.checks` describes under the function's name."""

    def made(look: Callable[[Evidence], Finding]) -> RunCheck:
        return RunCheck(OF_RUNS[look.__name__], look, needs, story or Story())

    return made


def has_content(evidence: Evidence) -> str | None:
    """Needs: the contents of the projection."""
    return "the store keeps nothing to look at" if evidence.dumps is None else None


def has_checkpoint(evidence: Evidence) -> str | None:
    """Needs: a checkpoint. A projection that is fed by messages alone has none."""
    return None if evidence.journal.checkpoints else "fed by messages alone: there is no checkpoint"
