"""Amazon's services: found by the URL in LAB_AWS, in the file that LAB_AWS_FILE names, or at port 4566 of 127.0.0.1."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from lab.base import Damaged
from lab.engines import aws as engine
from lab.engines.urls import ServerUrl
from lab.servers.broker import Broker
from lab.servers.disk_ledger import DiskLedger

# The bucket of all objects of the lab; and how many are deleted in a request.
BUCKET = "lab-projections"
_DELETED = 1_000


class AwsLedger(DiskLedger):
    """The ledger of what the lab made there: tables of DynamoDB, objects of S3 below a prefix, streams of Kinesis."""

    variable = "LAB_AWS_OWNER"
    kinds = ("table", "objects", "stream")

    def remove(self, session: None, kind: str, name: str) -> None:
        """Delete a table, all objects below a prefix, or a stream and the table of its readers."""
        if kind == "stream":
            with suppress(Damaged), engine.mapped(f"{SERVER.title} at {SERVER.url()}", SERVER.url()):
                SERVER.client("kinesis").delete_stream(StreamName=name, EnforceConsumerDeletion=True)
        with suppress(Damaged), engine.mapped(f"{SERVER.title} at {SERVER.url()}", SERVER.url()):
            if kind == "objects":
                delete_objects([one["Key"] for one in objects_below(f"{name}/")])
            else:
                SERVER.client("dynamodb").delete_table(TableName=name)


class AwsServer(Broker):
    """The address that answers for Amazon's services; found and swept as brokers are."""

    name, title, variable = "aws", "AWS", "LAB_AWS"
    schemes, usual = engine.SCHEMES, engine.EXAMPLE
    ledger_class = AwsLedger
    start = "pip install 'polyglot-lab[aws]' && lab servers start aws"

    def client(self, service: str) -> Any:
        """Return the client of a service, such as `dynamodb`. Raises BadInput; an absent server shows in use."""
        return engine.connect(self.url(), service)

    def ask(self, url: ServerUrl) -> dict[str, Any]:
        """Its version, and that it is an emulator. Raises Unavailable."""
        return {"version": engine.version(url), "emulator": True}

    def remove(self, thing: str) -> None:
        """Remove what its ledger doesn't tell apart: a table."""
        self.book.remove(None, "table", thing)


SERVER = AwsServer()


def objects_below(prefix: str) -> Iterator[dict[str, Any]]:
    """Each object whose name begins so: its `Key` and `Size`; none without a bucket. Raises as the driver does."""
    pages = SERVER.client("s3").get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
    with suppress(SERVER.client("s3").exceptions.NoSuchBucket):
        for page in pages:
            yield from page.get("Contents", ())


def delete_objects(keys: list[str]) -> None:
    """Delete objects, as far as they are there. Raises as the driver does."""
    for first in range(0, len(keys), _DELETED):
        named = [{"Key": key} for key in keys[first : first + _DELETED]]
        SERVER.client("s3").delete_objects(Bucket=BUCKET, Delete={"Objects": named, "Quiet": True})
