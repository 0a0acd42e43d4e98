"""How a file is to be read where it doesn't say so itself: options of `lab new`, and keys of `[[domain.entity]]`."""

from __future__ import annotations

from dataclasses import dataclass

from lab.base import BadInput, Problem
from lab.scenario import EntityTable


@dataclass(frozen=True)
class CsvReading:
    """What the user says of a file. None or empty: it is found out.

    `header`: the first line has the names of the columns. `encoding`: of a file of text, as Python calls it. `null`:
    words that stand for a missing value. `decimal`: `.` or `,`. `dates`: `dmy`, `mdy` or `ymd`, the order of day, month
    and year; or for numbers `excel` (days since 1899-12-30) or `seconds` (since 1970).
    """

    header: bool | None = None
    encoding: str | None = None
    null: tuple[str, ...] = ()
    decimal: str | None = None
    dates: str | None = None

    @classmethod
    def of(cls, table: EntityTable) -> CsvReading:
        """Return what the scenario says of the file."""
        return cls(table.header, table.encoding, table.null, table.decimal, table.dates)

    def confirm(self, form: str, file: str) -> None:
        """Raise BadInput for what is said of a CSV file, if the file is of another format."""
        said = {"header": self.header, "encoding": self.encoding, "null": self.null, "decimal": self.decimal}
        wrong = [name for name, value in said.items() if value not in (None, ())]
        if form != "csv" and wrong:
            what = f"`{'`, `'.join(wrong)}` speaks of a CSV file, and this is {form}"
            raise BadInput([Problem(file, what, "leave it out")])


AS_FOUND = CsvReading()
