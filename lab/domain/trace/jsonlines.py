"""Read JSON lines: a record on each line."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import duckdb
import polars as pl

from lab.base import Kind
from lab.domain.trace.raw import LINE, Bad, Raw

BLOCK = 1 << 25  # Bytes of a file that are looked at together.
KINDS: dict[str, str] = {
    "BIGINT": "int", "UBIGINT": "int", "DOUBLE": "float", "VARCHAR": "str", "BOOLEAN": "bool",
    "OBJECT": "str", "ARRAY": "str", "HUGEINT": "str",
}  # fmt: skip


class Json:
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


def blocks(path: Path) -> Iterator[pl.DataFrame]:
    """Yield blocks of the file's non-empty lines with their numbers: `LINE` and `line`."""
    number, rest = 1, b""
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            whole, newline, after = block.rpartition(b"\n")
            if not newline:
                rest += after
                continue
            lines = split_lines(rest + whole + newline, number)
            number += lines.height
            rest = after
            yield filled(lines)
    if rest:
        yield filled(split_lines(rest, number))


def split_lines(text: bytes, number: int) -> pl.DataFrame:
    text = text.decode("utf-8-sig" if number == 1 else "utf-8", errors="replace").encode()
    lines = pl.read_lines(io.BytesIO(text), name="line")
    numbers = pl.int_range(number, number + lines.height, dtype=pl.Int64).alias(LINE)
    return lines.select(numbers, pl.col("line").str.strip_chars("\r"))


def filled(lines: pl.DataFrame) -> pl.DataFrame:
    return lines.filter(pl.col("line").str.strip_chars() != "")


def read_ndjson(path: Path) -> Raw:
    """Read records, a JSON object on each line. The frame holds text; nested values are JSON text."""
    json = Json()
    try:
        frames, bad, count = _read(path, json)
    finally:
        json.connection.close()
    frame = pl.concat(frames, how="diagonal") if frames else pl.DataFrame(schema={LINE: pl.Int64})
    kinds = {name: json.kind(name, frame[name]) for name in frame.columns if name != LINE}
    notes = [note for name in kinds if (note := json.note(name))]
    return Raw(frame, kinds, "ndjson", tuple(bad), count, notes=tuple(notes))


def _read(path: Path, json: Json) -> tuple[list[pl.DataFrame], list[Bad], int]:
    """Return frames of text by block, the first malformed lines, and their number."""
    frames, bad, count = [], list[Bad](), 0
    for lines in blocks(path):
        good = json.select(
            lines,
            f'SELECT "{LINE}", CASE WHEN json_valid(line) THEN line END AS line, '
            f"json_valid(line) AS valid, CASE WHEN json_valid(line) THEN json_type(line) END AS type "
            f'FROM block ORDER BY "{LINE}"',
        )
        wrong = good.filter(~pl.col("valid") | (pl.col("type") != "OBJECT"))
        count += wrong.height
        bad += [
            Bad(line, "no JSON object" if valid else "broken JSON")
            for line, valid in wrong.head(5).select(LINE, "valid").rows()
        ]
        good = good.filter(pl.col("valid") & (pl.col("type") == "OBJECT")).select(LINE, pl.col("line").alias("j"))
        frames.append(json.columns(good, "j"))
    return frames, sorted(bad)[:5], count
