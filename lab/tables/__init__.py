"""The tables of a run folder: one schema each, by which writing is checked, reading is typed and documents are made.

Columns and their order are the lab's interface to notebooks and to other tools. A column's unit is in its name
(`lag_seconds`, `p50_us`, `size_bytes`). Their rows are made in `measure`, `verdict`, `experiment` and `load`.
"""

from lab.tables import always, lags, live, loads, optional, pages
from lab.tables.schema import REPETITION, SIMULATED, WALL, Schema, TableColumn, WrongColumns

__all__ = [
    "ALWAYS",
    "OPTIONAL",
    "REPETITION",
    "SIMULATED",
    "TABLES",
    "WALL",
    "Schema",
    "TableColumn",
    "WrongColumns",
]

ALWAYS: dict[str, Schema] = {schema.name: schema for schema in always.SCHEMAS}
_OPTIONAL = (*optional.SCHEMAS, *pages.SCHEMAS, *live.SCHEMAS, *loads.SCHEMAS, *lags.SCHEMAS)
OPTIONAL: dict[str, Schema] = {schema.name: schema for schema in _OPTIONAL}
TABLES: dict[str, Schema] = ALWAYS | OPTIONAL
