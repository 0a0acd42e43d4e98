"""Find out how a CSV file is written: delimiter, what stands above the header, and whether there is a header."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import dropwhile, pairwise
from pathlib import Path

import polars as pl

from lab.base import NotReadable
from lab.domain.trace.instants import moments
from lab.domain.trace.numerals import NULLS, PLAIN
from lab.domain.trace.reading import CsvReading

DELIMITERS = ",;\t|"
OTHER_DELIMITERS = "^~:#¦§!\x01\x1f"
HEAD = 1 << 20  # Bytes that are looked at.
RECORDS = 200  # Records that are looked at.
SEPARATOR = re.compile(r'"?sep=(.)"?\s*$', re.IGNORECASE)
CONTROL = re.compile(r"\s*[\x00-\x1f\x7f]+\s*")
UNNAMED = "column_{}"


@dataclass(frozen=True)
class CsvDialect:
    """How a CSV file is written.

    `names` are those of its columns, `unnamed` such as the file doesn't give. `skip` counts the records before the
    first row as DuckDB does, `line` is that row's line, from 1. `notes` say what was assumed.
    """

    names: list[str]
    delimiter: str
    skip: int
    line: int
    unnamed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Record:
    """A record of the head of the file, its number as DuckDB counts records, and its first line; both from 1."""

    fields: list[str]
    number: int
    line: int


def dialect(path: Path, shown: str, how: CsvReading) -> CsvDialect:
    """Find out how a file in UTF-8 is written. Raises NotReadable if it is not plain whether it has a header.

    `shown` is the file's name in messages.
    """
    with path.open("rb") as file:
        data = file.read(HEAD)
        whole = not file.read(1)
    text = data.decode("utf-8-sig", errors="ignore").removeprefix("\ufeff")
    lines = io.StringIO(text, newline="").readlines() if "\n" in text else text.splitlines(keepends=True)
    lines = lines if whole or len(lines) < 2 else lines[:-1]
    top, told = _top(lines)
    delimiter = told or _delimiter(lines[top:])
    records = list(_records(lines[top:], delimiter, top))
    if not records:
        raise NotReadable(shown, "no rows", "a file with at least one row is needed")
    if how.header is None and not told:
        _refuse_other_delimiters(lines[top:], records, shown)
    titles = _titles(records)
    notes = []
    if titles:
        notes.append(f"{titles} lines above the header are passed over: they have fewer columns than the rows.")
    records = records[titles:]
    first, rows = records[0], [record.fields for record in records[1:]]
    header = how.header
    if header is None:
        header = True
        if reason := _like_data(first.fields, rows):
            raise NotReadable(
                f"{shown}, line {first.line}", f"it looks like data, not like the names of columns: {reason}",
                "say which it is: --header no (columns are called column_1, column_2, ...) or --header yes",
            )  # fmt: skip
    body = records[header:]
    skip = body[0].number - 1 if body else first.number
    line = body[0].line if body else first.line
    # A name on several lines is one line here.
    fields = (
        [CONTROL.sub(" ", field.strip()) for field in first.fields] if header else [""] * _modal([first.fields, *rows])
    )
    names, unnamed = _named(_fitted(fields, rows), shown)
    return CsvDialect(names, delimiter, skip, line, unnamed, tuple(notes))


def _top(lines: Sequence[str]) -> tuple[int, str | None]:
    """Return how many lines stand above the header, and the delimiter that one of them names."""
    top, told = 0, None
    while top < len(lines) and not lines[top].strip():
        top += 1
    if top < len(lines) and (found := SEPARATOR.fullmatch(lines[top])):
        top, told = top + 1, found[1]
    while top < len(lines) and (not lines[top].strip() or lines[top].startswith("#")):
        top += 1
    # A header may also begin with #: then the lines below it have as many columns.
    if 0 < top < len(lines) and lines[top - 1].startswith("#") and _columns(lines[top - 1]) == _columns(lines[top]):
        top -= 1
    if top == len(lines) and top and lines[top - 1].startswith("#"):
        top -= 1
    return top, told


def _columns(text: str) -> int:
    """Return how many columns a line seems to have."""
    return 1 + max(text.count(delimiter) for delimiter in DELIMITERS)


def _records(lines: Sequence[str], delimiter: str, above: int) -> Iterator[_Record]:
    """Yield the first records that are not blank."""
    csv.field_size_limit(HEAD * 2)
    reader, line = csv.reader(lines, delimiter=delimiter), above + 1
    try:
        for number, fields in enumerate(reader, above + 1):
            if fields:
                yield _Record(fields, number, line)
            line = above + reader.line_num + 1
            if number - above >= RECORDS:
                return
    except csv.Error:
        return


def _modal(rows: Sequence[Sequence[str]]) -> int:
    """Return the number of columns that most records have."""
    return Counter(map(len, rows)).most_common(1)[0][0] if rows else 0


def _delimiter(lines: Sequence[str]) -> str:
    """Return the delimiter that divides the records most evenly, and then into most columns."""

    def evenness(delimiter: str) -> tuple[bool, int, float, int]:
        rows = [record.fields for record in _records(lines, delimiter, 0)]
        if not rows:
            return False, 0, 0.0, 0
        below = rows[1:] or rows
        wide = _modal(below)
        rows = list(dropwhile(lambda row: len(row) < wide - 1, rows)) or rows
        below = rows[1:] or rows
        share = sum(len(row) == wide for row in below) / len(below)
        # A delimiter at the end of the header or of the rows alone makes a difference of one.
        near = 2 - min(2, abs(len(rows[0]) - wide))
        return wide > 1 or len(rows[0]) > 1, near, round(share, 1), wide

    return max(DELIMITERS, key=evenness)


def _refuse_other_delimiters(lines: Sequence[str], records: Sequence[_Record], shown: str) -> None:
    """Raise NotReadable for one column, if another character divides all of its lines into equally many parts."""
    some = [line.rstrip("\r\n") for line in lines[:RECORDS] if line.strip()]
    if len(some) < 2 or any(len(record.fields) > 1 for record in records):
        return
    for mark in OTHER_DELIMITERS:
        if len({line.count(mark) for line in some}) == 1 and mark in some[0]:
            way_out = f"say it by a first line sep={mark}" if mark.isprintable() else "write commas or tabs"
            what = f"one column, and {mark!r} stands equally often in each of its lines: it may be the delimiter"
            raise NotReadable(shown, what, f"{way_out}; --header yes takes it as it is")
    parts = {len(re.split(r"\s+", line.strip())) for line in some}
    if (len(parts) == 1 and max(parts) > 2) or all(re.search(r"\S {2,}\S", line) for line in some):
        what = "one column, and blanks divide each of its lines: columns of a fixed width, or with blanks between"
        raise NotReadable(shown, what, "write commas or tabs between; --header yes takes it as it is")


def _titles(records: Sequence[_Record]) -> int:
    """Return how many records above the header are titles: with fewer columns than the rows, by two at least."""
    wide = _modal([record.fields for record in records])
    count = 0
    for record in records:
        filled, width = sum(field.strip() != "" for field in record.fields), len(record.fields)
        if wide < 3 or not (width <= wide - 2 or (filled <= 1 and width == wide)):
            break
        count += 1
    return count if count < len(records) else 0


def _fitted(fields: list[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the header with as many fields as the rows have, if only a delimiter at the end or row names differ."""
    wide = _modal(rows)
    if len(fields) == wide + 1 and not fields[-1]:
        return fields[:-1]
    if rows and len(fields) == wide - 1:
        full = [row for row in rows if len(row) == wide]
        if all(not row[-1].strip() for row in full):
            return [*fields, ""]
        # R writes names of rows without a name for their column.
        if [row[0] for row in full] == [str(place) for place in range(1, len(full) + 1)]:
            return ["", *fields]
    return fields


