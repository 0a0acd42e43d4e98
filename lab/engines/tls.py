"""TLS for drivers that take a context of Python's: who the server must be, and as whom a client shows itself."""

from __future__ import annotations

import ssl

from lab.base import BadInput, Problem
from lab.engines.urls import ServerUrl
from lab.formatting import first_line


def context(url: ServerUrl, authority: str, certificate: str, key: str) -> ssl.SSLContext:
    """Return the context for a URL: what it is given stands behind its `?`, under these names.

    The file of authorities (the system's, if none is named) must vouch for the server and for its name; certificate and
    key are the client's own. Raises BadInput for a file that can't be used.
    """
    name = authority
    try:
        made = ssl.create_default_context(cafile=url.parameters.get(authority))
        name = certificate
        if certificate in url.parameters:
            made.load_cert_chain(url.parameters[certificate], url.parameters.get(key), _nothing)
    except OSError as error:
        why = error.strerror or first_line(error)
        what = f"{url}: the file of `{name}`, {url.parameters.get(name)}, can't be used: {why}"
        raise BadInput([Problem(url.where, what, "name a file in PEM format")]) from None
    return made


def _nothing() -> str:
    """No password is asked for at the terminal: a key that has one is refused."""
    return ""
