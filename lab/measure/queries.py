"""Judge the answers that were given to queries, and make the tables of their times: `queries` and `query_samples`.

Answers are kept when they are timed (`lab.measure.asking`) and compared with the oracle's afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from lab.base import NotAnswered
from lab.measure.asked import Asked, Wrong
from lab.measure.temperatures import COLD, HOT
from lab.queries.answers import Row
from lab.queries.kinds import KINDS
from lab.queries.model import Query
from lab.statistics.intervals import intervals
from lab.statistics.quantiles import SHARES, told, unbiased
from lab.tables import TABLES


def check(asked: list[Asked], right: Callable[[Query, Row], list[Row]]) -> None:
    """Compare every answer with the oracle's, outside the timed region; the oracle's is computed once."""
    known: dict[tuple[str, Row], list[Row] | None] = {}

    def must(query: Query, parameters: Row) -> list[Row] | None:
        """The right answer; None where a statement can't be worked out over the data."""
        question = (query.name, parameters)
        if question not in known:
            try:
                known[question] = right(query, parameters)
            except NotAnswered:
                known[question] = None
        return known[question]

    for one in asked:
        for number, (parameters, found) in enumerate([*one.answers, *one.others]):
            expected, always = must(one.query, parameters), number in one.always
            if expected is None and KINDS[one.query.kind].own:
                one.refused[parameters] = "the reference comes to no answer, so the right one is not known"
                # It may have taken as long as it may take: once is enough.
                break
            if expected is None:
                why = "there is no right answer over this data"
                one.wrong.append(Wrong(one.query, parameters, [], found, why, always))
            elif not KINDS[one.query.kind].agrees(one.query, expected, found):
                one.wrong.append(Wrong(one.query, parameters, expected, found, always=always))
        if not KINDS[one.query.kind].own:
            refused = ((asked, why) for asked, why in one.refused.items() if must(one.query, asked) is not None)
            one.wrong += [Wrong(one.query, asked_for, [], [], why) for asked_for, why in refused]
        whole = replace(one.query, limit=None)
        first = {one.answers[number][0] for number in one.always}
        for parameters, found in _every_match(one):
            expected = must(one.query, parameters)
            assert expected is not None
            if not KINDS[one.query.kind].agrees(whole, expected, found):
                one.wrong.append(Wrong(one.query, parameters, expected, found, always=parameters in first))


def _every_match(one: Asked) -> list[tuple[Row, list[Row]]]:
    """A ranked top k can be right while a match below it is missing: all matches are asked for, outside the timing."""
    if not KINDS[one.query.kind].ranked or one.query.limit is None or one.store.name == "null":
        return []
    whole = replace(one.query, limit=None)
    asked = dict.fromkeys(parameters for parameters, _ in [*one.answers, *one.others])
    return [(parameters, one.store.query(whole, parameters)) for parameters in asked]


def table(asked: list[Asked]) -> pl.DataFrame:
    """Return the table `queries`. The figures of a query with a wrong answer are null.

    Its first figures are those of blocks, if anything was asked in blocks.
    """
    rows = []
    first = HOT if any(one.blocks for one in asked) else COLD
    for one in asked:
        ok = _right(one)
        cold, hot = ([] if one.refused else times for times in (one.nanoseconds, one.hot))
        figures = {name: _figures(times, right=ok is not False) for name, times in ((HOT, hot), (COLD, cold))}
        rows.append(
            {
                "projection": one.projection,
                "store": one.store.name,
                "query": one.query.name,
                "kind": one.query.kind,
                "rows": float(np.mean([len(found) for _, found in one.answers])) if one.answers else 0.0,
                **figures[first],
                "answer_ok": ok,
                "weight": one.query.weight,
                "temperature": first,
                **{f"{COLD}_{name}": value for name, value in figures[COLD].items()},
            }
        )
    return TABLES["queries"].frame(rows)


def ends(times: np.ndarray) -> dict[str, float | str | None]:
    """Return the 95 % intervals of p50 and p99 of times in the order in which they were measured, under `ENDS`."""
    p50, p99 = intervals(times, (0.5, 0.99))
    found = (p50.low, p50.high, p99.low, p99.high, p50.reason or None, p99.reason or None)
    return dict(zip(ENDS, found, strict=True))


def samples(asked: list[Asked]) -> pl.DataFrame:
    """Return the table `query_samples`: every time behind `queries`."""
    parts = [TABLES["query_samples"].frame()]
    for one in asked:
        if one.refused or _right(one) is False:
            continue
        for temperature, block, call, nanoseconds in _parts(one):
            parts.append(
                pl.DataFrame({"block": block, "call": call, "nanoseconds": nanoseconds}).select(
                    pl.lit(one.projection).alias("projection"),
                    pl.lit(one.query.name).alias("query"),
                    pl.lit(temperature).alias("temperature"),
                    pl.all().cast(pl.Int64),
                )
            )
    return pl.concat(parts)


def _parts(one: Asked) -> Iterator[tuple[str, Any, Any, list[int]]]:
    """Yield the samples of each temperature: their blocks, their places within them, and their times."""
    if one.nanoseconds:
        turns, places = zip(*one.places, strict=True)
        yield COLD, list(turns), list(places), one.nanoseconds
    for block in one.blocks:
        size = len(block.nanoseconds)
        yield HOT, [block.number] * size, range(block.warm_up, block.warm_up + size), block.nanoseconds


def _right(one: Asked) -> bool | None:
    """Whether its answers are right; None if nothing says so: the null store has none."""
    return None if one.store.name == "null" or (one.refused and not one.wrong) else not one.wrong


def _figures(nanoseconds: list[int], right: bool) -> dict[str, float | int | str | None]:
    """Return the number of samples, and their quantiles with the ends of the 95 % intervals in microseconds."""
    times = np.array(nanoseconds) / 1_000.0
    figures = timed_quantiles(times) if right and times.size else dict.fromkeys((*QUANTILES, UNBIASED, *ENDS))
    return {"samples": times.size} | figures


def timed_quantiles(times: np.ndarray) -> dict[str, float | str | None]:
    """Return the quantiles of times in microseconds, with the ends of their intervals."""
    found = {name: told(times, share) for name, share in zip(QUANTILES, SHARES.values(), strict=True)}
    return found | {UNBIASED: unbiased(times, SHARES["p99"])} | ends(times)


ENDS = ("p50_low_us", "p50_high_us", "p99_low_us", "p99_high_us", "p50_interval_reason", "p99_interval_reason")
QUANTILES = tuple(f"{name}_us" for name in SHARES)
UNBIASED = "p99_unbiased_us"
