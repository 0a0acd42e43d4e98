"""The socket to a MariaDB server: its driver sets no limit for an end that has gone away without a word."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any

import pymysql


def reached(words: Mapping[str, Any], connect_seconds: float, silent_seconds: int) -> socket.socket:
    """Connect a socket to the `host` and `port`, or the `unix_socket`, of these words of the driver.

    The other end is given up once its system has been silent for so long, also while nothing is asked.
    Raises the driver's OperationalError.
    """
    if (path := words.get("unix_socket")) is not None:
        local = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        local.settimeout(connect_seconds)
        try:
            local.connect(path)
        except OSError as error:
            local.close()
            raise pymysql.OperationalError(2002, f"{path}: {error.strerror or error}") from None
        return local
    try:
        found = socket.create_connection((words["host"], words["port"]), connect_seconds)
    except OSError as error:
        raise pymysql.OperationalError(2003, f"{error.strerror or error}") from None
    found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    third = silent_seconds // 3
    limits = {"TCP_KEEPIDLE": third, "TCP_KEEPINTVL": third, "TCP_KEEPCNT": 2}
    for name, value in (limits | {"TCP_USER_TIMEOUT": silent_seconds * 1_000}).items():
        if (option := getattr(socket, name, None)) is not None:
            found.setsockopt(socket.IPPROTO_TCP, option, value)
    return found
