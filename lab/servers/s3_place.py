"""A place in S3: objects below a prefix, in one bucket for all that the lab makes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from lab.engines import aws as engine
from lab.servers.aws import BUCKET, SERVER, objects_below
from lab.servers.disk_ledger import DiskLedger
from lab.servers.place import ServerPlace

# The object that says that a prefix is in use; what else is below it is the store's.
_MADE = ".lab-made"


@dataclass(frozen=True)
class S3Place(ServerPlace):
    """One generation of data in all objects whose names begin with a name and a slash."""

    kind: ClassVar[str] = "objects"
    at = SERVER

    @property
    def book(self) -> DiskLedger:
        """What processes of this machine have made at the address that the environment names."""
        return SERVER.book

    def is_made(self, session: None, name: str) -> bool:
        """Return whether the prefix is in use. Raises Unavailable."""
        with engine.mapped("S3", SERVER.url()):
            return any(one["Key"] == f"{name}/{_MADE}" for one in objects_below(f"{name}/{_MADE}"))

    def make(self, session: None, name: str) -> None:
        """Say that the prefix is in use, in a bucket that is made if need be."""
        with engine.mapped("S3", SERVER.url()):
            client: Any = SERVER.client("s3")
            try:
                client.head_bucket(Bucket=BUCKET)
            except client.exceptions.ClientError:
                client.create_bucket(Bucket=BUCKET)
            client.put_object(Bucket=BUCKET, Key=f"{name}/{_MADE}", Body=b"")

    def bytes_of(self, session: None, name: str) -> int:
        """What the objects take."""
        with engine.mapped("S3", SERVER.url()):
            return sum(int(one["Size"]) for one in objects_below(f"{name}/"))
