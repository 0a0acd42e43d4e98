"""S3 as a disk of Parquet files: immutable objects, and a manifest that is replaced under the condition that it is the
one that was read.

By that condition a writer that was replaced is refused: the next one writes the manifest anew when it is opened. Files
have the writer's mark in their names, so two writers never write one object.
"""

from __future__ import annotations

import io
import json
import secrets
from collections.abc import Iterable
from typing import Any

import polars as pl

from lab.base import Unavailable
from lab.engines import aws as engine
from lab.servers.aws import BUCKET, SERVER, delete_objects, objects_below
from lab.servers.s3_place import S3Place
from lab.stores.parquet_disk import MANIFEST, FolderDisk

# Random bytes of a writer's mark.
MARK_BYTES = 6


class S3Disk(FolderDisk):
    """Objects below the prefix of a place."""

    def __init__(self, on: S3Place, name: str) -> None:
        super().__init__(on.path, synced=True)
        self._on, self._name = on, name
        # The prefix; and which manifest was read or written last: "" for none.
        self._prefix, self._tag = "", ""
        self.mark = ""

    def open(self) -> None:
        """Find the prefix, or make one."""
        self._prefix, self._tag = f"{self._on.claim()}/", ""
        self.mark = f"{secrets.token_hex(MARK_BYTES)}-"

    def close(self) -> None:
        """Forget which manifest was read."""
        self._tag = ""

    def scan(self, files: Iterable[str]) -> pl.LazyFrame:
        """The rows of objects, which Polars reads by itself, only what it needs of each."""
        url = SERVER.url()
        return pl.scan_parquet(
            [f"s3://{BUCKET}/{self._prefix}{file}" for file in files],
            storage_options={
                "aws_endpoint_url": engine.server(url),
                "aws_access_key_id": url.user or engine.NOBODY,
                "aws_secret_access_key": url.password or engine.NOBODY,
                "aws_region": engine.region(url),
                "aws_allow_http": "true",
            },
        )

    def write(self, file: str, rows: pl.DataFrame, group: int) -> int:
        """Write an object, whole."""
        body = io.BytesIO()
        rows.write_parquet(body, compression="zstd", compression_level=1, row_group_size=group, statistics=True)
        with self._mapped():
            self._client.put_object(Bucket=BUCKET, Key=self._prefix + file, Body=body.getvalue())
        return body.getbuffer().nbytes

    def remove(self, files: Iterable[str]) -> None:
        """Delete objects, as far as they are there."""
        keys = [self._prefix + file for file in files]
        with self._mapped():
            delete_objects(keys)

    def sizes(self) -> dict[str, int]:
        """The bytes of each Parquet file, by its name."""
        with self._mapped():
            found = {one["Key"].removeprefix(self._prefix): int(one["Size"]) for one in objects_below(self._prefix)}
        return {name: size for name, size in found.items() if name.endswith(".parquet")}

    def manifest(self) -> str | None:
        """The text of the manifest, whose tag is remembered; None without one."""
        client = self._client
        with self._mapped():
            try:
                found = client.get_object(Bucket=BUCKET, Key=self._prefix + MANIFEST)
            except client.exceptions.NoSuchKey:
                self._tag = ""
                return None
            self._tag = str(found["ETag"])
            return str(found["Body"].read().decode())

    def put_manifest(self, text: str) -> None:
        """Replace the manifest that was read or written last. Raises Unavailable where another process has done so.

        Each text is one of its own, so where an answer was lost the manifest says whether it is this one.
        """
        said = json.dumps(json.loads(text) | {"write": secrets.token_hex(8)})
        condition = {"IfMatch": self._tag} if self._tag else {"IfNoneMatch": "*"}
        client = self._client
        try:
            with self._mapped():
                found = client.put_object(Bucket=BUCKET, Key=self._prefix + MANIFEST, Body=said.encode(), **condition)
                self._tag = str(found["ETag"])
        except engine.ConditionFailed:
            tag = self._tag
            if self.manifest() == said:
                return
            self._tag = tag
            raise Unavailable(f"{self._name}: another process writes this projection now") from None

    def sweep(self, files: Iterable[str]) -> None:
        """Delete what was left behind."""
        self.remove(files)

    def manifest_bytes(self) -> int:
        """The bytes of the manifest; 0 without one."""
        with self._mapped():
            return sum(int(one["Size"]) for one in objects_below(self._prefix + MANIFEST))

    @property
    def _client(self) -> Any:
        return SERVER.client("s3")

    def _mapped(self) -> Any:
        return engine.mapped(self._name, SERVER.url())
