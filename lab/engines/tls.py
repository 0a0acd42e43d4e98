"""TLS for drivers that take a context of Python's: who the server must be, and as whom a client shows itself."""

from __future__ import annotations

import ssl

from lab.base import BadInput, Problem
from lab.engines.urls import ServerUrl
from lab.formatting import first_line, listed


def context(url: ServerUrl, authority: str, certificate: str, key: str, password: str = "") -> ssl.SSLContext:
    """Return the context for a URL: what it is given stands behind its `?`, under these names.

    The file of authorities (the system's, if none is named) must vouch for the server and for its name; certificate and
    key are the client's own, and the password is the key's. Raises BadInput for a file that can't be used.
    """
    # None is asked for at the terminal: a key that has another one is refused.
    word = url.parameters.get(password, "")
    if key in url.parameters and certificate not in url.parameters:
        what = f"{url}: `{key}` is of no use without `{certificate}`"
        raise BadInput([Problem(url.where, what, "name the file of the certificate too")])
    try:
        made = ssl.create_default_context(cafile=url.parameters.get(authority))
    except (OSError, ValueError) as error:
        raise _unusable(url, error, authority) from None
    if certificate in url.parameters:
        try:
            made.load_cert_chain(url.parameters[certificate], url.parameters.get(key), lambda: word)
        except (OSError, ValueError) as error:
            # It isn't told which of the two it is.
            raise _unusable(url, error, certificate, *({key} & url.parameters.keys())) from None
    return made


def only_with(scheme: str, url: ServerUrl, *names: str) -> None:
    """Refuse these parameters in a URL that begins with another scheme, for which there may be no TLS at all."""
    if url.scheme != scheme and (given := [name for name in names if name in url.parameters]):
        raise BadInput([Problem(url.where, f"its parameter `{given[0]}` is of TLS", f"begin it with {scheme}://")])


def _unusable(url: ServerUrl, error: OSError | ValueError, *names: str) -> BadInput:
    """What is told of files that can't be used."""
    parameters = listed([f"`{name}`" for name in names])
    files = listed([str(url.parameters.get(name)) for name in names])
    why = getattr(error, "strerror", "") or first_line(error)
    what = f"{url}: the file{'s' * (len(names) > 1)} of {parameters}, {files}, can't be used: {why}"
    return BadInput([Problem(url.where, what, "name a file in PEM format")])
