"""Read tables of a PostgreSQL, MySQL or MariaDB server: `postgresql://ann@host:5432/shop:orders`.

What has an exact type here is sent as it is; everything else is sent as text, which the server writes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace

import polars as pl

from lab.domain.trace import mysql, postgresql
from lab.domain.trace.addresses import ServerAddress, ServerColumn, ServerSession, parse
from lab.domain.trace.databases import Catalogue, numbered
from lab.domain.trace.raw import Raw
from lab.domain.trace.tables import typed_rows

DIGITS = 38  # The most digits of a decimal number.
# What arrives is text, unless it is of one of these types.
TYPES: Mapping[str, pl.DataType] = {"int": pl.Int128(), "float": pl.Float64(), "bool": pl.Boolean()}

Opener = Callable[[ServerAddress, str], AbstractContextManager[ServerSession]]


SESSIONS: Mapping[str, Opener] = {"postgresql": postgresql.session, "mysql": mysql.session}


def server_catalogue(file: str) -> Catalogue:
    """List the tables of a server's database."""
    address = parse(file)
    with SESSIONS[address.kind](address, file) as session:
        return session.catalogue()


def read_server(file: str) -> Raw:
    """Read a table: the one that the address names, or the one with the most rows."""
    address = parse(file)
    with SESSIONS[address.kind](address, file) as session:
        found = session.catalogue(address.table is None).chosen(file.removesuffix(f":{address.table}"), address.table)
        columns = session.columns(found)
        schema = {column.name: TYPES.get(column.arrives, pl.String()) for column in columns}
        pages = [pl.DataFrame(schema=schema)]
        pages += [pl.DataFrame(page, schema=schema, orient="row") for page in session.rows(found, columns)]
    frame = pl.concat(pages)
    numbers = {column.name: _decimals(frame[column.name]) for column in columns if column.arrives == "decimal"}
    frame = frame.with_columns(**numbers)
    raw = typed_rows(numbered(frame).lazy(), address.kind)
    notes = [
        f"Column `{column.name}` is {column.type} at the server: its values are {how} here."
        for column in columns
        if (how := _changed(column, frame[column.name].dtype))
    ]
    return replace(raw, keys=found.key, notes=(*notes, *raw.notes), unit="row")


def _changed(column: ServerColumn, dtype: pl.DataType) -> str:
    """Describe how values are converted, if it matters."""
    if column.arrives == "hex":
        return "text of hexadecimal digits"
    return "text" if column.arrives == "decimal" and dtype == pl.String else ""


def _decimals(values: pl.Series) -> pl.Series:
    """Convert text to decimals of one scale that holds all of them; return the text if none does."""
    if not values.drop_nulls().str.contains(r"^-?\d+(\.\d+)?$").all():
        return values
    whole = values.str.extract(r"^-?(\d+)", 1).str.len_bytes().max() or 1
    scale = values.str.extract(r"\.(\d+)$", 1).str.len_bytes().max() or 0
    assert isinstance(whole, int)
    assert isinstance(scale, int)
    return values.cast(pl.Decimal(DIGITS, scale)) if whole + scale <= DIGITS else values
