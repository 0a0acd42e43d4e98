"""Notebooks, executed from top to bottom in a fresh kernel: `python -m lab.teach.books notebooks/` does it in place.

What is kept is what reads well where notebooks are browsed: pictures and sentences. Widgets are left out, since they
live in a kernel only, and so is everything that differs between two executions without a difference in what is shown.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
WIDGET = "application/vnd.jupyter.widget-view+json"
SECONDS_MAX = 300


def executed(path: Path) -> Any:
    """The notebook in this file, every cell executed, with outputs as they are committed.

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
    """The same notebook without widgets and without what is only about its execution."""
    book.metadata.clear()
    book.metadata["kernelspec"] = dict(KERNEL)
    book.metadata["language_info"] = {"name": "python"}
    for number, cell in enumerate(book.cells):
        cell["id"] = f"cell-{number:02d}"
        cell.metadata = {name: value for name, value in cell.metadata.items() if name == "tags"}
        if cell.cell_type == "code":
            cell.outputs = [part for output in cell.outputs for part in _still(output)]
    return book


def _still(output: Any) -> list[Any]:
    """An output as it stands in a file: a widget becomes its picture, and the sentence below it."""
    from nbformat.v4 import new_output

    data = output.get("data", {})
    if WIDGET not in data:
        return [output]
    data.pop(WIDGET)
    sentence = data.pop("text/markdown", "")
    below = [new_output("display_data", {"text/markdown": sentence, "text/plain": sentence})] if sentence else []
    return [output, *below] if "image/png" in data else below


def main(arguments: list[str]) -> None:
    """Execute notebooks, or all in a folder, in place."""
    import nbformat

    for path in (each for name in arguments for each in _books(Path(name))):
        began = time.perf_counter()
        nbformat.write(executed(path), path)
        print(f"{path}: {time.perf_counter() - began:.1f} s, {path.stat().st_size / 1000:.0f} kB", flush=True)


def _books(path: Path) -> list[Path]:
    return sorted(path.glob("*.ipynb")) if path.is_dir() else [path]


if __name__ == "__main__":
    main(sys.argv[1:])
