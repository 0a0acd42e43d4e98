"""Read JSON lines: a record on each line, or the changes of a Debezium log."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import polars as pl

from lab.base import Kind
from lab.domain.trace.raw import AT, DELETED, KNOWN, LINE, OWN, Bad, Raw

BLOCK = 1 << 25  # Bytes of a file that are looked at together.
OPERATIONS = ("c", "u", "d", "r")
# The place of a change in its line: alone, in an envelope, or beside its key.
PLACES = ("$", "$.payload", "$.value", "$.value.payload")
KINDS: dict[str, str] = {
    "BIGINT": "int", "UBIGINT": "int", "DOUBLE": "float", "VARCHAR": "str", "BOOLEAN": "bool",
    "OBJECT": "str", "ARRAY": "str", "HUGEINT": "str",
}  # fmt: skip


class _Json:
    """Parses JSON with DuckDB, a block of lines at a time."""

    def __init__(self) -> None:
        config: dict[str, str | bool | int | float | list[str]] = {"autoinstall_known_extensions": "false"}
        self.connection = duckdb.connect(config=config | {"memory_limit": "512MB"})
        self.kinds: dict[str, set[str]] = {}
        self.nested: set[str] = set()

    def select(self, frame: pl.DataFrame, sql: str) -> pl.DataFrame:
        """Run `sql` over the frame, whose name is `block`; the order is kept if the SQL sorts."""
        self.connection.register("block", frame.to_arrow())
        found = pl.from_arrow(self.connection.sql(sql).to_arrow_table())
        self.connection.unregister("block")
        assert isinstance(found, pl.DataFrame)
        return found

    def columns(self, frame: pl.DataFrame, json: str) -> pl.DataFrame:
        """Replace the column of JSON objects by a column of text for each of their keys."""
        names = self.select(
            frame.with_row_index("n"),
            f"SELECT name, min(n * 1000 + place) AS first FROM (SELECT n, unnest(json_keys({json})) AS name, "
            f"generate_subscripts(json_keys({json}), 1) AS place FROM block) GROUP BY name ORDER BY first",
        )["name"].to_list()
        rest = [name for name in frame.columns if name != json]
        if not names:
            return frame.select(rest)
        paths = ", ".join(_pointer(name) for name in names)
        found = self.select(
            frame,
            f"SELECT * EXCLUDE ({json}), json_extract_string({json}, [{paths}]) AS v, json_type({json}, [{paths}]) AS t"
            f' FROM block ORDER BY "{LINE}"',
        )
        types = found["t"]
        for place, name in enumerate(names):
            seen = types.list.get(place, null_on_oob=True).drop_nulls().unique().to_list()
            if {"OBJECT", "ARRAY"}.intersection(seen):
                self.nested.add(name)
            self.kinds.setdefault(name, set()).update(KINDS.get(kind, "str") for kind in seen if kind != "NULL")
        values = [pl.col("v").list.get(place, null_on_oob=True).alias(name) for place, name in enumerate(names)]
        return found.select(*rest, *values)

    def note(self, name: str) -> str:
        """Describe which values are converted."""
        if name in self.nested:
            return f"Column `{name}` has nested values: they are JSON text here."
        mixed = self.kinds.get(name, set())
        if len(mixed) > 1 and mixed != {"int", "float"}:
            return f"Column `{name}` holds {' and '.join(sorted(mixed))} values: they are text here."
        return ""

    def kind(self, name: str, values: pl.Series) -> Kind:
        """Return the kind of a column; text if its values are of several kinds."""
        found = self.kinds.get(name, set())
        if found == {"int"}:
            whole = values.cast(pl.Int64, strict=False).null_count() == values.null_count()
            return "int" if whole else "str"
        if found and found <= {"int", "float"}:
            return "float"
        return "bool" if found == {"bool"} else "str"


def _pointer(name: str) -> str:
    """Return a key's JSON pointer in SQL; a JSON path can't name a key that contains a quotation mark."""
    return "'/" + name.replace("~", "~0").replace("/", "~1").replace("'", "''") + "'"


def _blocks(path: Path) -> Iterator[pl.DataFrame]:
    """Yield blocks of the file's non-empty lines with their numbers: `LINE` and `line`."""
    number, rest = 1, b""
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            whole, newline, after = block.rpartition(b"\n")
            if not newline:
                rest += after
                continue
            lines = _split(rest + whole + newline, number)
            number += lines.height
            rest = after
            yield _filled(lines)
    if rest:
        yield _filled(_split(rest, number))


def _split(text: bytes, number: int) -> pl.DataFrame:
    text = text.decode("utf-8-sig" if number == 1 else "utf-8", errors="replace").encode()
    lines = pl.read_lines(io.BytesIO(text), name="line")
    numbers = pl.int_range(number, number + lines.height, dtype=pl.Int64).alias(LINE)
    return lines.select(numbers, pl.col("line").str.strip_chars("\r"))


def _filled(lines: pl.DataFrame) -> pl.DataFrame:
    return lines.filter(pl.col("line").str.strip_chars() != "")


def _object(sql: str, place: str) -> str:
    return f"CASE WHEN json_type({sql}, '{place}') = 'OBJECT' THEN json_extract({sql}, '{place}') END"


