"""Your own data: malformed rows and mistakes are told with their place and a way out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from owndata import debezium, new, notes, refused, runs, shop
from running import call

from lab.base import BadInput
from lab.scenario import Source
from lab.wiring import plan

# Reports have tests of their own.
pytestmark = pytest.mark.usefixtures("quick", "here")


# --- malformed rows, and other mistakes ------------------------------------------------------------------------------


def bad_csv(here: Path) -> None:
    rows = [f"{n},{n * 2},name {n}" for n in range(1, 41)]
    rows[3], rows[9], rows[20], rows[30] = "4,8", "10,20,x,y", "21,many,x", ",60,x"
    rows[1] = '2,4,"two\nlines"'
    (here / "bad.csv").write_text("id,amount,name\n" + "\n".join(rows) + "\n")


def test_malformed_rows_of_a_csv_are_told_with_their_lines_and_refused(here: Path) -> None:
    bad_csv(here)
    said = refused("bad.csv")
    assert "3 rows are malformed" in said or "4 rows are malformed" in said
    assert "line 6" in said
    assert "line 12" in said
    assert "line 23: `amount` is int" in said
    told = new("bad.csv", "--skip-bad-rows", "--key", "id")
    assert (told["rows"], told["bad_rows"]) == (36, 4)
    assert "skip_bad_rows = true" in Path("mine.toml").read_text()
    runs()
    assert any("4 malformed rows were skipped" in note and "line 33" in note for note in notes())
    Path("mine.toml").write_text(Path("mine.toml").read_text().replace("skip_bad_rows = true", "skip_bad_rows = false"))
    found = call("run", "mine.toml")
    assert found.exit_code == 2
    assert "4 rows are malformed" in found.stderr


def test_malformed_lines_of_a_log_are_told_and_refused(here: Path) -> None:
    good = debezium([("c", n, None, {"id": n, "v": n}) for n in range(20)], 1)
    good[2] = '{"payload": {"op": "c", "after"'
    good[4] = json.dumps({"payload": {"op": "x", "after": {"id": 1}, "ts_ms": 1}})
    good[6] = json.dumps({"payload": {"op": "c", "after": None, "ts_ms": 1}})
    good[8] = "[1]"
    good[10] = json.dumps({"payload": {"op": "c", "after": {"id": None, "v": 1}, "ts_ms": 1}})
    (here / "log.ndjson").write_text("\n".join(good))
    said = refused("log.ndjson", "--key", "id")
    assert "4 rows are malformed" in said
    for words in ("line 3: broken JSON", "line 5: unknown op `x`", "line 7: op `c` without", "line 9: no JSON object"):
        assert words in said
    told = new("log.ndjson", "--skip-bad-rows", "--key", "id")
    assert (told["rows"], told["bad_rows"]) == (15, 5)
    runs()
    assert any("line 11: the key's `id` is null" in note for note in notes())


def test_every_other_mistake_has_one_clear_error(here: Path) -> None:
    (here / "orders.csv").write_text("id,city\n1,a\n2,b\n")
    (here / "same.csv").write_text("town,kind\na,x\na,x\nb,x\n")
    (here / "empty.csv").write_text("")
    (here / "head.csv").write_text("id,city\n")
    (here / "notes.doc").write_text("hello")
    (here / "no.parquet").write_text("hello")
    (here / "no.db").write_text("hello" * 100)
    (here / "twice.csv").write_text("a,a\n1,2\n")
    (here / "folder").mkdir()
    shop()
    for file, options, words in (
        ("order.csv", (), "did you mean `orders.csv`?"),
        ("folder", (), "a folder, not a file"),
        ("empty.csv", (), "an empty file"),
        ("head.csv", (), "no rows"),
        ("notes.doc", (), "`.doc` is none of the endings"),
        ("no.parquet", (), "not Parquet"),
        ("no.db", (), "not an SQLite database"),
        ("twice.csv", (), "two columns are called `a`"),
        ("shop.db:order", (), "did you mean `big orders`?"),
        ("same.csv", (), "`town` comes nearest: 2 values in 3 rows (66.7%)"),
        ("orders.csv", ("--key", "idd"), "did you mean `id`?"),
        ("orders.csv", ("--time", "citi"), "did you mean `city`?"),
        ("orders.csv", ("--time", "city"), "no time that can be read"),
        ("orders.csv", ("--text", "citi"), "did you mean `city`?"),
        ("orders.csv", ("--entity", "9"), "not a name"),
        ("orders.csv", ("--set", "a=1"), "no scenario yet"),
        ("orders.csv", ("--domain", "flights"), "your own data is the domain `trace`"),
    ):
        assert words in refused(file, *options), file
    assert "--key town" in refused("same.csv")
    assert new("same.csv", "--key", "town")["records"] == 2
    before = Path("mine.toml").read_text()
    found = call("new", "mine", "--from", "orders.csv")
    assert (found.exit_code, "is there already" in found.stderr) == (2, True)
    assert Path("mine.toml").read_text() == before
    assert "add --from FILE" in call("new", "other", "--key", "id").stderr
    assert "add --from FILE" in call("new", "other", "--domain", "trace").stderr


def test_mistakes_in_a_scenario_of_ones_own_data_are_told_at_once(here: Path) -> None:
    (here / "orders.csv").write_text("id,city\n1,a\n2,b\n")
    new("orders.csv")
    text = Path("mine.toml").read_text()
    for old, fresh, words in (
        ('file = "orders.csv"', 'file = "gone.csv"', "domain.entity.orders.file: gone.csv: no such file"),
        ('key = ["id"]', 'key = ["idd"]', "domain.entity.orders.key: no column is called `idd`"),
        ('name = "trace"', 'name = "employees"', "`employees` has entities of its own"),
    ):
        Path("wrong.toml").write_text(text.replace(old, fresh))
        found = call("validate", "wrong.toml")
        assert found.exit_code == 2
        assert words in found.stderr
    Path("none.toml").write_text(text[: text.index("[[domain.entity]]")] + text[text.index("[truth]") :])
    with pytest.raises(BadInput, match="made of files, and there is none"):
        plan(Source(Path("none.toml")))


def test_a_scenario_without_columns_and_queries_finds_its_own(here: Path) -> None:
    (here / "orders.csv").write_text(
        "id,ts,city,total\n" + "".join(f"{n % 15},{n},c{n % 3},{n}.5\n" for n in range(30))
    )
    Path("mine.toml").write_text(
        'schema = 1\nname = "mine"\nseed = 1\n[domain]\nname = "trace"\n[[domain.entity]]\nname = "order"\n'
        'file = "orders.csv"\nkey = ["id"]\ntime = "ts"\n[truth]\nmodel = "history"\n'
        '[[projection]]\nname = "p"\nstore = "duckdb.columnar"\n'
        'subscribe = "catch-up"\nkeeps = "revisions"\n'
    )
    kinds = {query.kind for query in plan(Source(Path("mine.toml"))).queries}
    assert kinds == {"get", "get_many", "filter", "aggregate", "as_of", "history"}
    runs()
