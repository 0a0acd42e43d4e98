"""Where Parquet files and their manifest stand: here a folder on disk. Another kind of disk has the same verbs."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import polars as pl

MANIFEST = "manifest.json"


class FolderDisk:
    """A folder. With `synced`, everything is on disk before a call returns."""

    # In the names of files, before their numbers.
    mark = ""

    def __init__(self, path: Path, synced: bool) -> None:
        self.path, self.synced = path, synced

    def open(self) -> None:
        """Make the folder, if there is none."""
        self.path.mkdir(parents=True, exist_ok=True)

    def close(self) -> None:
        """Nothing is open between two calls."""

    def scan(self, files: Iterable[str]) -> pl.LazyFrame:
        """The rows of files, in their order, not read yet."""
        return pl.scan_parquet([self.path / file for file in files])

    def write(self, file: str, rows: pl.DataFrame, group: int) -> int:
        """Write a file, in row groups of so many rows; returns its bytes."""
        path = self.path / file
        rows.write_parquet(path, compression="zstd", compression_level=1, row_group_size=group, statistics=True)
        if self.synced:
            sync(path)
        return path.stat().st_size

    def remove(self, files: Iterable[str]) -> None:
        """Remove files, as far as they are there."""
        for file in files:
            (self.path / file).unlink(missing_ok=True)

    def sizes(self) -> dict[str, int]:
        """The bytes of each Parquet file, by its name."""
        return {path.name: path.stat().st_size for path in self.path.glob("*.parquet")}

    def manifest(self) -> str | None:
        """The text of the manifest; None without one."""
        try:
            return (self.path / MANIFEST).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None

    def put_manifest(self, text: str) -> None:
        """Replace the manifest, in one step."""
        beside = self.path / f"{MANIFEST}.next"
        beside.write_text(text, encoding="utf-8")
        if self.synced:
            sync(beside)
        beside.replace(self.path / MANIFEST)
        if self.synced:
            sync(self.path)

    def sweep(self, files: Iterable[str]) -> None:
        """Remove files that were left behind, and a manifest that was not finished."""
        self.remove([*files, f"{MANIFEST}.next"])

    def manifest_bytes(self) -> int:
        """The bytes of the manifest; 0 without one."""
        manifest = self.path / MANIFEST
        return manifest.stat().st_size if manifest.exists() else 0


def sync(path: Path) -> None:
    """To disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
