"""Words are the same whichever way a text is split: by Python for a few records, by Polars for many."""

from __future__ import annotations

import polars as pl
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.queries.text import plain, plain_ascii


@settings(max_examples=examples(50))
@given(texts=st.lists(st.none() | st.text(st.characters(max_codepoint=127)), min_size=1, max_size=3))
def test_a_text_in_ascii_has_the_words_that_polars_finds(texts: list[str | None]) -> None:
    names = tuple(f"c{number}" for number in range(len(texts)))
    frame = pl.DataFrame([texts], schema=dict.fromkeys(names, pl.String()), orient="row")
    assert plain_ascii(texts) == frame.select(plain(names)).item()


def test_any_other_text_is_left_to_polars() -> None:
    assert plain_ascii(["Straße", "A"]) is None
