"""A read-model handler as in many tutorials: an INSERT for each new record."""

from sqlite3 import Connection
from typing import Any

from lab.testing import on_sqlite

SETUP = "CREATE TABLE customers (key INTEGER, name TEXT, amount INTEGER, price REAL)"
ROWS = "SELECT key, name, amount, price FROM customers"


@on_sqlite(setup=SETUP, rows=ROWS)
def handle(connection: Connection, changes: list[dict[str, Any]]) -> None:
    """Keep the table of customers up to date."""
    for change in changes:
        if change["deleted"]:
            connection.execute("DELETE FROM customers WHERE key = :key", change)
        elif change["revision"] == 1:
            connection.execute("INSERT INTO customers VALUES (:key, :name, :amount, :price)", change)
        else:
            update = "UPDATE customers SET name = :name, amount = :amount, price = :price WHERE key = :key"
            connection.execute(update, change)
    connection.commit()
