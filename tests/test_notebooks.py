"""The notebooks run from top to bottom in a fresh kernel, and what they claim holds."""

from __future__ import annotations

import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LARGEST_BYTES = 150_000
SECONDS_MAX = 300


def claims(name: str) -> str:
    """A last cell that asserts what the notebook says."""
    return {
        "00-start-here": (
            'assert good.manifest["verdict"] == "pass"\n'
            'assert {entry["verdict"] for entry in good.manifest["projections"]} == {"pass"}\n'
            'found = {entry["name"]: entry["verdict"] for entry in broken.manifest["projections"]}\n'
            'assert found == {"directory": "fail", "analytics": "pass", "payroll": "pass"}\n'
            'assert witness["witness"].item().startswith("resurrection")'
        ),
    }[name]


def copied(notebook: Path, tmp_path: Path) -> Path:
    """A copy of the notebook in a folder like its own, with the scenarios beside it."""
    shutil.copytree(ROOT / "scenarios", tmp_path / "scenarios")
    (tmp_path / "notebooks").mkdir()
    return Path(shutil.copy(notebook, tmp_path / "notebooks"))


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs_from_top_to_bottom_and_its_claims_hold(notebook: Path, tmp_path: Path) -> None:
    copy = copied(notebook, tmp_path)
    book = nbformat.read(copy, as_version=4)
    book.cells.append(nbformat.v4.new_code_cell(claims(notebook.stem)))
    resources = {"metadata": {"path": str(copy.parent)}}
    NotebookClient(book, timeout=SECONDS_MAX, kernel_name="python3", resources=resources).execute()
    said = [output for cell in book.cells for output in cell.get("outputs", []) if output.get("name") == "stderr"]
    assert not said, said
    assert not (tmp_path / "runs").exists()
    assert not (copy.parent / "runs").exists()


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_its_outputs_are_committed_small_and_without_a_path_of_some_machine(notebook: Path) -> None:
    text = notebook.read_text(encoding="utf-8")
    book = nbformat.reads(text, as_version=4)
    cells = [cell for cell in book.cells if cell.cell_type == "code"]
    assert any(cell.outputs for cell in cells)
    assert all(cell.execution_count for cell in cells)
    assert not [output for cell in cells for output in cell.outputs if output.output_type == "error"]
    assert len(text.encode()) < LARGEST_BYTES
    assert not [word for word in ("/home/", "/tmp/", "/Users/", "/root/", "/work/") if word in text]


def test_every_notebook_is_in_the_readme() -> None:
    text = (ROOT / "notebooks" / "README.md").read_text(encoding="utf-8")
    assert NOTEBOOKS
    assert [notebook.name for notebook in NOTEBOOKS if f"({notebook.name})" not in text] == []
