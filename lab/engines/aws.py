"""Open Amazon's services in one way everywhere: at one address, with time limits, and their errors as the lab's.

One address answers for all services, as emulators of them do. Its URL has the access key and the secret before the
server's name: `http://key:secret@127.0.0.1:4566?region=eu-central-1`.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from lab.base import CannotTake, Damaged, LabError, Unavailable
from lab.engines.mapping import mapping
from lab.engines.urls import ServerUrl
from lab.formatting import first_line

SCHEMES, EXAMPLE = ("http", "https"), "http://127.0.0.1:4566"
# Seconds until a connection is given up that isn't answered; and until one is that has fallen silent.
CONNECT_SECONDS, SILENT_SECONDS = 3.0, 15.0
# Asked again, under the same token, where an answer was lost.
_ATTEMPTS = 3
# What emulators ask for and don't check; and the region where none is named.
NOBODY, REGION = "lab", "us-east-1"
# Where emulators tell their version.
_HEALTH = "/_localstack/health"
_GONE = ("ResourceNotFoundException", "NoSuchBucket", "NoSuchKey")
_CONDITIONS = ("PreconditionFailed", "ConditionalRequestConflict")
_TOO_LARGE = ("size has exceeded", "too large", "size limit", "exceeded the maximum allowed size")
# By address and service. Clients can be used by several threads.
_clients: dict[tuple[str, str], Any] = {}


class ConditionFailed(Unavailable):
    """The condition of a request doesn't hold: another one was there first."""


def url(text: str, where: str) -> ServerUrl:
    """Return the address of a server. Raises BadInput."""
    return ServerUrl(text, where, SCHEMES, EXAMPLE)


def translated(what: str, error: Exception) -> LabError | None:
    """Return the lab's error for one that the driver raised; None for a transaction that was cancelled.

    Unavailable: away, silent, throttled, no rights; ConditionFailed: another one was there first. CannotTake: too large
    a value. Damaged: what was there is gone.
    """
    said = f"{what}: {first_line(error) or type(error).__name__}"
    if not isinstance(error, ClientError):
        return Unavailable(said)
    code = error.response["Error"]["Code"]
    if code == "TransactionCanceledException":
        return None
    if code in _CONDITIONS:
        return ConditionFailed(said)
    if code in _GONE:
        return Damaged(said)
    if any(words in said for words in _TOO_LARGE):
        return CannotTake(said)
    return Unavailable(said)


mapped = mapping((ClientError, BotoCoreError), translated)


def connect(address: ServerUrl, service: str) -> Any:
    """Return the client of a service; one that was made is used again: it takes as long as a hundred requests."""
    known = (address.secret, service)
    if known not in _clients:
        _clients[known] = boto3.session.Session().client(
            service,
            endpoint_url=server(address),
            region_name=region(address),
            aws_access_key_id=address.user or NOBODY,
            aws_secret_access_key=address.password or NOBODY,
            config=Config(
                connect_timeout=CONNECT_SECONDS,
                read_timeout=SILENT_SECONDS,
                retries={"total_max_attempts": _ATTEMPTS, "mode": "standard"},
                # Half of the time that a request takes on this side.
                parameter_validation=False,
                s3={"addressing_style": "path"},
            ),
        )
    return _clients[known]


def region(address: ServerUrl) -> str:
    """The region that a URL names, or the usual one."""
    return address.parameters.get("region", REGION)


def server(address: ServerUrl) -> str:
    """The URL of a server without anything that is secret."""
    return f"{address.scheme}://{address.host or '127.0.0.1'}" + (f":{address.port}" if address.port else "")


def version(address: ServerUrl) -> str:
    """The version that an emulator tells of itself. Raises Unavailable."""
    try:
        with urlopen(server(address) + _HEALTH, timeout=CONNECT_SECONDS) as answer:
            return str(json.load(answer).get("version", "unknown"))
    except (URLError, OSError, ValueError, AttributeError) as error:
        reason = getattr(error, "reason", error)
        raise Unavailable(f"AWS at {address}: {first_line(reason) or type(error).__name__}") from None
