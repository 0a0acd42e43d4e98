"""Values that consumers and their JSON libraries lose on the way: the self-test sends each, and wants it back."""

from __future__ import annotations

from typing import Any

# Each value by the words for it, by the type of its column.
VALUES: dict[str, dict[str, Any]] = {
    "int": {
        "0": 0, "-1": -1, "2^31": 2**31, "2^53 + 1": 2**53 + 1, "2^63 - 1": 2**63 - 1, "-2^63": -(2**63),
    },
    "float": {"0.1": 0.1, "1e300": 1e300, "5e-324": 5e-324, "7.0": 7.0, "-2.5": -2.5},
    "str": {
        "the empty text": "", "blanks around a text": " a  ", "quotes and backslashes": "'\"\\`", "a line end": "a\nb",
        "control characters": "\x01\x1f\x7f", "é in one character": "\u00e9", "é in two characters": "e\u0301",
        "an emoji": "\U0001f600", "10,000 characters": "x" * 10_000,
    },
    "bool": {"true": True, "false": False},
}  # fmt: skip
_NUMBERS = "read and write integers in 64 bits; JavaScript needs BigInt beyond 2^53 (see the adapter in examples/kit)"
# What to do where a value of a type comes back as another one.
WAYS_OUT = {
    "int": _NUMBERS,
    "float": "read and write them in 64 bits, in as many digits as give them back",
    "str": "read and write UTF-8, and let a JSON library escape; don't trim",
    "bool": "give true and false",
}
