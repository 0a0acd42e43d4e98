"""The same handler, mended: one row for each key, which knows its revision and outlives its delete."""

from sqlite3 import Connection
from typing import Any

from lab.testing import on_sqlite

SETUP = """
CREATE TABLE customers (
    key INTEGER PRIMARY KEY, revision INTEGER, deleted INTEGER, name TEXT, amount INTEGER, price REAL
)
"""
ROWS = "SELECT key, revision, name, amount, price FROM customers WHERE NOT deleted"

# What is not higher is known already, or older than what is known.
WRITE = """
INSERT INTO customers VALUES (:key, :revision, :deleted, :name, :amount, :price)
ON CONFLICT (key) DO UPDATE SET
    revision = excluded.revision, deleted = excluded.deleted,
    name = excluded.name, amount = excluded.amount, price = excluded.price
WHERE excluded.revision > customers.revision
"""


@on_sqlite(setup=SETUP, rows=ROWS)
def handle(connection: Connection, changes: list[dict[str, Any]]) -> None:
    """Keep the table of customers up to date, whatever comes again, late or out of order."""
    connection.executemany(WRITE, changes)
    connection.commit()
