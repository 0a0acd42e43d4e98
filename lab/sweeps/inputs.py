"""What the runs of a sweep read beside the scenario's text: files that it names, by their content."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from lab.scenario import Source
from lab.scenario.text import assignment
from lab.wiring import Plan

_CHUNK = 1 << 20


def inputs(source: Source, made: Plan, varied: Iterable[Any] = ()) -> list[tuple[str, str]]:
    """Return each input with the SHA-256 of its content, in order; also of those that `varied` values name.

    Inputs are what the domain says that its history comes from, and whatever a text of the scenario names that is a
    file, or the folder of a run, from the scenario's own folder on. One that can't be read has no digest: the run will
    say why.
    """
    found = dict(getattr(made.domain, "fingerprints", {}))
    root = source.path.absolute().parent
    for text in sorted(set(_texts([source.raw, *_values(source.overrides), *varied]))):
        # A table of a database stands behind its file.
        for named in (text, text.rpartition(":")[0]):
            place = root / named if named and "\0" not in named and len(named) < 1_000 else root
            if place.is_file() or (place / "manifest.json").is_file():
                found[f"file {named}"] = _digest(place)
    return sorted(found.items())


def _values(overrides: tuple[str, ...]) -> Iterator[Any]:
    for item in overrides:
        read = assignment(item)
        if isinstance(read, tuple):
            yield read[1]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)


def _digest(place: Path) -> str:
    total = hashlib.sha256()
    try:
        for file in [place] if place.is_file() else sorted(path for path in place.rglob("*") if path.is_file()):
            total.update(f"{file.relative_to(place).as_posix()}\0".encode())
            with file.open("rb") as opened:
                while chunk := opened.read(_CHUNK):
                    total.update(chunk)
    except OSError:
        return ""
    return total.hexdigest()
