"""Further tables as they are found, of the kinds of `cases/`: what must come of each, and how times are read."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from known_cases import DAY
from owndata import new, readable, refused, trace

from lab.domain.trace.frame import entity_names

# Reports have tests of their own.
pytestmark = pytest.mark.usefixtures("quick", "here")

# Further files of the same kinds: the text, options, the rows (by name of column) or what is said when it is refused.
FURTHER: tuple[tuple[str, tuple[str, ...], list[dict[str, Any]] | str], ...] = (
    ('"a","b"\n"1",5,"x"\n"2",6,"y"\n', ("--key", "a"),
     [{"column_1": 1, "a": 5, "b": "x"}, {"column_1": 2, "a": 6, "b": "y"}]),
    ("Kontoauszug;;\n\nNr;Tag;Betrag\n1;13.02.2024;-1.234,50\n2;14.02.2024;3,00\n", (),
     [{"Nr": 1, "Tag": "13.02.2024", "Betrag": -1234.5}, {"Nr": 2, "Tag": "14.02.2024", "Betrag": 3.0}]),
    ('id,n\r\n1,2\n3,"a\r\nb"\r\n', (), [{"id": 1, "n": "2"}, {"id": 3, "n": "a\r\nb"}]),
    ("id,d\n1,NULL\n2,2024-01-01\n", ("--deleted", "d"), [{"id": 1, "d": None}, {"id": 2, "d": "2024-01-01"}]),
    ("id,name\n1,NULL\n2,Null\n", (), [{"id": 1, "name": "NULL"}, {"id": 2, "name": "Null"}]),
    ("id,name\n1,NULL\n2,Null\n", ("--null", "NULL"), [{"id": 1, "name": None}, {"id": 2, "name": "Null"}]),
    ('id,name,n\n1,NA,5\n2,"NA",NA\n', (), [{"id": 1, "name": None, "n": 5}, {"id": 2, "name": "NA", "n": None}]),
    ("id,n\n1,9223372036854775807\n2,9223372036854775808\n", (),
     [{"id": 1, "n": "9223372036854775807"}, {"id": 2, "n": "9223372036854775808"}]),
    ("id,x\n1,0.10000000000000001\n2,2.5\n", (), [{"id": 1, "x": 0.1}, {"id": 2, "x": 2.5}]),
    ("id,x\n1,12345678901234567.25\n2,2.5\n", (),
     [{"id": 1, "x": Decimal("12345678901234567.25")}, {"id": 2, "x": Decimal("2.5")}]),
    ("id,x\n1,1234567890123456789.25\n2,2.5\n", (), [{"id": 1, "x": "1234567890123456789.25"}, {"id": 2, "x": "2.5"}]),
    ("id,v\n1,1.10\n2,1.9\n3,1.1\n", (), [{"id": 1, "v": "1.10"}, {"id": 2, "v": "1.9"}, {"id": 3, "v": "1.1"}]),
    ("id;kg;eur\n1;1.234;2,50\n2;7.500;1,25\n", (),
     [{"id": 1, "kg": 1234, "eur": 2.5}, {"id": 2, "kg": 7500, "eur": 1.25}]),
    ("id;n\n1;1,234\n2;7,500\n", ("--decimal", ","), [{"id": 1, "n": 1.234}, {"id": 2, "n": 7.5}]),
    ("id;n\n1;1,234\n2;7,500\n", ("--decimal", "."), [{"id": 1, "n": 1234}, {"id": 2, "n": 7500}]),
    ("id;p\n1;1'234.50\n2;7.5\n", (), [{"id": 1, "p": 1234.5}, {"id": 2, "p": 7.5}]),
    ("id;b\n1;1.234,05-\n2;0,50\n", (), [{"id": 1, "b": -1234.05}, {"id": 2, "b": 0.5}]),
    ("id,b\n1,12-\n2,5\n", (), [{"id": 1, "b": -12}, {"id": 2, "b": 5}]),
    ("id,b\n1,12-\n2,-5\n", (), [{"id": 1, "b": "12-"}, {"id": 2, "b": "-5"}]),
    ("id,b\n1,12-\n2,5-7\n", (), [{"id": 1, "b": "12-"}, {"id": 2, "b": "5-7"}]),
    ("id,name\n1,a,\n2,b,\n", (), [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]),
    ("id\tname\n1\ta\n\n2\tb\n\n", (), [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]),
    ("id,yes\n1,TRUE\n2,False\n", (), [{"id": 1, "yes": True}, {"id": 2, "yes": False}]),
    ("id,n\n1,2\nid,n\n3,4\n", (), "line 3: it is the header again"),
    ('id,t\n1,"a\n2,b\n3,c\n', (), "line 2: a quotation mark is opened here and not closed"),
    ('id,t\n1,"a"b\n2,c\n', (), "line 2: Value with unterminated quote found"),
    ("id,n\n" + "".join(f"{n},{n}\n" for n in range(1, 20)) + "20,many\n", (), "line 21: `n` is int"),
    ("id,n\n1,2\n", ("--encoding", "latin-11"), "no encoding of text is called so"),
)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "options", "must"), FURTHER, ids=[f"{text[:24]!r} {''.join(o)}" for text, o, _ in FURTHER]
)
def test_further_files_of_the_same_kinds(text: str, options: tuple[str, ...], must: list[dict[str, Any]] | str) -> None:
    Path("t.csv").write_bytes(text.encode())
    if isinstance(must, str):
        assert must in refused("t.csv", *options)
        return
    new("t.csv", *options)
    made, entities = trace()
    names = entity_names(must[0])
    found = readable(made.frames["t"], entities["t"])
    rows = [{name: row[name] for name in names.values()} for row in found]
    assert rows == [{names[name]: value for name, value in row.items()} for row in must]


@pytest.mark.parametrize(
    ("values", "dates", "gap"),
    [
        (["1/2/2024", "2/2/2024"], None, 31 * DAY),
        (["1/2/2024", "2/2/2024"], "dmy", DAY),
        (["13.01.24 09:00", "14.01.24 09:00:30"], None, DAY + 30),
        (["31-JAN-24 09.05.00.5 PM", "01-FEB-24 09.05.00.5 AM"], None, DAY / 2),
        (["Wed Oct 10 20:19:24 +0000 2018", "Thu Oct 11 20:19:24 +0100 2018"], None, DAY - 3600),
        (["Wed, 31 Jan 2024 10:00:00 GMT", "Thu, 01 Feb 2024 10:00:00 GMT"], None, DAY),
        (["Jan 31, 2024", "February 1, 2024"], None, DAY),
        (["20240131", "20240201"], None, DAY),
        (["20240131235959", "20240201000000"], None, 1),
        (["2024-10-27T02:30[Europe/Berlin]", "2024-10-27T03:30[Europe/Berlin]"], None, 7200),
        (["1704067200000", "1704067200250"], None, 0.25),
        (["45321.5", "45322.0"], "seconds", 0.5),
    ],
)
def test_times_are_read_as_they_are_written(values: list[str], dates: str | None, gap: float) -> None:
    rows = "".join(f'{place},x,"{value}"\n' for place, value in enumerate(values))
    Path("t.csv").write_text("id,v,updated_at\n" + rows)
    told = new("t.csv", *(("--dates", dates) if dates else ()))
    assert told["guessed"]["time"]["columns"] == ["updated_at"]
    scale = float(re.findall(r"time_scale = ([0-9.e+-]+)", Path("mine.toml").read_text())[0])
    made, _ = trace()
    at = made.frames["t"].sort("id")["committed_at"]
    assert (at[1] - at[0]) * scale == pytest.approx(gap, abs=1e-3)
    ambiguous = any("--dates" in note for note in told["notes"])
    assert ambiguous == (dates is None and values[0] == "1/2/2024")


def test_the_table_source_counts_what_is_read_as_something_else() -> None:
    Path("t.csv").write_text("id;n;when\n1;1.234,5;2024-01-01\n2;NA;0000-00-00\n2;3,5;2024-01-03\n")
    new("t.csv", "--key", "id", "--time", "when")
    made, _ = trace()
    counts = {(row["column"], row["what"]): row["count"] for row in made.source}
    assert (counts[None, "rows"], counts[None, "records"], counts[None, "malformed rows"]) == (3, 2, 0)
    assert counts["n", "words that stand for a missing value (NA)"] == 1
    assert counts["n", "numbers in another notation"] == 2
    assert counts["when", "zero dates, which are no time"] == 1
