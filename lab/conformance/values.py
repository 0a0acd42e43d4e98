"""Values that stores are known to alter in silence, by the kind of a column: what else would be kept in their place.

Most texts stand beside the one that they would become: trimmed, folded, normalised, cut, read as a number or a date. A
store that alters one of them makes two records alike, so that a look-up, a filter or a key shows it too. The first of
each list are asked for most.
"""

from __future__ import annotations

from typing import Any

from lab.base import Key

# Longer than a page of most engines, and than the 32,767 bytes that some allow an indexed term.
LONG = 65_536

TEXTS: tuple[str, ...] = (
    "a", "A", " a", "a ", "",
    # Composed and decomposed; a letter that Latin-1 has, and what ASCII makes of it.
    "\u00e9", "e\u0301", "e", "\u00c9",
    # Numbers that are texts.
    "007", "7", "7.0", "1e3", "-0", "+1", "0x1F", "1.50", "9007199254740993", " 7",
    # Cut at NUL.
    "nul\x00a", "nul\x00b", "nul", "\x00",
    # Dates that are texts.
    "2024-02-30", "2024-01-01", "2024-01-01T00:00:00Z", "2024-01-01 00:00:00", "01/02/2024", "12:00",
    # What some formats write for nothing, and for true and false.
    "null", "NULL", "None", "NaN", "\\N", "true", "false",
    # Order: by code point `Z` is before `a`, in a locale behind it; `_` is between them; astral is behind the BMP.
    "Z", "_", "z", "\u00df", "ss", "\u0130", "i", "\u0131", "\ufb01", "fi", "\uffff", "\U0001d518", "\U0010ffff",
    # A family joined by zero-width joiners, a flag, right to left, no width, a byte order mark.
    "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\U0001f1e9\U0001f1ea", "\u0645\u0631\u062d", "\u65e5\u672c",
    "\u200b", "\ufeffa", "\u2028", "\r\n", "\n", "\ta\t", "\u00a0a",
    # Quotes, wildcards, JSON, a formula.
    "'", '"', "\\", "%_", "'; --", '{"a": 1}', "[1]", "=1+1", "a,b",
    # Alike for the first 32, 64 and 255 characters.
    "p" * 32 + "1", "p" * 32 + "2", "p" * 64, "p" * 255, "p" * 256,
    "long " * (LONG // 5) + "1", "long " * (LONG // 5) + "2",
)  # fmt: skip

INTS: tuple[int, ...] = (
    0, 1, -1, 2**31 - 1, 2**31, -(2**31) - 1, 2**32, 2**32 + 1, 2**53, 2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63),
    2**63 - 2, 127, 128, 255, 256, 257, -129, 32_768, 65_536, 16_777_217, 7,
)  # fmt: skip

FLOATS: tuple[float, ...] = (
    0.1, 0.0, -0.0, 0.1 + 0.2, 0.3, 1 / 3, 16_777_217.0, 2.0**53 + 2, 1.7976931348623157e308, -1.7976931348623157e308,
    2.2250738585072014e-308, 5e-324, -5e-324, 1e-300, 1e16, 123_456_789.123_456_78, 0.005, 1.005, 2.675, -0.25, 1e22,
    9.999999999999999e22, 1.0, 100.0,
)  # fmt: skip

BOOLS: tuple[bool, ...] = (True, False)

# By the kind of a column.
HOSTILE: dict[str, tuple[Any, ...]] = {"str": TEXTS, "int": INTS, "float": FLOATS, "bool": BOOLS}

# Sums of these are exact in whatever order an engine adds them up, and stay within 64 bits; 32 bits are too few for
# them, and a float of 64 bits for the last.
SUMMABLE: dict[str, tuple[Any, ...]] = {
    "int": (0, 1, -1, 2**31, -(2**31) - 1, 2**32 + 1, 2**40 + 1, 2**53 + 1),
    "float": (0.25, 0.0, -0.5, 16_777_217.25, 2.0**40 + 0.25),
}

# Keys, by their type: each differs from another one by what a store might drop.
KEYS: dict[str, tuple[Key, ...]] = {
    "int": (
        0, 1, -1, 2**32 + 1, 2**31, -(2**31) - 1, 2**53, 2**53 + 1, 2**63 - 1, -(2**63), 257, 256, 65_537, 7,
    ),
    "str": (
        "a", "A", " a", "a ", "", "\u00e9", "e\u0301", "e", "007", "7", "7.0", "-1", "nul\x00a", "nul\x00b", "nul",
        "p" * 32 + "1", "p" * 32 + "2", "p" * 64, "q" * 100 + "1", "q" * 100 + "2", "null", "1e3", "1000",
        "2024-01-01", "Z", "_", "\uffff", "\U0001d518", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "%_", "'", "\n",
    ),
}  # fmt: skip

# Values as data usually has them: few, so that many records are alike and a sort has ties, with letters whose order
# depends on a collation.
USUAL: dict[str, tuple[Any, ...]] = {
    "str": ("a", "A", "\u00e9", "Z", "b", None),
    "int": (0, 1, -1, 7, 10, None),
    "float": (0.25, 0.0, -0.5, 10.0, 2.5, None),
    "bool": (True, False, None),
}

_WORDS = {str: "text", bool: "truth value", int: "whole number", float: "number"}


def shown(value: Any) -> str:
    """A value in a message: of what type it is, with escapes for what can't be seen, long texts cut."""
    if value is None:
        return "null"
    text = repr(value) if str(value).isascii() else ascii(value)
    if isinstance(value, str) and len(value) > 60:
        text = f"of {len(value):,} characters ({text[:20]}...{text[-8:]})"
    return f"{_WORDS.get(type(value), type(value).__name__)} {text}"


def told(error: BaseException) -> str:
    """An error in one line, cut, with escapes for what can't be seen."""
    text = " ".join(str(error).split())[:160]
    return f"{type(error).__name__}: {text if text.isprintable() else ascii(text)}"
