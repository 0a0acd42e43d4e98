"""Temporary folders of a service: gone when it ends, swept by the next one when it was killed."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from serving import SMALL, Process, written

from lab.service.temporary import LOCK, sweep, temporary_folder

HOLDS = """
import sys
from lab.service.temporary import temporary_folder
with temporary_folder("lab-") as folder:
    (folder / "truth.sock").touch()
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def root(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of temporary files for this test alone; short, for the sockets in it."""
    with tempfile.TemporaryDirectory(prefix="t-") as found:
        monkeypatch.setattr(tempfile, "tempdir", found)
        monkeypatch.setenv("TMPDIR", found)
        yield Path(found)


def names(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir())


def test_it_is_gone_when_the_block_ends(root: Path) -> None:
    with temporary_folder("lab-serve-") as folder:
        assert folder.parent == root
        assert folder.name.startswith("lab-serve-")
    assert names(root) == []


def test_that_of_a_living_process_stays_and_that_of_a_killed_one_goes(root: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        left = Path(process.stdout.readline().strip())
        sweep()
        assert (left / "truth.sock").exists()
        process.kill()
        process.wait()
    assert (left / "truth.sock").exists()
    with temporary_folder("lab-") as folder:
        assert names(root) == [folder.name]


def test_what_no_service_made_stays(root: Path) -> None:
    notes = root / "lab-notes"
    notes.mkdir()
    (notes / "mine.txt").write_text("a user's")
    (root / "lab-file").write_text("a user's")
    (root / "others").mkdir()
    (root / "others" / LOCK).touch()
    sweep()
    assert names(root) == ["lab-file", "lab-notes", "others"]
    assert (notes / "mine.txt").exists()


def test_links_are_not_followed(root: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / LOCK).touch()
    (root / "lab-link").symlink_to(elsewhere)
    inside = root / "lab-inside"
    inside.mkdir()
    (inside / LOCK).symlink_to(elsewhere / LOCK)
    left = root / "lab-left"
    left.mkdir()
    (left / LOCK).touch()
    (left / "deeper").symlink_to(elsewhere)
    sweep()
    assert names(root) == ["lab-inside", "lab-link"]
    assert names(elsewhere) == [LOCK]


def test_the_next_service_removes_what_a_killed_one_left(root: Path, tmp_path: Path) -> None:
    written(tmp_path, text=SMALL)
    scenario = str(tmp_path / "served.toml")
    for dead in (1, 2):
        with Process(scenario) as service:
            # The second one has swept what the first had left.
            assert len(names(root)) == 2
            service.kill()
        left = names(root)
        assert len(left) == 2, dead
    with Process(scenario) as service:
        assert not set(left) & set(names(root))
        assert service.stop() == (143, "")
    assert names(root) == []
