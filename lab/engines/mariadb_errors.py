"""What PyMySQL raises, translated by the number that the server gives; and what became of a connection."""

from __future__ import annotations

import pymysql

from lab.base import CannotTake, Damaged, LabError, ReadOnly, Unavailable
from lab.engines.mapping import mapping

# By number: https://mariadb.com/kb/en/mariadb-error-codes/
_NEVER = (
    1048, 1062, 1118, 1153, 1264, 1265, 1292, 1300, 1301, 1366, 1406, 1425, 1438, 1586, 1690, 1071, 1105, 3140, 3988,
)  # fmt: skip
_DAMAGED = (1049, 1146, 1034, 1035, 1194, 1195, 1712, 1812, 1813, 1814, 1815, 1932)
_READ_ONLY = (1792,)
# A lost connection, a server that stops, is full or busy, a lock that isn't given, a time limit, a file that the server
# doesn't take from a client any more.
_FOR_NOW = (
    3, 20, 28, 1021, 1026, 1037, 1038, 1040, 1041, 1044, 1045, 1053, 1077, 1114, 1129, 1130, 1142, 1148, 1158, 1159,
    1160, 1161, 1180, 1181, 1203, 1205, 1213, 1226, 1227, 1290, 1317, 1665, 1836, 1927, 1969, 3024, 3948, 4031, 4166,
    9001,
)  # fmt: skip
DEADLOCK, DUPLICATE, LOCK_TIMEOUT = 1213, 1062, 1205
TIMED_OUT = (1969, 3024)


def number(error: BaseException) -> int:
    """The number of what the driver raised; 0 for none."""
    return error.args[0] if error.args and isinstance(error.args[0], int) else 0


def translated(what: str, error: Exception) -> LabError | None:
    """Return the lab's error for one that the driver raised; None for a mistake in a statement.

    Unavailable: away, busy, full, stopped, a lock or a time limit. CannotTake: a value that the engine can't hold.
    Damaged: damaged tables, or such that are gone. ReadOnly: a write on a connection that only reads.
    """
    code = number(error)
    lines = str(error.args[-1] if error.args else error).splitlines()
    said = f"{what}: {lines[0] if lines and lines[0] else 'the connection was lost'}"
    if isinstance(error.__context__, TimeoutError):
        return Unavailable(f"{what}: the server is silent: it gave no answer in time")
    if code in _DAMAGED:
        return Damaged(said)
    if code in _READ_ONLY:
        return ReadOnly(said)
    if code in _NEVER or isinstance(error, pymysql.DataError | pymysql.IntegrityError):
        return CannotTake(said)
    if code in _FOR_NOW or 2000 <= code < 3000 or isinstance(error, pymysql.InterfaceError):
        return Unavailable(said)
    return None


mapped = mapping((pymysql.Error,), translated)
