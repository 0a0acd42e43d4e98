"""Print the grid of query times in the terminal: a line for each query, as wide as the terminal allows."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lab.formatting import NOTHING, microseconds
from lab.report.grid import GridCell, QueryGrid

# From the quickest to the slowest; the factor stands beside each, so that no colour is needed.
_COLOURS = ("bold green", "green", "yellow", "red", "bold red")
_NAME_COLUMNS, _CELL_COLUMNS, _GAP = 23, 17, 2


def print_grid(grid: QueryGrid, temperature: str, console: Console) -> None:
    """Print each query's median in each projection, how many times the quickest's it is, and its interval below.

    Projections that don't fit beside each other follow in further blocks. Why a projection can't answer a query is in
    numbered notes at the end.
    """
    if not grid.queries:
        return
    names = list(grid.rows)
    room = max(1, (console.width - min(_NAME_COLUMNS, max(map(len, grid.queries))) - _GAP) // (_CELL_COLUMNS + _GAP))
    title = f"query p50{f', {temperature}' if temperature else ''}, with its 95 % interval; × the quickest"
    console.print(Text(f"\n{title}", "bold"))
    for first in range(0, len(names), room):
        console.print(_block(grid, names[first : first + room]))
    for number, note in enumerate(grid.notes, 1):
        console.print(Text(f"{number} {note}", "dim"))


def _block(grid: QueryGrid, names: list[str]) -> Table:
    table = Table(box=None, padding=(0, _GAP, 0, 0), header_style="dim", pad_edge=False)
    table.add_column("", overflow="fold", max_width=_NAME_COLUMNS)
    for name in names:
        table.add_column(Text(f"{name}\n{grid.stores.get(name, '')}"), justify="right", overflow="fold",
                         max_width=_CELL_COLUMNS)  # fmt: skip
    for place, query in enumerate(grid.queries):
        table.add_row(Text(query), *(_said(grid.rows[name][place]) for name in names))
    return table


def _said(cell: GridCell) -> Text:
    if cell.wrong:
        return Text("✗ wrong", "red")
    if cell.p50_us is None:
        return Text(f"{cell.lack} {cell.note}" if cell.note else NOTHING, "dim")
    style = "dim" if cell.shade is None else _COLOURS[cell.shade]
    told = Text.assemble((f"{microseconds(cell.p50_us)} {cell.times}".rstrip(), style))
    return told.append(f"\n{cell.between}", "dim") if cell.between else told
