"""Numbers as they are written in text: which notation a column has, and whether its numbers are exact as such.

A column is taken for numbers only if nothing of it is lost: codes (`007`, `+49`, `12E3`) and whole numbers beyond
64 bits stay text. Decimals with more digits than a floating-point number tells apart are in fixed point if 64 bits
hold them, else text.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal, localcontext

import polars as pl

from lab.decimals import fitting, is_fractional, kind_of

# Words that stand for a missing value among numbers, times, and booleans.
NULLS = ("NA", "N/A", "#N/A", "<NA>", "NULL", "null", "Null", "(null)", "NaN", "nan", "-nan", "None", r"\N")
# A column of text is of a kind if at least this share of its values is; the others are then malformed.
MOST = 0.9
SAMPLE = 1_000
# What looks like a number and is a code: leading zeros, a plus sign, and an exponent without a sign or a point.
CODE = r"^(?:[+-]?0\d|\+|-?\d+[eE]\d+$)"
WHOLE = r"^-?(?:0|[1-9]\d*)$"
PLAIN = r"^-?(?:(?:0|[1-9]\d*)(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?$|^-?(?i:inf|infinity)$"
# Decimals of at most so many digits are told apart by floating-point numbers.
DIGITS = 15
SPACES = " \u00a0\u202f"
# A number whose minus stands behind it.
BEHIND = rf"^([\d.,'’{SPACES}]*\d)-$"


def turned(text: pl.Expr) -> pl.Expr:
    """Put a minus that stands behind a number before it."""
    return text.str.replace(BEHIND, "-$1")


@dataclass(frozen=True)
class Notation:
    """How numbers are written: the decimal point, the characters between groups of thousands, and a pattern.

    `behind`: the minus of negative ones stands behind them, as SAP writes it.
    """

    decimal: str
    between: str
    pattern: str
    behind: bool = False

    def plain(self, text: pl.Expr) -> pl.Expr:
        """Rewrite numbers of this notation with a decimal point and without groups; other text is unchanged."""
        if self.behind:
            text = turned(text)
        if not self.between:
            return text
        bare = text.str.replace_all(f"[{self.between}]", "").str.replace(self.decimal, ".", literal=True)
        return pl.when(text.str.contains(self.pattern)).then(bare).otherwise(text)


POINT = Notation(".", "", PLAIN)
COMMA = Notation(",", ".", r"^-?(?:[1-9]\d{0,2}(?:\.\d{3})+|\d+)(?:,\d+)?$")
GROUPED = (
    Notation(".", ",", r"^-?[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?$|" + PLAIN),
    COMMA,
    Notation(".", "'’", r"^-?(?:[1-9]\d{0,2}(?:['’]\d{3})+|\d+)(?:\.\d+)?$"),
    Notation(",", SPACES, rf"^-?(?:[1-9]\d{{0,2}}(?:[{SPACES}]\d{{3}})+|\d+)(?:,\d+)?$"),
    Notation(".", SPACES, rf"^-?(?:[1-9]\d{{0,2}}(?:[{SPACES}]\d{{3}})+|\d+)(?:\.\d+)?$"),
)


@dataclass(frozen=True)
class Understood:
    """What a column of text is: its kind, the notation of its numbers, and what is to be said of it.

    `rivals` are further notations that fit as well; if none is likelier, `kind` is text until one of them is chosen.
    `nulls` are words for a missing value that stand among the numbers.
    """

    kind: str
    notation: Notation = POINT
    note: str = ""
    rivals: tuple[Notation, ...] = ()
    nulls: tuple[str, ...] = ()


def understand(values: pl.Series, words: Sequence[str] = ()) -> Understood:
    """Return what a column of text is; `words` stand for a missing value besides the usual ones."""
    there = values.drop_nulls().str.strip_chars()
    there = there.filter(there != "")
    missing = there.is_in([*NULLS, *words])
    found = there.filter(~missing) if missing.any() else there
    if not found.len():
        return Understood("str")
    nulls = tuple(there.filter(missing).unique().sort().to_list())
    if found.str.contains(BEHIND).any() and not found.str.starts_with("-").any():
        before = found.to_frame("v").select(turned(pl.col("v"))).to_series()
        made = _written(before, nulls)
        rivals = tuple(replace(one, behind=True) for one in made.rivals)
        return replace(made, notation=replace(made.notation, behind=True), rivals=rivals)
    return _written(found, nulls)


def _written(found: pl.Series, nulls: tuple[str, ...]) -> Understood:
    """Return what text is that stands for no missing value; `nulls` are the words beside it that do."""
    sample = found.gather_every(max(1, found.len() // SAMPLE))
    if _booleans(sample) > 0.5 and _booleans(found) >= MOST:
        return Understood("bool", nulls=nulls)
    # Most text is not even half numbers, which a sample shows.
    if max(_share(sample.str.contains(one.pattern)) for one in (POINT, *GROUPED)) < 0.5:
        return Understood("str")
    if found.str.contains(CODE).any():
        return Understood("str")
    plain = _share(found.str.contains(PLAIN))
    if plain == 1.0:
        made = _numbers(found, POINT, nulls)
        # 1.234 is 1234 in a file whose other numbers have a comma.
        turned = is_fractional(made.kind) and found.str.contains(COMMA.pattern).all()
        return replace(made, rivals=(COMMA,)) if turned else made
    fits = tuple(one for one in GROUPED if found.str.contains(one.pattern).all())
    if len({one.decimal for one in fits}) > 1:
        return Understood("str", rivals=fits, nulls=nulls)
    if fits:
        return _numbers(found, fits[0], nulls)
    if plain >= MOST:
        return _numbers(found.filter(found.str.contains(PLAIN)), POINT, nulls)
    if plain > 0.5:
        odd = found.filter(~found.str.contains(PLAIN))
        return Understood("str", note=f"has {odd.len():,} values like {odd[0]!r} among its numbers: it is text here")
    return Understood("str")


def decided(values: pl.Series, found: Understood, decimal: str) -> Understood:
    """Return a column whose notation was in doubt, with the notation of this decimal point."""
    there = values.drop_nulls().str.strip_chars()
    there = there.filter((there != "") & ~there.is_in([*NULLS]))
    chosen = next((one for one in found.rivals if one.decimal == decimal), None)
    return found if chosen is None else _numbers(there, chosen, found.nulls)


def _booleans(values: pl.Series) -> float:
    return _share(values.str.to_lowercase().is_in(["true", "false"]))


def _share(mask: pl.Series) -> float:
    return int(mask.sum()) / mask.len()


def _numbers(found: pl.Series, notation: Notation, nulls: tuple[str, ...]) -> Understood:
    """Return numbers as int, float or decimal, the first that is exact, else as text, with the reason."""
    plain = found.to_frame("v").select(notation.plain(pl.col("v"))).to_series()
    if plain.str.contains(WHOLE).all():
        if plain.cast(pl.Int64, strict=False).null_count():
            return Understood("str", note="has whole numbers beyond 64 bits: they are text here")
        return Understood("int", notation, nulls=nulls)
    if alike := _alike(plain):
        return Understood("str", note=f"has {alike}, which is the same number and another text: text here")
    if rounded := inexact(plain):
        if (scale := fitting(plain)) is not None:
            return Understood(kind_of(scale), notation, nulls=nulls)
        return Understood("str", note=f"has decimals like {rounded} that a floating-point number rounds: text here")
    return Understood("float", notation, nulls=nulls)


def _alike(values: pl.Series) -> str:
    """Return a number that stands with a zero at its end and without it, like releases 1.10 and 1.1; else nothing."""
    longer = values.filter(values.str.contains(r"\.\d+0$"))
    if not longer.len():
        return ""
    shorter = values.filter(values.str.contains(r"\.\d*[1-9]$"))
    twice = longer.filter(longer.str.replace("0+$", "").is_in(shorter.implode()))
    return f"{twice[0]} beside {twice[0].rstrip('0')}" if twice.len() else ""


def inexact(values: pl.Series) -> str:
    """Return the first number that is not the same as a floating-point number; empty if there is none.

    A decimal is the same if the shortest text of the float is that decimal, or if the text has so many digits that it
    can only be the float's own expansion (as `%.17g` writes it).
    """
    long = _long(values)
    with localcontext(prec=1_200):
        return next((text for text in long.unique(maintain_order=True) if not exact(text)), "")


def rounded(values: pl.Series) -> pl.Series:
    """Return all numbers that are not the same as floating-point numbers."""
    long = _long(values)
    with localcontext(prec=1_200):
        lost = [text for text in long.unique() if not exact(text)]
    return long.filter(long.is_in(lost))


def _long(values: pl.Series) -> pl.Series:
    """Return the numbers that may not be the same as floating-point numbers."""
    values = values.drop_nulls()
    digits = values.str.replace(r"[eE].*$", "").str.replace_all(r"[-.]", "").str.strip_chars_start("0")
    return values.filter((digits.str.strip_chars_end("0").str.len_bytes() > DIGITS) | values.str.contains("[eE]"))


def exact(text: str) -> bool:
    """Return whether a number in plain notation is told apart from all others by its floating-point number."""
    value, wanted = float(text), Decimal(text)
    if not math.isfinite(value):
        return not wanted.is_finite()
    if Decimal(repr(value)) == wanted:
        return True
    digits = len(wanted.as_tuple().digits)
    if digits <= DIGITS + 1:
        return False
    with localcontext(prec=digits):
        return +Decimal(value) == wanted