@dataclass
class _LogFormat:
    """What a log says of its columns: the fields of the keys, and those that an update changed.

    `images` is true if an update had the state before it.
    """

    keys: dict[str, None] = field(default_factory=dict)
    altered: set[str] = field(default_factory=set)
    images: bool = False

    def steady(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return the columns that no update changed; empty if that is unknown."""
        return tuple(name for name in names if name not in self.altered) if self.images else ()


def _read(path: Path, json: _Json, log: bool) -> tuple[list[pl.DataFrame], list[Bad], int, _LogFormat]:
    """Return frames of text by block, the first malformed lines, their number, and what a log says of its columns."""
    frames, bad, count, told = [], list[Bad](), 0, _LogFormat()
    for lines in _blocks(path):
        good = json.select(
            lines,
            f'SELECT "{LINE}", CASE WHEN json_valid(line) THEN line END AS line, '
            f"json_valid(line) AS valid, CASE WHEN json_valid(line) THEN json_type(line) END AS type "
            f'FROM block ORDER BY "{LINE}"',
        )
        if log:
            good = good.filter(~pl.col("valid") | (pl.col("type") != "NULL"))
        wrong = good.filter(~pl.col("valid") | (pl.col("type") != "OBJECT"))
        count += wrong.height
        bad += [
            Bad(line, "no JSON object" if valid else "broken JSON")
            for line, valid in wrong.head(5).select(LINE, "valid").rows()
        ]
        good = good.filter(pl.col("valid") & (pl.col("type") == "OBJECT")).select(LINE, pl.col("line").alias("j"))
        if log:
            good, refused, more = _changes(json, good, told)
            bad += refused
            count += more
        frames.append(json.columns(good, "j"))
    return frames, sorted(bad)[:5], count, told


def _changes(json: _Json, lines: pl.DataFrame, told: _LogFormat) -> tuple[pl.DataFrame, list[Bad], int]:
    """Unwrap changes from their envelopes: the state as `j`, and the log's columns."""
    place = "coalesce(" + ", ".join(_object("j", place) for place in reversed(PLACES)) + ")"
    key = f"coalesce({_object('j', '$.key.payload')}, {_object('j', '$.key')})"
    found = json.select(
        lines,
        f"SELECT \"{LINE}\", p->>'$.op' AS op, TRY_CAST(p->>'$.ts_ms' AS DOUBLE) / 1000 AS \"{AT}\", "
        f"{_object('p', '$.after')} AS after, {_object('p', '$.before')} AS former, k "
        f'FROM (SELECT "{LINE}", {place} AS p, {key} AS k FROM block) ORDER BY "{LINE}"',
    )
    if found["k"].null_count() < found.height:
        names = json.select(found, "SELECT DISTINCT unnest(json_keys(k)) AS name FROM block ORDER BY 1")
        told.keys.update(dict.fromkeys(names["name"].to_list()))
    updates = found.filter((pl.col("op") == "u") & pl.col("former").is_not_null() & pl.col("after").is_not_null())
    if updates.height:
        at = "'/' || replace(replace(name, '~', '~0'), '/', '~1')"
        names = json.select(
            updates,
            "SELECT DISTINCT name FROM (SELECT unnest(json_keys(after)) AS name, former, after FROM block) "
            f"WHERE json_extract(former, {at}) IS DISTINCT FROM json_extract(after, {at})",
        )
        told.altered.update(names["name"].to_list())
        told.images = True
    gone = pl.col("op") == "d"
    # A deletion without its former state has its key, if that is given.
    state = pl.when(gone).then(pl.coalesce("former", "k")).otherwise("after").alias("j")
    found = found.with_columns(state, gone.alias(DELETED), (~gone | pl.col("former").is_not_null()).alias(KNOWN))
    known = pl.col("op").is_in(OPERATIONS).fill_null(False)
    why = (
        pl.when(pl.col("op").is_null()).then(pl.lit("no `op`: not a change of a Debezium log"))
        .when(~known).then(pl.format("unknown op `{}`", "op"))
        .when(pl.col("j").is_null()).then(pl.format("op `{}` without the state that it needs", "op"))
    )  # fmt: skip
    found = found.with_columns(why.alias("why"))
    wrong = found.filter(pl.col("why").is_not_null())
    bad = [Bad(*row) for row in wrong.head(5).select(LINE, "why").rows()]
    return found.filter(pl.col("why").is_null()).select(LINE, AT, DELETED, KNOWN, "j"), bad, wrong.height


def _raw(path: Path, log: bool) -> Raw:
    json = _Json()
    try:
        frames, bad, count, told = _read(path, json, log)
    finally:
        json.connection.close()
    frame = pl.concat(frames, how="diagonal") if frames else pl.DataFrame(schema={LINE: pl.Int64})
    kinds = {name: json.kind(name, frame[name]) for name in frame.columns if name not in OWN}
    notes = [note for name in kinds if (note := json.note(name))]
    form = "debezium" if log else "ndjson"
    return Raw(frame, kinds, form, tuple(bad), count, tuple(told.keys), tuple(notes), told.steady(kinds))


def read_ndjson(path: Path) -> Raw:
    """Read records, a JSON object on each line. The frame holds text; nested values are JSON text."""
    return _raw(path, log=False)


def read_debezium(path: Path) -> Raw:
    """Read a Debezium log, a change on each line: `op`, `before`, `after`, `ts_ms`; with or without `payload`.

    The state is `after`, for a deletion `before`. Lines that are `null` are Kafka's tombstones and are skipped.
    """
    return _raw(path, log=True)


def looks_like_debezium(path: Path) -> bool:
    """Return whether the first readable line has an operation and a state."""
    with path.open("rb") as file:
        head = file.read(1 << 16)
    lines = _filled(_split(head, 1)).head(20)
    json = _Json()
    try:
        place = "coalesce(" + ", ".join(_object("line", place) for place in reversed(PLACES)) + ")"
        found = json.select(
            lines,
            "SELECT count(*) AS n FROM (SELECT CASE WHEN json_valid(line) THEN " + place + " END AS p FROM block) "
            "WHERE json_exists(p, '$.op') AND (json_exists(p, '$.after') OR json_exists(p, '$.before'))",
        )
    finally:
        json.connection.close()
    return bool(found["n"][0])
