"""Read JSON lines: a record on each line."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from lab.decimals import fitting, kind_of
from lab.domain.trace.logs.values import as_text, decode_verbatim
from lab.domain.trace.numerals import inexact
from lab.domain.trace.raw import LINE, Bad, Raw, SourceCount, as_text_count, as_text_note

BLOCK = 1 << 25  # Bytes of a file that are looked at together.
# What stands here for a line that is no text in UTF-8; it is no JSON either.
NO_TEXT = b"\xef\xbf\xbd"
KINDS: dict[str, str] = {
    "BIGINT": "int", "UBIGINT": "int", "DOUBLE": "float", "VARCHAR": "str", "BOOLEAN": "bool",
    "OBJECT": "str", "ARRAY": "str", "HUGEINT": "str",
}  # fmt: skip


# Numbers with a point and at least 16 digits, or with 16 digits and an exponent; small ones, which get an exponent.
LONG = r"\d{13}\.\d|\d{10}\.\d{4}|\d{7}\.\d{7}|\d{4}\.\d{10}|\.\d{13}|\d{16}[eE]|\.0000"
# Numbers that DuckDB writes otherwise: with zeros at their end, with an exponent.
REWRITTEN = LONG + r"|\.\d*0(?:[^\d]|$)|\d[eE][+-]?\d"


# What is wrong with a line; null if nothing is. A key that comes twice has two values, and one would be lost.
TWICE = "list_filter(json_keys(line), lambda one, place: list_position(json_keys(line), one) < place)[1]"
WRONG = (
    "CASE WHEN line = $text THEN 'not text in UTF-8' WHEN NOT json_valid(line) THEN 'broken JSON'"
    " WHEN json_type(line) <> 'OBJECT' THEN 'no JSON object'"
    " WHEN len(json_keys(line)) <> len(list_distinct(json_keys(line)))"
    f" THEN concat('the key `', {TWICE}, '` comes twice') END"
)


class Json:
    """Parses JSON with DuckDB, a block of lines at a time."""

    def __init__(self) -> None:
        config: dict[str, str | bool | int | float | list[str]] = {"autoinstall_known_extensions": "false"}
        self.connection = duckdb.connect(config=config | {"memory_limit": "512MB"})
        self.kinds: dict[str, set[str]] = {}
        self.nested: set[str] = set()

    def select(self, frame: pl.DataFrame, sql: str, values: Mapping[str, str] | None = None) -> pl.DataFrame:
        """Run `sql` over the frame, whose name is `block`; the order is kept if the SQL sorts."""
        self.connection.register("block", frame.to_arrow())
        found = pl.from_arrow(self.connection.sql(sql, params=dict(values) if values else None).to_arrow_table())
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
        made = found.select(*rest, *values)
        fractional = [name for name in names if name not in self.nested and "float" in self.kinds[name]]
        made = _exact(made, frame[json], LONG, fractional)
        return _exact(made, frame[json], REWRITTEN, [name for name in names if name in self.nested])

    def kind(self, name: str, values: pl.Series) -> tuple[str, str]:
        """Return the kind of a column, and what its values are called if they become text.

        Text are values of several kinds, and numbers that neither 64 bits nor a floating-point number hold exactly.
        """
        found = self.kinds.get(name, set())
        if name in self.nested:
            return "str", "nested values"
        if found == {"int"}:
            whole = values.cast(pl.Int64, strict=False).null_count() == values.null_count()
            return ("int", "") if whole else ("str", "whole numbers beyond 64 bits")
        if found and found <= {"int", "float"}:
            if not inexact(values):
                return "float", ""
            scale = fitting(values)
            return ("str", "numbers with more digits than a float keeps") if scale is None else (kind_of(scale), "")
        if len(found) > 1:
            return "str", f"{' and '.join(sorted(found))} values"
        return ("bool" if found == {"bool"} else "str"), ""


def _exact(frame: pl.DataFrame, lines: pl.Series, which: str, names: Sequence[str]) -> pl.DataFrame:
    """Replace numbers in these columns by what stands in the lines: DuckDB writes those of a form `which` otherwise."""
    long = lines.str.contains(which).arg_true() if names else pl.Series(dtype=pl.UInt32)
    if not long.len():
        return frame
    told = [_decoded(line) for line in lines.gather(long)]
    for name in names:
        before = frame[name].gather(long).to_list()
        texts = [old if (value := one.get(name)) is None else as_text(value)
                 for one, old in zip(told, before, strict=True)]  # fmt: skip
        frame = frame.with_columns(frame[name].scatter(long, texts))
    return frame


def _as_written(path: Path, frame: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    """Replace fractional numbers in columns that are text by all of their digits: 0.50, which DuckDB writes as 0.5."""
    texts: dict[str, list[str | None]] = {name: [] for name in names}
    for block in blocks(path):
        for line in block.join(frame.select(LINE), on=LINE, how="semi", maintain_order="left")["line"]:
            found = _decoded(line)
            for name, values in texts.items():
                values.append(as_text(found.get(name)))
    made = [pl.Series(name, values, pl.String) for name, values in texts.items()]
    return frame.with_columns(pl.coalesce(one, pl.col(one.name)).alias(one.name) for one in made)


def _decoded(line: str) -> dict[str, Any]:
    try:
        found = decode_verbatim(line)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


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
    text = text.removeprefix(codecs.BOM_UTF8) if number == 1 else text
    if not _is_text(text):
        text = b"\n".join(line if _is_text(line) else NO_TEXT for line in text.split(b"\n"))
    lines = pl.read_lines(io.BytesIO(text), name="line")
    numbers = pl.int_range(number, number + lines.height, dtype=pl.Int64).alias(LINE)
    return lines.select(numbers, pl.col("line").str.strip_chars("\r"))


def _is_text(some: bytes) -> bool:
    try:
        some.decode()
    except UnicodeDecodeError:
        return False
    return True


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
    kinds, notes, counts = dict[str, str](), list[str](), list[SourceCount]()
    for name in frame.columns:
        if name != LINE:
            kinds[name], what = json.kind(name, frame[name])
            notes += [as_text_note(name, what)] if what else []
            counts += as_text_count(name, what, frame[name])
    fractional = [name for name, kind in kinds.items() if kind == "str" and "float" in json.kinds.get(name, ())]
    if fractional:
        frame = _as_written(path, frame, fractional)
    return Raw(frame, kinds, "ndjson", tuple(bad), count, notes=tuple(notes), counts=tuple(counts))


def _read(path: Path, json: Json) -> tuple[list[pl.DataFrame], list[Bad], int]:
    """Return frames of text by block, the first malformed lines, and their number."""
    frames, bad, count = [], list[Bad](), 0
    for lines in blocks(path):
        good = json.select(
            lines,
            f'SELECT "{LINE}", CASE WHEN json_valid(line) THEN line END AS line, '
            f'{WRONG} AS wrong FROM block ORDER BY "{LINE}"',
            {"text": NO_TEXT.decode()},
        )
        wrong = good.filter(pl.col("wrong").is_not_null())
        count += wrong.height
        bad += [Bad(line, why) for line, why in wrong.head(5).select(LINE, "wrong").rows()]
        good = good.filter(pl.col("wrong").is_null()).select(LINE, pl.col("line").alias("j"))
        frames.append(json.columns(good, "j"))
    return frames, sorted(bad)[:5], count
