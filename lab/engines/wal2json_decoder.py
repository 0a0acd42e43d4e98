"""The messages of PostgreSQL's plugin `wal2json`, format 2: an object for each row, and for each end of a transaction.

https://github.com/eulerto/wal2json
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from lab.base import Unsound
from lab.engines.pgoutput import LoggedRow, LoggedTransaction
from lab.engines.replication import lsn

_SPECIAL = re.compile(r"([ \\',.*])")


# As numbers, those that JSON doesn't know would come as null.
EXACT = {"numeric-data-types-as-string": "true"}


class Wal2JsonDecoder:
    """Puts objects together to transactions. Deletes, truncations and messages are passed over."""

    def __init__(self, schema: str, tables: Iterable[str], exact: bool) -> None:
        """`tables` are the names, in the schema, of those of which changes are wanted.

        `exact`: numbers that aren't finite are told from null, which the plugin can from 2.6 on.
        """
        named = (f"{_escaped(schema)}.{_escaped(name)}" for name in tables)
        self.options = {
            "format-version": "2",
            "include-lsn": "true",
            "include-types": "false",
            "actions": "insert,update",
            "add-tables": ",".join(named).replace("'", "''"),
        }
        if exact:
            self.options |= EXACT
        self._rows: list[LoggedRow] = []

    def message(self, data: bytes) -> LoggedTransaction | None:
        """Take one object; returns the transaction that it ends. Raises Unsound for what can't be read."""
        try:
            told = json.loads(data, parse_int=str, parse_float=str)
            match told["action"]:
                case "B":
                    self._rows = []
                case "I" | "U":
                    values = {column["name"]: _text(column["value"]) for column in told["columns"]}
                    self._rows.append(LoggedRow(told["table"], values))
                case "C":
                    return LoggedTransaction(lsn(told["nextlsn"]), self._rows)
        except (ValueError, KeyError, TypeError) as error:
            raise Unsound(f"what wal2json sends can't be read: {type(error).__name__}: {error}") from None
        return None


def _text(value: Any) -> str | None:
    """A value as the server writes it as text; only truth values aren't sent as that."""
    if isinstance(value, bool):
        return "t" if value else "f"
    if value is None or isinstance(value, str):
        return value
    raise TypeError(f"the value {value!r} is no text")


def _escaped(name: str) -> str:
    """A name in a list of tables."""
    return _SPECIAL.sub(r"\\\1", name)
