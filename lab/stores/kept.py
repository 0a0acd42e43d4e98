"""What a projection can keep of the changes that it is given, in the words of a scenario, and what follows from it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Kept:
    """One way of keeping changes.

    `identity` are the columns that tell one row from another: a second write of it replaces the first. `replaces` says
    that a record's newer revision takes the place of its older one; `adds`, that rows are increments which are added to
    those of their group, and no row of a record is kept.
    """

    identity: tuple[str, ...]
    replaces: bool = False
    adds: bool = False

    @property
    def every_revision(self) -> bool:
        """Whether each revision has a row of its own, so that none may be missing from the feed."""
        return not self.replaces and not self.adds


KEPT: dict[str, Kept] = {
    "records": Kept(("key",), replaces=True),
    "revisions": Kept(("key", "revision")),
    "totals": Kept(("key", "revision"), adds=True),
}
