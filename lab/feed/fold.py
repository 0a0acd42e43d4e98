"""Fold events into states, a page at a time and column by column, without a loop over rows.

An event sets columns; a column's value after an event is the one set by the last event that sets it. With
events sorted by record and revision, that last event's place is a running maximum over the places of the events
that set the column; since a record's first event sets every column, the running maximum never reaches into the
record before.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl

from lab.base import Entity
from lab.domain.model import EventType


def fold(events: pl.DataFrame, entity: Entity, types: Mapping[str, EventType]) -> pl.DataFrame:
    """Return each event's row with the record's state after it, sorted by key and revision, `event` as last column.

    `events` must hold every event of each record that it speaks of, from the first; or, in place of the first ones, the
    state after them, as a row without an event.
    """
    frame = events.sort("key", "revision")
    if not frame.height:
        return frame
    places = np.arange(frame.height)
    names = frame["event"]
    whole = names.is_null()
    names = names.fill_null("")
    filled = []
    for column in entity.columns:
        if column not in frame.columns:
            continue
        setting = [name for name, event in types.items() if column in event.sets]
        sets = (names.is_in(setting) | whole).to_numpy()
        last = np.maximum.accumulate(np.where(sets, places, 0))
        filled.append(frame[column].gather(last))
    return frame.with_columns(filled)
