"""What the report says of a projection that several processes shared."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

import polars as pl
from fake_run import fake_run, with_troubles
from rich.console import Console

from lab.report import print_run, render
from lab.report.partitions import on_sharing, shared_rows
from lab.tables import OPTIONAL


def row(partition: int, generation: int, member: str, since: float, until: float | None, how: str, **more: int) -> Any:
    counts = {"applied": 10, "refused": 0, "stale": 0} | more
    return {
        "projection": "directory", "partition": partition, "generation": generation, "member": f"directory.{member}",
        "from_seconds": since, "to_seconds": until, "ended": how, **counts,
    }  # fmt: skip


TABLE = pl.DataFrame(
    [
        row(0, 1, "1", -0.5, 3.0, "killed"),
        row(0, 2, "2", 3.0, 9.0, "stopped"),
        row(1, 1, "2", -0.4, 6.5, "refused as stale", stale=1_275),
        row(1, 2, "1", 5.0, 9.0, "stopped"),
    ],
    schema=OPTIONAL["assignments"].types,
)


def test_assignments_are_summed_up_by_projection() -> None:
    assert shared_rows(TABLE) == [
        {
            "projection": "directory", "partitions": 2, "members": 2, "handovers": 2, "killed": 1, "stale_owners": 1,
            "stale": 1_275,
        }
    ]  # fmt: skip
    assert on_sharing(TABLE) == (
        "directory: 2 partitions, shared by 2 members; 2 assignments to another owner, or to the same one anew, in the "
        "run; 1 ended with a kill; 1 owner wrote after being replaced, and the store refused 1,275 changes."
    )
    assert shared_rows(TABLE[:0]) == []


def test_page_and_terminal_have_them_where_the_run_does(tmp_path: Path) -> None:
    run = with_troubles(fake_run(tmp_path, changes=200), assignments=TABLE)
    page, console = render(run), Console(width=100, file=StringIO())
    print_run(run, console)
    section = page[page.index('<section id="assignments"') :].split("</section>")[0]
    assert "the store refused 1,275" in section
    assert section.count("<tr>") == 1 + TABLE.height
    assert 'href="#assignments"' in page
    assert isinstance(console.file, StringIO)
    printed = console.file.getvalue()
    assert "partitions\n" in printed
    assert "1,275" in printed
    bare = render(fake_run(tmp_path / "bare", changes=200))
    assert 'id="assignments"' not in bare
