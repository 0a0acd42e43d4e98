"""Five situations in which the right advice is known: the answers, and the text that says why."""

from __future__ import annotations

from modelled import MB, MS, US, printed, solved, source, store

from lab.report.advice.text import headline

LETTERS = "SQL finds letters with LIKE, not words"


def test_point_reads_alone_need_no_projection_and_what_is_quicker_is_said() -> None:
    found = solved(
        source(get=12 * US),
        store("table", "sqlite.table", get=9 * US),
        store("keys", "lmdb.keyvalue", get=3.5 * US, disk=3 * MB),
        store("columns", "duckdb.columnar", get=400 * US, disk=2 * MB),
    )
    assert found.recommended is found.answer
    assert found.answer is not None
    assert found.answer.names == ()
    assert found.quickest is not None
    assert found.quickest.names == ("keys",)
    text = printed(found)
    assert "No projection is worth its price: the source of truth answers in 12.0 µs (weighted)." in text
    assert "The quickest would be keys (lmdb.keyvalue): 3.4 times as fast (at least 3.1 times)" in text
    assert "for 1 projection and 1 engine more" in text
    assert "columns (duckdb.columnar): best at nothing: another answers `get` 114 times as fast." in text
    # With a level it is enough, and that is said.
    enough = solved(source(get=12 * US), store("keys", "lmdb.keyvalue", get=3.5 * US), query_p99=0.001)
    assert headline(enough).startswith("The source of truth is enough: no projection is needed.")


def test_sums_alone_are_for_columns() -> None:
    found = solved(
        source(sums=2.0),
        store("table", "sqlite.table", sums=60 * MS),
        store("columns", "duckdb.columnar", sums=1.5 * MS, disk=2 * MB),
        store("keys", "lmdb.keyvalue", cannot={"sums": "a map is asked by key"}),
        kinds={"sums": "aggregate"},
    )
    assert found.recommended is found.bargain is not None
    assert found.recommended.names == ("columns",)
    text = printed(found)
    assert "One projection does it: columns (duckdb.columnar). It is the best bargain" in text
    # A source of truth that takes two seconds isn't enough without a word.
    assert "the source of truth, the fewest that answer everything, and 1,333 times as fast" in text
    assert "keys (lmdb.keyvalue): answers none of the queries. It can't answer `sums` (a map is asked by key)" in text


def test_words_are_for_a_search_index() -> None:
    can_not = {"named": LETTERS}
    found = solved(
        store("table", "sqlite.table", cannot=can_not, get=10 * US),
        store("words", "sqlite.search", get=12 * US, named=100 * US),
        store("columns", "duckdb.columnar", get=400 * US, named=30 * MS),
        kinds={"named": "search", "get": "get"},
        weights={"named": 5.0},
    )
    assert found.answer is found.recommended is not None
    assert found.answer.names == ("words",)
    text = printed(found)
    assert "One projection does it: words (sqlite.search)." in text
    assert f"It can't answer `named` ({LETTERS}); add a search index (sqlite.search or tantivy.search)" in text
    assert "columns (duckdb.columnar): best at nothing: in each of the 2 queries that it answers, another is" in text


def test_gets_and_sums_at_unlike_weights_keep_both_and_name_what_each_is_for() -> None:
    figures = {"get": 10 * US, "sums": 60 * MS}, {"get": 500 * US, "sums": 1.5 * MS}
    stores = store("table", "sqlite.table", **figures[0]), store("columns", "duckdb.columnar", **figures[1])
    mixed = solved(*stores, weights={"get": 300.0})
    assert mixed.recommended is not None
    assert mixed.recommended.names == ("table", "columns")
    assert {query: who.name for query, who in mixed.recommended.assigned.items()} == {"get": "table", "sums": "columns"}
    text = printed(mixed)
    assert "2 projections do it: table (sqlite.table) and columns (duckdb.columnar). It is the best bargain" in text
    assert "In table + columns, table is there for `get` alone." in text
    # Where next to nothing but sums is asked, one is enough; where next to nothing but gets, it is the other one.
    sums = solved(*stores, weights={"sums": 300.0})
    gets = solved(*stores, weights={"get": 1_000_000.0})
    assert sums.recommended is not None
    assert gets.recommended is not None
    assert sums.recommended.names == ("columns",)
    assert gets.recommended.names == ("table",)


def test_a_table_that_answers_all_but_one_query_is_not_beaten_by_a_store_that_is_best_at_nothing_else() -> None:
    """Columns answer all nine and the table eight, 18 to 117 times as fast."""
    factors = [18.0, 25.0, 30.0, 40.0, 60.0, 80.0, 100.0, 117.0]
    table = {f"q{place}": 20 * US for place in range(8)}
    columns = {f"q{place}": 20 * US * factor for place, factor in enumerate(factors)} | {"named": 1 * MS}
    found = solved(
        store("table", "sqlite.table", cannot={"named": LETTERS}, **table),
        store("columns", "duckdb.columnar", disk=5 * MB, **columns),
        kinds={"named": "search"},
    )
    assert found.recommended is not None
    assert found.answer is not None
    assert found.answer.names == ("columns",)
    assert found.recommended.names == ("table", "columns")
    (decider,) = found.deciders
    assert (decider.query, decider.without.names, decider.only) == ("named", ("table",), ())
    text = printed(found)
    assert "2 projections do it: table (sqlite.table) and columns (duckdb.columnar). It is the best bargain" in text
    assert "`named` alone decides the fewest: without it table (sqlite.table) would do, 59 times as fast" in text
    assert "columns (duckdb.columnar): its only merit is `named`, which no other can answer" in text
    assert "in each of the other 8 queries that it answers, another is 18 to 117 times as fast" in text
    assert "add a search index (sqlite.search or tantivy.search), or ask what it can answer" in text
