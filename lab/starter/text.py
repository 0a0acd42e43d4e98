"""The text of a scenario on a file of the user's, with a reason beside every line."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lab.base import Entity, Kind, MissingDriver
from lab.domain.trace.frame import Prepared, entity_names
from lab.domain.trace.questions import questions
from lab.domain.trace.raw import AT
from lab.formatting import toml, toml_key
from lab.queries.kinds import KINDS, PAST
from lab.scenario import EntityTable
from lab.starter.guess import Guesses
from lab.stores import STORES, store_class

SECONDS = 60  # How long the run is to last in simulated time, about.
# Equal for all, so that lags compare the stores and not the settings. LINGER is in seconds.
BATCH, LINGER = 10_000, 0.1
MANY = 2_000_000  # Of more changes than this, only the two stores that every scenario begins with are fed.

QUERY = {
    "name": "as the report calls it",
    "kind": "the class of query",
    "entity": "the record",
    "where": "? is drawn from the data",
    "order_by": "then by key",
    "descending": "the largest first",
    "limit": "rows of an answer, at the most",
    "count": "keys asked for at once",
    "group_by": "a group for each value",
    "sum": "summed in each group",
    "words": "words asked for at once, drawn from one record",
    "weight": "how often it is asked, beside the others",
}
# The comments for the lines of a [[projection]].
PROJECTION = {
    "name": "as the report calls it",
    "store": "`lab stores` lists them",
    "keeps": "records | revisions | totals",
    "queries": "what it is asked",
    "guard": "none | dedupe | revision | ordered",
    "batch": "changes taken at once, at the most",
    "linger": "seconds that a batch may wait to fill: lag bought for throughput",
}


@dataclass(frozen=True)
class _Proposed:
    """A proposed projection: name, store, what it keeps, and what it is for."""

    name: str
    store: str
    keeps: str
    kinds: tuple[str, ...]
    why: str


PRESENT = ("get", "get_many", "filter", "aggregate")


def scenario_text(
    name: str, seed: int, table: EntityTable, guesses: Guesses, made: Prepared, business: Entity,
    kinds: Mapping[str, Kind],
) -> str:  # fmt: skip
    """Return the scenario as TOML."""
    last, first = made.frame[AT].max(), made.frame[AT].min()
    assert isinstance(last, float)
    assert isinstance(first, float)
    scale = _round((last - first) / SECONDS)
    names = entity_names(kinds)
    asked = questions(business, made.frame, [names[column] for column in table.key], names.get(table.time or ""))
    lasts = (last - first) / scale
    unit = "real seconds" if made.timed else "rows"
    lines = [
        f"# {name}: your own data. Change what you like, then `lab run {name}.toml`.",
        "# Every key is explained in scenarios/README.md.",
        *_commented(
            [
                ("schema = 1", "the version of this format"),
                (f"name = {toml(name)}", "names the run's folder"),
                (f"seed = {seed}", "a run with the same seed is the same run"),
            ]
        ),
        "",
        "[domain]",
        *_commented(
            [
                ('name = "trace"', "a history from files"),
                (f"time_scale = {scale!r}", f"{unit} in a second of the run: it lasts about {lasts:.0f} s"),
            ]
        ),
        "",
        "[[domain.entity]]             # one such table for each file",
        *_commented(_entity_lines(table, guesses)),
        "",
        "[domain.entity.columns]       # take a line away, and the column is left out",
        *_commented([(f"{toml_key(column)} = {toml(kind)}", _column(column, names)) for column, kind in kinds.items()]),
        "",
        *_surroundings(),
        *_projections(asked, made.frame.height),
        *_queries(asked),
    ]
    return "\n".join(lines) + "\n"


def _round(number: float) -> float:
    """Round to two digits, and never to 0."""
    if number <= 0.0:
        return 1.0
    digits = 1 - math.floor(math.log10(number))
    return round(number, digits)


def _column(column: str, names: Mapping[str, str]) -> str:
    called = names[column]
    return "int | float | str | bool" if called == column else f"called `{called}` in queries"


def _commented(lines: Sequence[tuple[str, str]]) -> list[str]:
    return [f"{text:<29} # {_plain(comment)}" for text, comment in lines]


def _plain(comment: str) -> str:
    """Return the text as one line without characters that TOML forbids in a comment."""
    return "".join(letter if letter.isprintable() else " " for letter in comment)


def _entity_lines(table: EntityTable, guesses: Guesses) -> list[tuple[str, str]]:
    lines = [
        (f"name = {toml(table.name)}", "what a record is called"),
        (f"file = {toml(table.file)}", "from the folder of this scenario"),
        (f"format = {toml(table.format)}", "parquet | csv | ndjson | sqlite | debezium"),
        (f"key = {toml(table.key)}", guesses["key"].why),
    ]
    for role in ("time", "deleted", "revision"):
        value = getattr(table, role)
        text = f'# {role} = "COLUMN"' if value is None else f"{role} = {toml(value)}"
        lines.append((text, guesses[role].why))
    lines.append((f"texts = {toml(table.texts)}", "columns whose words are searched"))
    lines.append((f"indexes = {toml(table.indexes)}", "columns that get an index where a store has indexes"))
    lines.append((f"skip_bad_rows = {toml(table.skip_bad_rows)}", "true: malformed rows are left out, and counted"))
    return lines


def _surroundings() -> list[str]:
    return [
        "[truth]",
        *_commented(
            [
                ('model = "history"', "snapshot | history | events"),
                ('durability = "normal"', "full: a commit survives a power cut, and costs a sync"),
            ]
        ),
        "",
        "[catch_up]",
        *_commented([("every = 1.0", "seconds between polls of the source of truth")]),
        "",
        "[channel]                     # leave this table out: no messages, catch-up alone",
        *_commented(
            [
                ('delay = { kind = "lognormal", mean = 0.020, sigma = 1.0 }', "seconds"),
                ("duplicate = 0.05", "share of messages that arrive twice"),
                ("lose = 0.001", "share of copies that never arrive"),
            ]
        ),
    ]


def _proposed(asked: Sequence[Mapping[str, Any]], changes: int) -> tuple[list[_Proposed], list[str]]:
    """Return the projections that suit these queries, and remarks on those that are left out."""
    kinds = {item["kind"] for item in asked}
    past = kinds & set(PAST)
    found = [
        _Proposed("table", "sqlite.table", "records", PRESENT, "relational: the last state of each record"),
        _Proposed(
            "columns", "duckdb.columnar", "revisions" if past else "records",
            (*PRESENT, "search", *PAST),
            "columnar: every revision" if past else "columnar: the last state of each record",
        ),
    ]  # fmt: skip
    if changes > MANY:
        return found, [f"More than {MANY:,} changes: other stores are left to you, for each takes its time."]
    by_key = _Proposed("keys", "lmdb.keyvalue", "records", ("get", "get_many"), "key and value: by key")
    remarks = []
    try:
        store_class(by_key.store)
        found.append(by_key)
    except MissingDriver:
        install = STORES[by_key.store].install
        remarks.append(f"`{by_key.store}` would suit questions by key; it is not installed: {install}")
    if "search" in kinds:
        words = ("get", "search")
        found.append(_Proposed("words", "sqlite.search", "records", words, "an index of words"))
    if past:
        found.append(_Proposed("log", "sqlite.log", "revisions", PAST, "every revision, appended"))
    return found, remarks


def _projections(asked: Sequence[Mapping[str, Any]], changes: int) -> list[str]:
    proposed, remarks = _proposed(asked, changes)
    lines = []
    for item in proposed:
        values = {
            "name": item.name, "store": item.store, "keeps": item.keeps,
            "queries": [query["name"] for query in asked if query["kind"] in item.kinds], "guard": "revision",
            "batch": BATCH, "linger": LINGER,
        }  # fmt: skip
        texts = {key: f"{value:_}" if key == "batch" else toml(value) for key, value in values.items()}
        lines += ["", f"[[projection]]                # {item.why}"]
        lines += _commented([(f"{key} = {text}", PROJECTION[key]) for key, text in texts.items()])
    return [*lines, *(line for remark in remarks for line in ("", f"# {remark}"))]


def _queries(asked: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = []
    for item in asked:
        lines += ["", f"[[query]]                     # {_about(item)}"]
        lines += _commented([(f"{key} = {toml(value)}", QUERY[key]) for key, value in item.items()])
    return lines


def _about(item: Mapping[str, Any]) -> str:
    ranged = any(isinstance(value, dict) for value in item.get("where", {}).values())
    return "records from a time on, drawn from the data" if ranged else KINDS[item["kind"]].asks
