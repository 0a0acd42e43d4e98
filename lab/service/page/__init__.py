"""The live page at `/`: three files joined into one document that loads nothing and calls only its own address.

It contains no data, so it needs no token; the requests for what it shows do.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

HERE = Path(__file__).parent


def _source(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def page() -> bytes:
    """Return the document with its style and its script inside."""
    whole = _source("page.html").replace("/*STYLE*/", _source("page.css")).replace("/*SCRIPT*/", _source("page.js"))
    return whole.encode()


def headers() -> dict[str, str]:
    """What a browser may do with it: run this script and this style, by their hashes, and ask here; nothing else."""
    allowed = {
        "default-src": "'none'",
        "script-src": _hash("page.js"),
        "style-src": _hash("page.css"),
        "connect-src": "'self'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return {
        "content-security-policy": "; ".join(f"{name} {value}" for name, value in allowed.items()),
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cache-control": "no-cache",
    }


def _hash(name: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(_source(name).encode()).digest()).decode()}'"
