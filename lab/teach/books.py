"""Execute notebooks from top to bottom in a fresh kernel: `python -m lab.teach.books notebooks/` does it in place.

Outputs keep pictures and sentences. Widgets are left out, since they need a kernel, and so is everything that differs
between two executions without a visible difference.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from lab.ending import run

KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
# The tag of a cell that belongs to a hidden solution.
SOLUTION = "solution"
WIDGET = "application/vnd.jupyter.widget-view+json"
SECONDS_MAX = 300


def executed(path: Path) -> Any:
    """Execute every cell of a notebook file, and return the notebook with its outputs tidied.

    Raises nbclient's CellExecutionError when a cell fails.
    """
    import nbformat
    from nbclient import NotebookClient

    book = nbformat.read(path, as_version=4)
    client = NotebookClient(
        book,
        timeout=SECONDS_MAX,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
        record_timing=False,
        store_widget_state=False,
    )
    client.execute()
    return tidy(book)


def tidy(book: Any) -> Any:
    """Return the notebook without widgets and without metadata of its execution; cells of solutions are folded."""
    book.metadata.clear()
    book.metadata["kernelspec"] = dict(KERNEL)
    book.metadata["language_info"] = {"name": "python"}
    for number, cell in enumerate(book.cells):
        cell["id"] = f"cell-{number:02d}"
        cell.metadata = {name: value for name, value in cell.metadata.items() if name == "tags"}
        if cell.cell_type == "code" and is_solution(cell):
            cell.metadata["jupyter"] = {"source_hidden": True, "outputs_hidden": True}
        if cell.cell_type == "code":
            cell.outputs = [part for output in cell.outputs for part in _still(output)]
    return book


def is_solution(cell: Any) -> bool:
    """Return whether a cell has the tag of a solution: `solution`, or `solution:` and the name of an assignment."""
    return any(tag.partition(":")[0] == SOLUTION for tag in cell.metadata.get("tags", []))


def _still(output: Any) -> list[Any]:
    """Convert an output for the file: a widget becomes its picture and the sentence below it."""
    from nbformat.v4 import new_output

    data = output.get("data", {})
    if WIDGET not in data:
        return [output]
    data.pop(WIDGET)
    sentence = data.pop("text/markdown", "")
    below = [new_output("display_data", {"text/markdown": sentence, "text/plain": sentence})] if sentence else []
    return [output, *below] if "image/png" in data else below


def main(arguments: list[str]) -> None:
    """Execute the notebooks, or all notebooks of the folders, that are named as arguments, in place."""
    import nbformat

    for path in (each for name in arguments for each in _books(Path(name))):
        began = time.perf_counter()
        nbformat.write(executed(path), path)
        print(f"{path}: {time.perf_counter() - began:.1f} s, {path.stat().st_size / 1000:.0f} kB", flush=True)


def _books(path: Path) -> list[Path]:
    return sorted(path.glob("*.ipynb")) if path.is_dir() else [path]


if __name__ == "__main__":
    run(lambda: main(sys.argv[1:]))
