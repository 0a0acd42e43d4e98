"""Open MongoDB in one way everywhere: with time limits, and its driver's errors as the lab's.

What is written waits until a majority of the replica set has it in their logs, and what is read is what a majority has:
a primary that is lost takes nothing that was confirmed or seen.
"""

from __future__ import annotations

import re
from typing import Any

from bson.errors import BSONError
from bson.int64 import Int64
from pymongo import MongoClient, WriteConcern
from pymongo.errors import BulkWriteError, DocumentTooLarge, OperationFailure, PyMongoError
from pymongo.read_concern import ReadConcern

from lab.base import CannotTake, LabError, Unavailable
from lab.engines import tls
from lab.engines.mapping import mapping
from lab.engines.urls import ServerUrl
from lab.formatting import first_line

SCHEMES, EXAMPLE = ("mongodb", "mongodbs"), "mongodb://127.0.0.1:27017"
PORT = 27017
# Seconds until a connection is given up that isn't answered; until one is that has fallen silent; and until a
# transaction is, which is tried again while others are in its way.
CONNECT_SECONDS, SILENT_SECONDS, TRANSACTION_SECONDS = 3.0, 30.0, 60.0
# MongoDB's own limits: bytes of a document, and of the name of a collection, with that of its database.
DOCUMENT_BYTES, NAMESPACE_BYTES = 16 * 2**20, 255
# Parameters of a URL: where users are kept, the set whose members are all looked for, and the authority's file.
AUTHENTICATES, MEMBERS, AUTHORITY = "authSource", "replicaSet", "tlsCAFile"
WRITES, READS, SNAPSHOT = WriteConcern("majority", j=True), ReadConcern("majority"), ReadConcern("snapshot")
_TOO_LARGE = (10334, 17280)
# What it says of a document whose key is there.
_TAKEN = 11000


def url(text: str, where: str) -> ServerUrl:
    """Return the address of a server; `mongodbs` is one that speaks TLS. Raises BadInput."""
    found = ServerUrl(text, where, SCHEMES, EXAMPLE)
    found.only(AUTHENTICATES, MEMBERS, AUTHORITY)
    tls.only_with("mongodbs", found, AUTHORITY)
    return found


def translated(what: str, error: Exception) -> LabError | None:
    """Return the lab's error for one that the driver raised; None where the keys of documents are taken.

    Unavailable: away, silent, no rights. CannotTake: a document of more than 16 MB, a number of more than 64 bits, a
    text that is no Unicode.
    """
    if isinstance(error, BulkWriteError) and taken(error):
        return None
    # The driver tells its settings and its view of all servers along with what went wrong.
    told = re.sub(r" \(configured timeouts: [^)]*\)|, Timeout: .*", "", first_line(error))
    said = f"{what}: {told or type(error).__name__}"
    if isinstance(error, DocumentTooLarge | BSONError | OverflowError | UnicodeError):
        return CannotTake(said)
    if isinstance(error, OperationFailure) and error.code in _TOO_LARGE:
        return CannotTake(said)
    return Unavailable(said)


mapped = mapping((PyMongoError, BSONError, OverflowError, UnicodeError), translated)


def taken(error: BulkWriteError) -> bool:
    """Whether all that the server refused are documents whose keys are there."""
    refused = (error.details or {}).get("writeErrors", ())
    return bool(refused) and all(one.get("code") == _TAKEN for one in refused)


def connect(address: ServerUrl) -> MongoClient[dict[str, Any]]:
    """Return a client, to be closed: it has threads of its own. An absent server shows at its first command."""
    chosen = address.parameters
    known: dict[str, Any] = {"tlsCAFile": chosen[AUTHORITY]} if AUTHORITY in chosen else {}
    if address.user:
        known |= {
            "username": address.user, "password": address.password,
            "authSource": chosen.get(AUTHENTICATES, "admin"),
        }  # fmt: skip
    return MongoClient(
        address.host or "127.0.0.1",
        address.port or PORT,
        tls=address.scheme == "mongodbs",
        # Only the named server is asked, unless the name of its set says that there are others.
        directConnection=MEMBERS not in chosen,
        replicaSet=chosen.get(MEMBERS),
        serverSelectionTimeoutMS=round(CONNECT_SECONDS * 1e3),
        connectTimeoutMS=round(CONNECT_SECONDS * 1e3),
        socketTimeoutMS=round(SILENT_SECONDS * 1e3),
        appname="polyglot-lab",
        **known,
    )


def told(client: MongoClient[dict[str, Any]]) -> dict[str, Any]:
    """What a server says of itself: `version`, the name of its replica `set`, and its engine. Raises as the driver."""
    hello = client.admin.command("hello")
    version = client.admin.command("buildInfo")
    return {
        "version": str(version["version"]),
        "set": str(hello.get("setName", "")),
        "sharded": hello.get("msg") == "isdbgrid",
    }


def plain(value: Any) -> Any:
    """A value as the lab has it: the driver tells 64-bit integers from others by a type of its own."""
    return int(value) if type(value) is Int64 else value
