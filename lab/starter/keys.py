"""Guess what identifies a record: what is declared, a unique id, an id that comes again, and last a combination."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations

import polars as pl

from lab.base import BadInput, Problem
from lab.decimals import is_fractional
from lab.domain.trace.counting import distinct, has_repeats
from lab.domain.trace.raw import DELETED, Raw
from lab.starter.roles import SAMPLE, Guess, Guesses, listed, plain

# The most columns of a composite key, and the most columns that are tried for one.
WIDEST = 4
TRIED = 8
# An id comes again with a time if this share of its rows differs in the two; the others have the same time by chance.
APART = 0.9
# Names that end like a key's and are not: words, and codes and numbers that describe a record.
NO_KEYS = (
    r"^(un|pre|re)?paid$|^(in)?valid$|^void$|^bid$|^grid$|^(zip|post|postal|country|currency|status|state|error|"
    r"language|lang|http|response|area|phone|tel|fax|mobile|exit|reason|color|colour)_?(code|no|nr|number|key|id)$"
)
# The number of a line within what the line belongs to: an order, an invoice, a document.
LINES = r"^(order|invoice|item|document)?_?(line|position|pos|item)(_?(no|nr|number|num))?$|^(stop|shape_pt)_sequence$"
# The id of a change rather than of what changes.
OF_CHANGES = r"^(change|audit|history|hist|log|row|entry|revision)_?(id|no|nr|number|key|uuid)$"

# Names of keys that tell what kind of thing is numbered, and not whose number it is: `sku` in a line of an order.
NATURAL = r"^(e_?mail|user_?name|login|ticker|symbol)(_?address)?$"
ALONE = ("code", "sku", "line", "number", "no", "nr", "nummer", "kennung", "isbn", "ean", "iban", "vin")


def rank(name: str) -> int:
    """Rank a name by how much it looks like a key; 0 is the best."""
    lower = plain(name)
    if lower in ("id", "key", "uuid", "guid", "pk", "_id"):
        return 0
    if re.search(NO_KEYS, lower):
        return 2
    if re.search(r"(id|key|_no|_nr|_number|_code|nummer)$", lower) or lower in ALONE or re.search(NATURAL, lower):
        return 1
    return 2


def key(raw: Raw, frame: pl.DataFrame, kinds: Mapping[str, str], found: Guesses, where: str) -> Guess:
    """Choose the first of: what is declared; a unique id; an id that comes again; a unique column; a combination.

    Before a `sku` or the like that comes again stands a pair of columns called like a key that is unique.

    Raises BadInput if none of these is there.
    """
    if raw.keys and set(raw.keys) <= set(kinds) and not any(frame[name].null_count() for name in raw.keys):
        return Guess(raw.keys, "the table declares it")
    order = [name for role in ("revision", "time") for name in found[role].columns]
    frame = frame.select(list(dict.fromkeys([*kinds, *order])))
    likely = _candidates(raw, kinds, [*order, *found["deleted"].columns])
    whole = [name for name in likely if not frame[name].null_count()]
    values = {name: distinct(frame[name]) for name in whole}
    single = [name for name in whole if values[name] == frame.height]
    again = _again(frame, [name for name in whole if name not in single and _sounds(raw, name, kinds)], order, values)
    guesses = [
        *_of_its_own(single, again),
        *_in_pairs(raw, frame, whole, again, values, kinds),
        *_lines(frame, whole, values, order),
        *again,
        *_unique(name for name in single if not is_fractional(kinds[name])),
    ]
    measured = _unique(name for name in single if is_fractional(kinds[name]))
    if not guesses:
        # What is measured is unique by chance.
        combined = _panel(frame, whole, found, values, kinds) + _together(
            frame, [name for name in whole if not is_fractional(kinds[name])], values
        )
        guesses = (
            combined + measured
            or _together(frame, whole, values)
            or [
                Guess((name,), f"nothing else tells the rows apart; the times of `{name}` are unique and never null")
                for name in found["time"].columns
                if not frame[name].null_count() and distinct(frame[name]) == frame.height
            ]
        )
    if not guesses:
        raise _nothing(frame, whole, values, kinds, where)
    best = guesses[0]
    others = [one.columns for one in guesses if set(one.columns) != set(best.columns)]
    return replace(best, rival=others[0] if others else ())


def _candidates(raw: Raw, kinds: Mapping[str, str], but: Sequence[str]) -> list[str]:
    """Return columns that may be a key or a part of one, the likeliest first, fractional numbers last.

    A column without a name, like the index that pandas writes, numbers rows rather than records.
    """
    names = [name for name, kind in kinds.items() if kind != "bool" and name not in but]
    named = len(raw.nameless) < len(kinds)
    return sorted(names, key=lambda name: (is_fractional(kinds[name]), named and name in raw.nameless, rank(name)))


def _sounds(raw: Raw, name: str, kinds: Mapping[str, str]) -> bool:
    """Return whether a column is called like a key; if no column has a name, whether it is the first number."""
    if raw.nameless and len(raw.nameless) == len(kinds):
        return name == next((one for one, kind in kinds.items() if kind == "int"), None)
    return rank(name) < 2 and kinds[name] in ("int", "str") and name not in raw.nameless


def _unique(names: Iterable[str]) -> list[Guess]:
    return [Guess((name,), f"the values of `{name}` are unique and never null") for name in names]


def _of_its_own(single: Sequence[str], again: Sequence[Guess]) -> list[Guess]:
    """Return the unique columns that are called like a key, unless a column called `id` comes again."""
    named = [name for name in single if rank(name) < 2]
    if again:
        best = rank(again[0].columns[0])
        named = [name for name in named if rank(name) <= best and not re.search(OF_CHANGES, plain(name))]
    return _unique(named)


def _again(frame: pl.DataFrame, ids: Sequence[str], order: Sequence[str], values: Mapping[str, int]) -> list[Guess]:
    """Return the ids that come again with another time or revision: those of best name, then of most values."""
    if not order:
        return []
    found = []
    for name in ids:
        share = apart(frame, [name, *order])
        if share < APART:
            continue
        tied = "" if share == 1.0 else f", but for {1 - share:.1%} of the rows, which stay in the order of the file"
        found.append(Guess((name,), f"`{name}` comes again with another {listed(order)}{tied}"))
    if found and not unique(frame, frame.columns):
        found = [one for one in found if unique(frame, [*one.columns, *order])]
    return sorted(found, key=lambda one: (rank(one.columns[0]), -values[one.columns[0]]))


def _in_pairs(
    raw: Raw,
    frame: pl.DataFrame,
    whole: Sequence[str],
    again: Sequence[Guess],
    values: Mapping[str, int],
    kinds: Mapping[str, str],
) -> list[Guess]:
    """Return the pairs of columns called like a key that are unique, if what comes again is called `sku` or the like.

    An order's lines name the same `sku` at other times, without being revisions of it.
    """
    if not again or plain(again[0].columns[0]) not in ALONE:
        return []
    return _together(frame, [name for name in whole if _sounds(raw, name, kinds)], values, widest=2)


def _lines(frame: pl.DataFrame, whole: Sequence[str], values: Mapping[str, int], order: Sequence[str]) -> list[Guess]:
    """Return a number of lines with the id that they are counted within: the lines of orders, and their revisions."""
    lines = [name for name in whole if re.search(LINES, plain(name)) and values[name] < frame.height]
    ids = [name for name in whole if rank(name) < 2 and name not in lines]
    found = [(one, line) for line in lines for one in ids if unique(frame, [one, line])]
    if found or not order:
        return [Guess(names, f"each `{names[1]}` comes once within a `{names[0]}`") for names in found[:2]]
    # A `sku` or the like with a number of lines is not what the lines are counted within.
    found = [(one, line) for line in lines for one in ids
             if plain(one) not in ALONE and unique(frame, [one, line, *order])]  # fmt: skip
    why = f"`{{1}}` comes once within a `{{0}}` at each {listed(order)}"
    return [Guess(names, why.format(*names)) for names in found[:2]]


def _panel(
    frame: pl.DataFrame, whole: Sequence[str], found: Guesses, values: Mapping[str, int], kinds: Mapping[str, str]
) -> list[Guess]:
    """Return text that comes once at each time, if many rows have the same time: the prices of shares, day by day."""
    times = [name for name in found["time"].columns if not frame[name].null_count()]
    if not times or distinct(frame[times[0]]) > APART * frame.height:
        return []
    names = [name for name in whole if kinds[name] == "str" and unique(frame, [name, *times])]
    return [Guess((name,), f"`{name}` comes once at each `{times[0]}`") for name in names if values[name] > 1]


def _together(
    frame: pl.DataFrame, whole: Sequence[str], values: Mapping[str, int], widest: int = WIDEST
) -> list[Guess]:
    """Return the smallest combination of columns that is unique, and the next one as its rival."""
    found = []
    for width in range(2, widest + 1):
        for names in combinations(whole[:TRIED], width):
            if pl.Series([values[name] for name in names]).product() >= frame.height and unique(frame, names):
                found.append(Guess(names, f"no column is unique by itself; {listed(names)} are, together"))
                if len(found) == 2:
                    return found
        if found:
            break
    return found


def _nothing(
    frame: pl.DataFrame, whole: Sequence[str], values: Mapping[str, int], kinds: Mapping[str, str], where: str
) -> BadInput:
    """Return the error that nothing identifies a record, with the column that comes nearest."""
    rows = frame.height
    nearest_one = max(whole, key=lambda name: values[name], default=None)
    if nearest_one is None:
        what = "no column without nulls is there to tell the records apart"
    else:
        share = values[nearest_one] / rows
        what = f"no column or combination is unique; `{nearest_one}` comes nearest: {values[nearest_one]:,} values in "
        what += f"{rows:,} rows ({share:.1%})"
        if twice := int(frame.hash_rows().is_duplicated().sum()):
            what += f"; {twice:,} rows are the same as another one"
    example = nearest_one or next(iter(kinds), "COLUMN")
    way_out = f"say it: --key {example}, or several: --key a,b; rows with the same key are revisions of one record"
    return BadInput([Problem(where, what, way_out)])


def unique(frame: pl.DataFrame, names: Sequence[str]) -> bool:
    """Return whether no two rows have the same values in all of these columns."""
    # Most are not, which the first rows already show.
    first = frame.select(names).head(SAMPLE)
    if first.n_unique() < first.height:
        return False
    return not has_repeats(frame.select(names))


def apart(frame: pl.DataFrame, names: Sequence[str]) -> float:
    """Return how many different rows there are in these columns, as a share of all rows."""
    first = frame.select(names).head(SAMPLE)
    share = first.n_unique() / max(1, first.height)
    if share < APART or first.height == frame.height:
        return share
    return 1.0 if unique(frame, names) else distinct(frame.select(names).hash_rows()) / frame.height


def log_key(raw: Raw, frame: pl.DataFrame, kinds: Mapping[str, str]) -> Guess:
    """Return the key that the log's records name; else a column that is named like a key and never null."""
    if raw.keys and set(raw.keys) <= set(kinds):
        return Guess(raw.keys, "the log's records name it as their key")
    likely = [name for name in _candidates(raw, kinds, ()) if not frame[name].null_count()]
    if not likely:
        raise BadInput([Problem("--key", "no column of this log is never null", "say the key: --key a,b")])
    rows = frame.filter(~pl.col(DELETED)).height
    steady = [name for name in likely if name in raw.steady]
    if any(rank(name) == 0 for name in likely) and not any(rank(name) < 2 for name in steady):
        # An update may give a record another key.
        steady = []

    def fits(name: str) -> tuple[float, ...]:
        # Without a named key: an id is repeated by several changes, and still has many values.
        counts = bool(steady) or rank(name) == 2
        return -rank(name), frame[name].n_unique() if counts else 0, -list(kinds).index(name)

    ranked = sorted(steady or likely, key=fits, reverse=True)
    best, others = ranked[0], tuple(ranked[1:2])
    if steady:
        return Guess((best,), f"`{best}` is never null, no update altered it, and {_because(best)}", rival=others)
    if rank(best) == 2 and frame[best].n_unique() < 0.1 * rows:
        what = f"no column of this log sounds like a key; `{best}` has the most values"
        raise BadInput([Problem("--key", what, f"say it: --key {best}")])
    return Guess((best,), f"`{best}` is never null, and {_because(best)}", rival=others)


def _because(name: str) -> str:
    return "it sounds like a key" if rank(name) < 2 else "it tells most apart"
