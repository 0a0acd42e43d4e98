"""The source of truth as a catch-up subscription sees it, in the middle of a trial."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lab.kit.history import Change, TrialHistory


class TrialFeed:
    """The source of truth as a catch-up subscription sees it. `only` are the positions that it will ever commit."""

    def __init__(self, history: TrialHistory, only: Sequence[int], snapshot: bool = False) -> None:
        self.history, self.snapshot = history, snapshot
        self._only = sorted(only)
        self.committed: list[int] = []
        self.handed: list[int] = []
        # Called after each answer: what is committed meanwhile is in the next one.
        self.asked: Callable[[], None] = lambda: None

    def _shown(self) -> list[int]:
        if not self.snapshot:
            return self.committed
        last = {change["position"] for change in self.history.last(self.committed).values()}
        return [position for position in self.committed if position in last]

    def changes_since(self, position: int, limit: int) -> list[Change]:
        """Committed changes after this position, by position. What commits late turns up behind the cursor."""
        page = sorted(place for place in self._shown() if place > position)[:limit]
        self.handed += page
        self.asked()
        return [dict(self.history.at(place)) for place in page]

    def commits_since(self, count: int, limit: int) -> tuple[list[Change], int]:
        """Changes after the first `count` commits, in the order of commits, and the count to go on from."""
        shown = set(self._shown())
        page = [(index, place) for index, place in enumerate(self.committed, 1) if index > count and place in shown][
            :limit
        ]
        self.handed += [place for _, place in page]
        self.asked()
        return [dict(self.history.at(place)) for _, place in page], page[-1][0] if page else count

    def horizon(self, count: int | None = None) -> int:
        """Everything up to this position is committed; or is among the first `count` commits."""
        done, last = set(self.committed[:count]), 0
        for position in self._only:
            if position not in done:
                break
            last = position
        self.asked()
        return last

    def head(self) -> int:
        """The newest committed position; 0 if nothing is committed."""
        last = max(self.committed, default=0)
        self.asked()
        return last

    def lagging(self, lag: int) -> TrialFeed:
        """The same before the last so many commits: a page that was read then, a replica that is behind."""
        behind = TrialFeed(self.history, self._only, self.snapshot)
        behind.committed = self.committed[: len(self.committed) - lag] if lag else self.committed
        behind.handed = self.handed
        return behind
