"""Generated records and generated questions about them, in the words of a scenario."""

from __future__ import annotations

from typing import Any

import polars as pl
from hypothesis import strategies as st

from lab.queries.kinds import KINDS
from lab.testing.sample import ITEM, SHELF, item, items

WORDS = [
    "", "a", "A", "b", "é", "İ", "ß", "ẞ", "Σς σ", "a-b c_d", "x.y", "٣ ½ ²", "a\u0301", "ﬁ Ǆ", "don't 'q' \"z\"",
    "%_\\", "?", "ŉ ΐ",
]  # fmt: skip
small = st.integers(-3, 3)
texts = st.one_of(
    st.none(),
    st.sampled_from(WORDS),
    # Beyond, engines know letters of different versions of Unicode: see `lab.queries.text`.
    st.text(max_size=6, alphabet=st.characters(max_codepoint=0x1BFF, exclude_characters="\0")),
)
floats = st.one_of(st.none(), st.sampled_from([-0.0, 0.0, 0.5, -1.5, 0.1, 1e-300, 1e300]), small.map(float))
values = st.fixed_dictionaries(
    {
        "label": texts,
        "shelf": st.one_of(texts, st.sampled_from(["a", "b", "é"])),
        "amount": st.one_of(st.none(), small, st.sampled_from([2**53 + 1, -(2**63), 2**63 - 1])),
        "weight": floats,
        "fragile": st.one_of(st.none(), st.booleans()),
    }
)
SHELVES = pl.DataFrame(
    [(1, "a", 1, False, 0.0, "first", 1.0), (2, "b", 2, True, 0.0, "gone", None), (3, "é", 1, False, 0.0, None, 0.5)],
    schema=SHELF.schema,
    orient="row",
)
COLUMNS = {"item": [*ITEM.columns, "key"], "shelf": [*SHELF.columns, "key"]}
NUMBERS = {"item": ["parent", "weight"], "shelf": ["metres"]}


@st.composite
def histories(draw: st.DrawFn) -> pl.DataFrame:
    """Revisions of a few records, or of none: parents in circles, missing or deleted, ties and nulls."""
    rows = []
    for key in draw(st.lists(st.integers(-2, 9), unique=True, max_size=8)):
        last = draw(st.integers(1, 3))
        for revision in range(1, last + 1):
            deleted = revision == last and draw(st.integers(0, 3)) == 0
            parent = draw(st.one_of(st.none(), st.integers(-2, 9)))
            rows.append(item(key, revision, deleted, parent=parent, **draw(values)))
    return items(*draw(st.permutations(rows))) if rows else ITEM.empty()


operands = st.one_of(
    st.just("?"), small, st.sampled_from(["a", "", "é"]), st.booleans(), st.sampled_from([0.0, -0.0, 0.5]),
    st.integers(), st.floats(),
)  # fmt: skip


@st.composite
def questions(draw: st.DrawFn) -> dict[str, Any]:
    """A [[query]] of any class but `sql`, with keys that it may not use and values that may not fit."""
    entity = draw(st.sampled_from(["item", "item", "item", "shelf"]))
    columns, numbers = COLUMNS[entity], NUMBERS[entity]
    compared = st.dictionaries(st.sampled_from(["equals", "at_least", "less_than"]), operands, max_size=2)
    optional: dict[str, st.SearchStrategy[Any]] = {
        "where": st.dictionaries(st.sampled_from(columns), st.one_of(operands, compared), max_size=2),
        "order_by": st.sampled_from(columns),
        "descending": st.booleans(),
        "limit": st.integers(1, 4),
        "sum": st.lists(st.sampled_from(numbers), max_size=2),
        "count": st.integers(1, 5),
        "take": st.lists(st.sampled_from(["title", "metres", "label", "weight"]), max_size=2),
        "walk": st.sampled_from(["below", "near", "path"]),
        "depth": st.integers(1, 5),
        "words": st.integers(1, 3),
    }
    table = {
        "name": "q",
        "kind": draw(st.sampled_from([name for name in KINDS if name != "sql"])),
        "entity": entity,
        "group_by": draw(st.lists(st.sampled_from(columns[:-1]), min_size=1, max_size=2)),
        "on": draw(st.sampled_from(columns[:-1])),
        "to": draw(st.sampled_from(["item", "shelf"])),
    }
    return table | {key: draw(one) for key, one in optional.items() if draw(st.booleans())}
