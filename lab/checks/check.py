"""One check in words: what must hold, what a violation is called, and how it is mended."""

from __future__ import annotations

from dataclasses import dataclass

CHAPTERS: dict[str, str] = {
    "03": "the catch-up subscription",
    "04": "messages go wrong",
    "05": "idempotency is crucial",
    "06": "throw it away and rebuild",
    "07": "how stale is stale",
}


@dataclass(frozen=True)
class Check:
    """One check. `anomaly` is what a violation is called, `holds` what must hold, in a clause without a full stop.

    For a check that is made of each run: `meaning` explains the anomaly to readers of a projection in two sentences,
    `mending` says in one how a scenario is mended, and `chapter` is the notebook that teaches it. For a check that
    `lab check` makes: `advice` says how a projector's code is mended. What a check is not made of is left empty.
    """

    name: str
    anomaly: str
    holds: str
    meaning: str = ""
    mending: str = ""
    chapter: str = ""
    advice: str = ""

    @property
    def taught_in(self) -> str:
        """Return the chapter with its title: `chapter 04, messages go wrong`."""
        return f"chapter {self.chapter}, {CHAPTERS[self.chapter]}"
