"""A handler that is right where every change comes once and in order, as by catch-up, and wrong by messages."""

from sqlite3 import Connection
from typing import Any

from lab.testing import on_sqlite

SETUP = "CREATE TABLE customers (key INTEGER PRIMARY KEY, name TEXT, amount INTEGER, price REAL)"
ROWS = "SELECT key, name, amount, price FROM customers"


@on_sqlite(setup=SETUP, rows=ROWS)
def handle(connection: Connection, changes: list[dict[str, Any]]) -> None:
    """Keep the table of customers up to date."""
    for change in changes:
        if change["deleted"]:
            connection.execute("DELETE FROM customers WHERE key = :key", change)
        else:
            connection.execute("INSERT OR REPLACE INTO customers VALUES (:key, :name, :amount, :price)", change)
