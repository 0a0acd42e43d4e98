"""Amazon's services: found by the URL in LAB_AWS, in the file that LAB_AWS_FILE names, or at port 4566 of 127.0.0.1."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from lab.base import Damaged
from lab.engines import aws as engine
from lab.engines.urls import ServerUrl
from lab.servers.broker import Broker
from lab.servers.disk_ledger import DiskLedger


class AwsLedger(DiskLedger):
    """The ledger of what the lab made there: tables of DynamoDB."""

    variable = "LAB_AWS_OWNER"
    kinds = ("table",)


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
        """Delete a table; nothing if it is gone. Raises Unavailable."""
        with suppress(Damaged), engine.mapped(f"{self.title} at {self.url()}", self.url()):
            self.client("dynamodb").delete_table(TableName=thing)


SERVER = AwsServer()
