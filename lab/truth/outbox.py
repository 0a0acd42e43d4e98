"""The outbox: a table in which each change is a row for each reader, written in the transaction of its command.

A reader deletes its rows once it has committed what they say. So nothing that was committed is missed, whatever the
order of commits, and after a crash the rows that were not deleted yet are read again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from lab.domain.model import Command
from lab.truth.deciding import Draft

TABLE = "lab_outbox"


def written(command: Command, draft: Draft, columns: Sequence[str]) -> str:
    """One change as text: the row of its change frame without the position, and the record as it was before."""
    record, former = draft.record, draft.former
    row = [draft.key, record.revision, record.deleted, command.at, *(record.state[name] for name in columns)]
    before: list[Any] = [former is not None and not former.deleted]
    before += [former.state[name] if former else None for name in columns]
    return json.dumps([row, before], ensure_ascii=False)


def told(rows: Sequence[tuple[int, str, int, str]]) -> list[tuple[int, str, list[Any], list[Any]]]:
    """Rows of the table, id, entity, position and change, as readers get them."""
    found = [(number, entity, position, json.loads(change)) for number, entity, position, change in rows]
    return [(number, entity, [position, *row], before) for number, entity, position, (row, before) in found]
