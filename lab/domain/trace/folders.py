"""Read a folder of files as one table: `day=2024-01-31/part-0.parquet` has a column `day` (Hive's partitions)."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from urllib.parse import unquote

import polars as pl

from lab.base import NotReadable
from lab.decimals import dtype_of, fitting, is_number, kind_of, scale_of, spelt
from lab.domain.trace.numerals import Understood, understand
from lab.domain.trace.raw import LINE, RUN, SHOWN, TURN, Bad, Raw

NULL = "__HIVE_DEFAULT_PARTITION__"
WHOLE = r"^(0|-?[1-9]\d{0,17})$"
EXACT = 2**53
# What AWS DMS calls the files of a full load.
FULL_LOAD = re.compile(r"LOAD[0-9A-F]{8}\..*")
# Folders of table formats, whose files also hold what is no longer in the table.
TABLE_FORMATS = {"_delta_log": "a Delta table", "metadata": "an Iceberg table", ".hoodie": "a Hudi table"}


def files_of(folder: Path) -> list[Path]:
    """Return the files of data in a folder, by path; those that begin with . or _ are a writer's own.

    Raises NotReadable for a table format whose files alone are not the table.
    """
    for name, what in TABLE_FORMATS.items():
        beside = folder / name
        if beside.is_dir() and (name != "metadata" or any(beside.glob("*.metadata.json"))):
            raise NotReadable(str(folder), f"{what}, whose files also hold old rows", "export it as Parquet or CSV")
    return sorted(_walk(folder), key=lambda path: _place(path.relative_to(folder)))


def _place(path: Path) -> list[tuple[bool, str]]:
    """Return what files are sorted by: their paths, but DMS's full load comes before what it wrote of the changes."""
    return [(FULL_LOAD.fullmatch(part) is None, part) for part in path.parts]


