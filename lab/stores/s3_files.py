"""`s3.files`: the same Parquet files as `parquet.files`, as objects in S3, which Polars reads where they are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lab.base import Batch, Damaged
from lab.place import FolderPlace
from lab.ports import Capabilities
from lab.servers.aws import SERVER
from lab.servers.ledger import NAMED
from lab.servers.s3_place import S3Place
from lab.stores.layout import Layout
from lab.stores.parquet_disk import FolderDisk
from lab.stores.parquet_files import ParquetFiles
from lab.stores.s3_disk import MARK_BYTES, S3Disk


class S3Files(ParquetFiles):
    """Sorted parts, one object of what has come since, and a manifest that only its last reader replaces."""

    name = "s3.files"
    durability = "full at Amazon; the emulator keeps all in memory. Data and checkpoint by one manifest"
    capabilities = Capabilities(level="emulated")
    files = (NAMED,)
    _marks = f"[0-9a-f]{{{2 * MARK_BYTES}}}-"

    def __init__(self, place: FolderPlace, layout: Layout) -> None:
        self._on = S3Place.of(place)
        super().__init__(self._on, layout)

    @classmethod
    def placed(cls, place: FolderPlace) -> FolderPlace:
        """The prefix that belongs to a folder."""
        return S3Place.of(place)

    @classmethod
    def begin(cls) -> None:
        """Become the owner of what this process and those that it starts make there."""
        SERVER.begin()

    def _disk_of(self) -> FolderDisk:
        return S3Disk(self._on, self.name)

    def open(self) -> None:
        """Become the writer: by the manifest, which is written anew, a former one is refused from then on."""
        if self._tables is None:
            super().open()
            try:
                self._write_manifest(self._known(), self._checkpoints)
            except BaseException:
                self.close()
                raise

    def bulk(self, entity: str, frames: Iterable[Batch]) -> None:
        """All parts, sorted, then one manifest."""
        self._known()
        super().bulk(entity, frames)

    def damaged(self, error: BaseException) -> bool:
        """By what S3 said, or Polars of an object: one that the manifest names is gone."""
        return isinstance(error, Damaged | FileNotFoundError)

    def settings(self) -> dict[str, Any]:
        """The library, the layout of the files, and what answers."""
        return super().settings() | {"address": str(SERVER.url()), **SERVER.settings(), "durability": "full"}
