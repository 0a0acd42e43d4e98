"""The text of a scenario on a file of the user's, with a reason beside every line."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from lab.domain.trace.addresses import is_address
from lab.domain.trace.frame import entity_names
from lab.formatting import toml, toml_key
from lab.queries.kinds import KINDS
from lab.scenario import EntityTable, FileFormat
from lab.starter.guess import Guesses
from lab.starter.looking import Looked
from lab.starter.proposed import proposed_projections, proposed_queries

SCALE_MAX = 1e9  # The largest that a scenario takes.
SECONDS = 60  # How long the run is to last in simulated time, about.
# Equal for all, so that lags compare the stores and not the settings. LINGER is in seconds.
BATCH, LINGER = 10_000, 0.1

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
    "on": "the column that holds the other's key",
    "to": "the entity of that key",
    "take": "columns of the other record",
    "walk": "below | near | path",
    "words": "words asked for at once, drawn from one record",
    "weight": "how often it is asked, beside the others",
}
# The comments for the lines of a [[projection]].
PROJECTION = {
    "name": "as the report calls it",
    "store": "`lab stores` lists them",
    "keeps": "records | revisions | totals",
    "entities": "the entities that it is fed",
    "queries": "what it is asked",
    "guard": "none | dedupe | revision | ordered",
    "batch": "changes taken at once, at the most",
    "linger": "seconds that a batch may wait to fill: lag bought for throughput",
}


# The keys that say how the file is read, with their comments; those that are not set are left out.
READ = {
    "header": "true: the first line has the names of the columns",
    "encoding": "of the file, as Python calls it",
    "null": "words that stand for a missing value",
    "decimal": "the decimal point",
    "dates": "dmy | mdy | ymd | excel | seconds",
}


def scenario_text(name: str, seed: int, found: Sequence[Looked]) -> str:
    """Return the scenario on these tables as TOML."""
    timed = [one for one in found if one.timed] or found
    last, first = max(one.last for one in timed), min(one.first for one in timed)
    scale = _round((last - first) / SECONDS)
    asked = proposed_queries(found)
    lasts = (last - first) / scale
    unit = "real seconds" if timed[0].timed else "rows"
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
        *(line for one in found for line in _entity(one)),
        *_surroundings(),
        *_projections(asked, sum(one.rows for one in found), len(found) > 1),
        *_queries(asked),
    ]
    return "\n".join(lines) + "\n"


def _entity(one: Looked) -> list[str]:
    names = entity_names(one.kinds)
    columns = [(f"{toml_key(column)} = {toml(kind)}", _column(column, names)) for column, kind in one.kinds.items()]
    lines = [
        "[[domain.entity]]             # one such table for each file, or table of a database",
        *_commented(_entity_lines(one.table, one.guesses)),
        "",
        "[domain.entity.columns]       # take a line away, and the column is left out",
        *_commented(columns),
        "",
    ]
    for link in one.table.link:
        values = [(f"on = {toml(link.on)}", "columns that hold"), (f"to = {toml(link.to)}", "the key of this entity")]
        values += [(f"name = {toml(link.name)}", "a column that is made of them")] if link.name else []
        lines += ["[[domain.entity.link]]        # a foreign key", *_commented(values), ""]
    return lines


def _round(number: float) -> float:
    """Round to two digits, never to 0 and not beyond what a scenario takes."""
    if number <= 0.0:
        return 1.0
    digits = 1 - math.floor(math.log10(number))
    return min(SCALE_MAX, round(number, digits))


def _column(column: str, names: Mapping[str, str]) -> str:
    called = names[column]
    return "int | float | str | bool | decimal(s)" if called == column else f"called `{called}` in queries"


def _commented(lines: Sequence[tuple[str, str]]) -> list[str]:
    return [f"{text:<29} # {_plain(comment)}" for text, comment in lines]


def _plain(comment: str) -> str:
    """Return the text as one line without characters that TOML forbids in a comment."""
    return "".join(letter if letter.isprintable() else " " for letter in comment)


def _entity_lines(table: EntityTable, guesses: Guesses) -> list[tuple[str, str]]:
    lines = [
        (f"name = {toml(table.name)}", "what a record is called"),
        (f"file = {toml(table.file)}", "at that server" if is_address(table.file) else "from this scenario's folder"),
        (f"format = {toml(table.format)}", " | ".join(get_args(FileFormat))),
        (f"key = {toml(table.key)}", guesses["key"].why),
    ]
    for role in ("time", "deleted", "revision"):
        value = getattr(table, role)
        if role == "time" and table.time_of:
            continue
        text = f'# {role} = "COLUMN"' if value is None else f"{role} = {toml(value)}"
        lines.append((text, guesses[role].why))
    if table.time_of:
        lines.append((f"time_of = {toml(table.time_of)}", "its rows are as old as the records there that they link to"))
    lines.append((f"texts = {toml(table.texts)}", "columns whose words are searched"))
    lines.append((f"indexes = {toml(table.indexes)}", "columns that get an index where a store has indexes"))
    lines += [
        (f"{key} = {toml(getattr(table, key))}", why)
        for key, why in READ.items()
        if getattr(table, key) not in (None, ())
    ]
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


def _projections(asked: Sequence[Mapping[str, Any]], changes: int, several: bool) -> list[str]:
    proposed, remarks = proposed_projections(asked, changes, several)
    lines = []
    for item in proposed:
        queries = [query for query in asked if query["kind"] in item.kinds]
        values: dict[str, Any] = {"name": item.name, "store": item.store, "keeps": item.keeps}
        if item.apart:
            values["entities"] = list(dict.fromkeys(query["entity"] for query in queries))
        values |= {
            "queries": [query["name"] for query in queries], "guard": "revision", "batch": BATCH, "linger": LINGER,
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
