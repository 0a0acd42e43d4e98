"""What a command costs as the stream of its record grows, with and without a snapshot of the aggregate; and shredding.

A stream is the events of one record. To decide a command, an event-sourced write model folds the whole stream; with a
snapshot of the folded state every so many events, it folds only those that came after.
"""

from __future__ import annotations

import atexit
import hashlib
import hmac
import itertools
import json
import secrets
from collections.abc import Sequence
from time import perf_counter

import polars as pl

from lab.base import Key
from lab.domain import domain
from lab.domain.model import Command, Event, Record
from lab.place import FolderPlace
from lab.statistics.quantiles import median
from lab.statistics.replicated import of_median
from lab.teach.experiments import workplace
from lab.truth import Truth, truth_class
from lab.truth.sqlite import SqliteEvents

ENTITY = "employee"
_places = itertools.count()


class SnapshottingEvents(SqliteEvents):
    """Events in SQLite, and beside them the folded state of a record at every `every`-th revision.

    The snapshots are a cache of the fold: written in the transaction of their event, and never published.
    """

    every = 50

    def _make_tables(self) -> None:
        super()._make_tables()
        self._execute("CREATE TABLE IF NOT EXISTS lesson_snapshots (key, revision, deleted, state, PRIMARY KEY (key))")

    def append(self, entity: str, key: Key, record: Record, event: Event, at: float) -> int:
        """Write the event, and the state after it if its number is a multiple of `every`."""
        if record.revision % self.every == 0:
            row = (key, record.revision, record.deleted, json.dumps(record.state))
            self._execute("INSERT OR REPLACE INTO lesson_snapshots VALUES (?, ?, ?, ?)", row)
        return super().append(entity, key, record, event, at)

    def get(self, entity: str, key: Key) -> Record | None:
        """Fold the events after the snapshot onto it; all of them if there is none."""
        kept = self._execute("SELECT revision, deleted, state FROM lesson_snapshots WHERE key = ?", (key,)).fetchall()
        if not kept:
            return super().get(entity, key)
        record = Record(json.loads(kept[0][2]), kept[0][0], bool(kept[0][1]))
        later = self._gets[entity].replace("ORDER BY revision", "AND revision > ? ORDER BY revision")
        for name, deleted, revision, *values in self._execute(later, (key, record.revision)).fetchall():
            row = dict(zip(self.domain.entities[entity].columns, values, strict=True))
            fields = {column: row[column] for column in self.domain.events[entity][name].sets}
            record = Record(self.domain.evolve(record.state, Event(name, fields)), revision, bool(deleted))
        return record


def opened(kept: str) -> Truth:
    """Open an empty source of truth of employees: `snapshot`, `history`, `events`, or `events and snapshots`."""
    made = SnapshottingEvents if kept == "events and snapshots" else truth_class("sqlite", kept)
    truth = made(FolderPlace(workplace() / f"stream-{next(_places)}"), domain("employees"), "normal")
    truth.open()
    atexit.register(truth.close)
    return truth


def by_length(lengths: Sequence[int], kept: Sequence[str], rounds: int = 7, commands: int = 5) -> pl.DataFrame:
    """Measure a command on a record of so many changes, in rounds in which all write models take their turn.

    A row for each length and write model: `length`, `model`, `seconds` (a command, the median of the rounds' medians),
    `seconds_low` and `seconds_high` (its interval at 95 %), `rounds` (each round's median, in order). `lengths` rise.
    """
    truths = {name: opened(name) for name in kept}
    salary, rows = 1_000, []
    for truth in truths.values():
        hired = {"name": "Ada Allen", "manager": None, "department": "Sales", "salary": salary}
        truth.execute(Command(ENTITY, "hire", 1, hired))
    written = 1
    for length in lengths:
        while written < length:
            salary, written = salary + 1, written + 1
            for truth in truths.values():
                truth.execute(Command(ENTITY, "give_raise", 1, {"salary": salary}))
        times: dict[str, list[float]] = {name: [] for name in kept}
        for _ in range(rounds):
            raises = range(salary + 1, salary + 1 + commands)
            for name, truth in truths.items():
                times[name].append(median([_raised(truth, wanted) for wanted in raises]))
            salary, written = salary + commands, written + commands
        rows += [(length, name, median(found), *of_median(found), found) for name, found in times.items()]
    columns = ["length", "model", "seconds", "seconds_low", "seconds_high", "rounds"]
    return pl.DataFrame(rows, schema=columns, orient="row")


def _raised(truth: Truth, salary: int) -> float:
    """Give a raise, and return the seconds that the command took."""
    began = perf_counter()
    truth.execute(Command(ENTITY, "give_raise", 1, {"salary": salary}))
    return perf_counter() - began


class Shredder:
    """Keys of persons, kept apart from the events: what was sealed with a key can't be read once the key is gone.

    The cipher is a keystream of HMAC-SHA256, which is enough to show the idea; a real system takes an authenticated
    cipher of a library, and a key store with backups that forget, too.
    """

    def __init__(self) -> None:
        self._keys: dict[Key, bytes] = {}

    def seal(self, key: Key, nonce: int, text: str) -> str:
        """Return the text sealed with the person's key, as hexadecimal digits. `nonce` is another one each time."""
        secret = self._keys.setdefault(key, secrets.token_bytes(32))
        return _mixed(secret, nonce, text.encode()).hex()

    def unseal(self, key: Key, nonce: int, sealed: str) -> str | None:
        """Return the text; None if the person's key is gone."""
        secret = self._keys.get(key)
        return None if secret is None else _mixed(secret, nonce, bytes.fromhex(sealed)).decode()

    def forget(self, key: Key) -> None:
        """Delete the person's key, which is all that is ever deleted."""
        del self._keys[key]


def _mixed(secret: bytes, nonce: int, data: bytes) -> bytes:
    blocks = range(len(data) // 32 + 1)
    stream = b"".join(hmac.digest(secret, f"{nonce} {block}".encode(), hashlib.sha256) for block in blocks)
    return bytes(one ^ other for one, other in zip(data, stream, strict=False))


def readable(truth: Truth, text: str) -> bool:
    """Return whether a text stands anywhere in the files of a source of truth, as it is."""
    return any(text.encode() in path.read_bytes() for path in truth.place.path.iterdir() if path.is_file())
