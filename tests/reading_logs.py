"""What the tests of change logs share: a log goes in by `lab new`, and the history of the source of truth comes out."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from owndata import new, sound, trace

from lab.base import META
from lab.decimals import visible


@dataclass
class Read:
    """A history: what `lab new` said, and the changes of each entity as rows, decimals as such."""

    told: dict[str, Any]
    frames: dict[str, pl.DataFrame]
    source: tuple[Any, ...]

    @property
    def only(self) -> pl.DataFrame:
        """The changes of the only entity."""
        (found,) = self.frames.values()
        return found

    def states(self, entity: str | None = None) -> dict[Any, tuple[int, bool, dict[str, Any]]]:
        """The last revision of each record: its number, whether it is deleted, its columns."""
        frame = self.only if entity is None else self.frames[entity]
        return {
            row["key"]: (row["revision"], row["deleted"], {name: row[name] for name in columns(frame)})
            for row in frame.iter_rows(named=True)
        }

    def rows(self, *names: str, entity: str | None = None) -> list[tuple[Any, ...]]:
        """The changes in commit order: key, whether deleted, and these columns."""
        frame = self.only if entity is None else self.frames[entity]
        return frame.select("key", "deleted", *names).rows()

    def seconds(self, entity: str | None = None) -> list[float]:
        frame = self.only if entity is None else self.frames[entity]
        return [round(at, 6) for at in frame["committed_at"].to_list()]

    def says(self, *words: str) -> bool:
        """Whether one note has all of these words, and the table `source` counts something."""
        return any(all(word in note for word in words) for note in self.told["notes"])


def columns(frame: pl.DataFrame) -> list[str]:
    return [name for name in frame.columns if name not in (*META, "event")]


def read(file: str | Path, *options: str, name: str = "mine") -> Read:
    """Read a log by `lab new` and the scenario that it writes. Times are the log's own seconds."""
    told = new(str(file), *options, name=name)
    path = Path(f"{name}.toml")
    lines = path.read_text().splitlines()
    path.write_text("\n".join("time_scale = 1.0" if line.startswith("time_scale") else line for line in lines))
    made, entities = trace(name)
    sound(made)
    frames = {key: visible(frame, entities[key].scales, arrow=True) for key, frame in made.frames.items()}
    return Read(told, {key: frame.sort("position") for key, frame in frames.items()}, made.source)


def write(name: str, *lines: Any) -> Path:
    """Write a log: texts as they are, anything else as JSON."""
    path = Path(name)
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return path


def envelope(op: str, state: dict[str, Any] | None, at: int = 0, **more: Any) -> dict[str, Any]:
    """A change of Debezium at a commit time in milliseconds after a begin; `source` is what its connector adds."""
    source = {"ts_ms": 1_700_000_000_000 + at, "table": "t"} | more.pop("source", {})
    sides: dict[str, Any] = {"before": state, "after": None} if op == "d" else {"before": None, "after": state}
    return {**sides, "source": source, "op": op, "ts_ms": 1_700_000_900_000 + at, **more}
