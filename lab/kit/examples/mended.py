"""The same handler corrected: one row for each key, with its revision and a flag instead of a delete."""

from sqlite3 import Connection
from typing import Any

from lab.testing import on_sqlite

SETUP = """
CREATE TABLE customers (
    key INTEGER PRIMARY KEY, revision INTEGER, deleted INTEGER, name TEXT, amount INTEGER, price REAL
)
"""
ROWS = "SELECT key, revision, name, amount, price FROM customers WHERE NOT deleted"

# A revision that is not higher is known already or older.
WRITE = """
INSERT INTO customers VALUES (:key, :revision, :deleted, :name, :amount, :price)
ON CONFLICT (key) DO UPDATE SET
    revision = excluded.revision, deleted = excluded.deleted,
    name = excluded.name, amount = excluded.amount, price = excluded.price
WHERE excluded.revision > customers.revision
"""


@on_sqlite(setup=SETUP, rows=ROWS)
def handle(connection: Connection, changes: list[dict[str, Any]]) -> None:
    """Keep the table of customers up to date although changes are repeated, late or out of order."""
    connection.executemany(WRITE, changes)
    connection.commit()