def _named(fields: Sequence[str], shown: str) -> tuple[list[str], tuple[str, ...]]:
    """Return names for all columns, and which of them the file doesn't give."""
    given = [name for name in fields if name]
    if twice := sorted({name for name in given if given.count(name) > 1}):
        raise NotReadable(shown, f"two columns are called `{twice[0]}`", "rename one")
    names, unnamed = [], []
    for place, name in enumerate(fields, 1):
        own = name or UNNAMED.format(place)
        while not name and own in given:
            own += "_"
        names.append(own)
        if not name:
            unnamed.append(own)
    return names, tuple(unnamed)


def _like_data(first: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return why the first record looks like a row rather than like a header; empty if it doesn't."""
    values = [field.strip() for field in first]
    years = [int(value) for value in values if re.fullmatch(r"1[89]\d\d|20\d\d|21\d\d", value)]
    if len(years) > 1 and all(after - before == 1 for before, after in pairwise(years)):
        return ""
    for place, value in enumerate(values):
        below = [row[place].strip() for row in rows if len(row) > place]
        below = [other for other in below if other and other not in NULLS]
        if not value or not below:
            continue
        if (kind := _shape(value)) and sum(_shape(other) == kind for other in below) > len(below) / 2:
            return f"`{value}` is {kind} like those below it"
        again = sum(other == value for other in below)
        same = any([other.strip() for other in row] == values for row in rows)
        if again and not same and len(rows) > 1:
            return f"`{value}` comes again below it"
    return ""


def _shape(value: str) -> str:
    """Return `a number` or `a time` for a value that looks like one; empty for other text."""
    if re.search(PLAIN.replace("(?i:inf|infinity)", "(?:inf|infinity)"), value):
        return "a number"
    if re.search(r"\d", value) and moments(pl.Series([value])).second[0] is not None:
        return "a time"
    return "a number" if re.fullmatch(r"[+-]?[\d.,]*\d", value) else ""