def _walk(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.name.startswith((".", "_")):
            continue
        if path.is_dir():
            yield from _walk(path)
        elif path.stat().st_size:
            yield path


def read_folder(folder: Path, files: Sequence[Path], read: Callable[[Path], Raw]) -> Raw:
    """Read the files one after the other; columns that a file hasn't got are null there."""
    parts = [(path, read(path)) for path in files]
    _of_one_table(parts, folder)
    places = [_partitions(path, folder) for path in files]
    names = list(dict.fromkeys(chain.from_iterable(places)))
    inside = {name for _, raw in parts for name in raw.kinds}
    for name in inside.intersection(names):
        _agree(name, parts, places, folder)
    own = [name for name in names if name not in inside]
    kinds = _kinds([raw for _, raw in parts])
    frames, bad, bad_count, begin = [], list[Bad](), 0, 0
    for (path, raw), place in zip(parts, places, strict=True):
        frames.append(_frame(raw, kinds, {name: place.get(name) for name in own}, begin))
        last = raw.frame[LINE].max()
        begin += max(last if isinstance(last, int) else 0, raw.frame.height + raw.bad_count)
        bad_count += raw.bad_count
        bad += [Bad(one.line, f"{path.relative_to(folder)}: {one.why}", one.unit) for one in raw.bad]
    frame = pl.concat(frames, how="diagonal")
    text = {name: frame[name].drop_nulls() for name in own}
    whole: dict[str, str] = {
        name: "int" if values.len() and values.str.contains(WHOLE).all() else "str" for name, values in text.items()
    }
    frame = frame.cast({name: dtype_of(kind) for name, kind in whole.items()})
    notations, apart = _notations([raw for _, raw in parts], frame)
    kinds |= {name: notations[name].kind for name in apart}
    first = parts[0][1]
    notes = dict.fromkeys(chain.from_iterable(raw.notes for _, raw in parts))
    said = [f"{len(files):,} files are one table, in the order of their paths."] if len(files) > 1 else []
    said += [f"Column `{name}` is in the names of the folders." for name in own]
    return replace(
        first,
        frame=frame,
        kinds=kinds | whole,
        unit="row",
        bad=tuple(bad[:SHOWN]),
        bad_count=bad_count,
        notes=(*said, *notes),
        counts=tuple(chain.from_iterable(raw.counts for _, raw in parts)),
        notations=notations,
    )


def _of_one_table(parts: Sequence[tuple[Path, Raw]], folder: Path) -> None:
    """Raise NotReadable for files of several tables: logs that name others, and rows of mostly other columns."""
    first, raw = parts[0]
    for path, other in parts[1:]:
        if other.table != raw.table:
            what = f"logs of several tables: {first.name} of `{raw.table}`, and {path.name} of `{other.table}`"
            raise NotReadable(str(folder), what, "put them into one file, one after the other: each table is an entity")
        both, fewer = raw.kinds.keys() & other.kinds.keys(), min(len(raw.kinds), len(other.kinds))
        if not raw.is_log and fewer > 1 and 2 * len(both) <= fewer:
            what = f"files of several tables: {path.name} has {len(both)} of its {len(other.kinds)} columns in common"
            raise NotReadable(str(folder), f"{what} with {first.name}", "name one file, or move the others away")


def _partitions(path: Path, folder: Path) -> dict[str, str | None]:
    """Return what the names of the folders between say: `day=2024-01-31`, with %-escapes as Hive writes them."""
    found: dict[str, str | None] = {}
    for part in path.relative_to(folder).parent.parts:
        name, sign, value = part.partition("=")
        if sign and name:
            found[unquote(name)] = None if value == NULL else unquote(value)
    return found


def _agree(
    name: str, parts: Sequence[tuple[Path, Raw]], places: Sequence[Mapping[str, str | None]], folder: Path
) -> None:
    """Refuse a file whose own column says something else than the folder that it is in."""
    for (path, raw), place in zip(parts, places, strict=True):
        if name in place and name in raw.kinds and raw.frame.height:
            other = raw.frame.filter(pl.col(name).cast(pl.String).ne_missing(place[name]))
            if other.height:
                what = f"its column `{name}` is {other[name][0]!r} in a row, and its folder says {place[name]!r}"
                raise NotReadable(str(path), what, f"rename the folder's `{name}`, or leave the column out")
    if not all(name in raw.kinds for _, raw in parts if raw.frame.height):
        raise NotReadable(str(folder), f"`{name}` is a column of some files and a folder of others", "choose one")


def _kinds(raws: Sequence[Raw]) -> dict[str, str]:
    """Return a kind for each column that suits all files; a file in which it is null throughout has no say."""
    kinds: dict[str, str] = {}
    for name in dict.fromkeys(chain.from_iterable(raw.kinds for raw in raws)):
        having = [raw for raw in raws if name in raw.kinds]
        found = {raw.kinds[name] for raw in having if raw.frame[name].null_count() < raw.frame.height}
        if all(map(is_number, found)) and any(scale_of(kind) is not None for kind in found):
            kinds[name] = _decimal(name, having, found)
        elif found == {"int", "float"} and all(_exact(raw.frame[name]) for raw in having if raw.kinds[name] == "int"):
            kinds[name] = "float"
        else:
            kinds[name] = found.pop() if len(found) == 1 else "str" if found else having[0].kinds[name]
    return kinds


def _decimal(name: str, having: Sequence[Raw], found: Collection[str]) -> str:
    """Return the kind of numbers that are decimals in some files: one that is exact for all of them, or text."""
    values = pl.concat([spelt(raw.frame[name]) for raw in having])
    if all(name in raw.notations for raw in having):
        return understand(values).kind
    scale = fitting(values, max(scale_of(kind) or 0 for kind in found))
    return "str" if scale is None else kind_of(scale)


def _notations(raws: Sequence[Raw], frame: pl.DataFrame) -> tuple[dict[str, Understood], set[str]]:
    """Return how the numbers of text are written; where files don't agree (these are named), all values decide."""
    found, apart = dict[str, Understood](), set[str]()
    for name in dict.fromkeys(chain.from_iterable(raw.notations for raw in raws)):
        seen = [raw.notations[name] for raw in raws if name in raw.notations]
        found[name] = seen[0]
        if any(one.notation != seen[0].notation for one in seen):
            found[name] = replace(understand(frame[name]), nulls=seen[0].nulls)
            apart.add(name)
    return found, apart


def _exact(values: pl.Series) -> bool:
    """Return whether whole numbers are exact as floating-point numbers."""
    whole = values.cast(pl.Int64, strict=False)
    return whole.null_count() == values.null_count() and not (whole.is_between(-EXACT, EXACT)).not_().any()


def _frame(raw: Raw, kinds: Mapping[str, str], place: Mapping[str, str | None], begin: int) -> pl.DataFrame:
    """Return a file's rows with the columns of its folder, numbered on from the files before it."""
    # Decimals are text until they are typed.
    kept = {name: "str" if scale_of(kind) is not None else kind for name, kind in kinds.items()}
    typed = {name: dtype_of(kind) for name, kind in kept.items() if name in raw.kinds}
    text = all(raw.frame.schema[name] == pl.String for name in typed)
    frame = (
        raw.frame
        if text
        else raw.frame.with_columns(
            # None with an exponent, as the decimals of other files are written.
            spelt(raw.frame[name]) if scale_of(kinds[name]) is not None else pl.col(name).cast(dtype)
            for name, dtype in typed.items()
            if raw.frame.schema[name] != dtype
        )
    )
    added = [pl.lit(value, pl.String).alias(name) for name, value in place.items()]
    counted = [name for name in (LINE, TURN, RUN) if name in frame.columns]
    return frame.with_columns(pl.col(counted) + begin, *added)


def format_in(folder: Path, files: Sequence[Path], of: Callable[[Path], str | None]) -> str:
    """Return the one format of the files in a folder. Raises NotReadable if there is none, or several."""
    found = {form for path in files if (form := of(path)) is not None}
    if len(found) == 1 and all(of(path) for path in files):
        return found.pop()
    if not found:
        raise NotReadable(
            str(folder), "a folder, not a file, and none in it is one that the lab reads", "name one file"
        )
    odd = next((path for path in files if of(path) is None), None)
    if odd is not None:
        raise NotReadable(
            str(folder), f"a folder with a file that is no data: {odd.relative_to(folder)}", "move it away"
        )
    raise NotReadable(str(folder), f"a folder with files of several formats: {', '.join(sorted(found))}", "name a file")
