"""Rows of topics in their less common layouts, delimiters and titles, keys and times that need a second look."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from owndata import new, refused, states

pytestmark = pytest.mark.usefixtures("here")


def lines(*values: Any) -> str:
    return "".join((one if isinstance(one, str) else json.dumps(one)) + "\n" for one in values)


def test_a_message_whose_key_is_text_is_a_row_and_one_without_a_value_deletes_it() -> None:
    told = [("a", {"order": 1, "q": 1}), ("b", {"order": 2, "q": 5}), ("a", {"order": 1, "q": 2}), ("b", None)]
    layouts = {
        "kcat.ndjson": lines(*(
            {"topic": "orders", "partition": 0, "offset": n, "ts": 1_700_000_000_000 + n, "key": key,
             "payload": None if value is None else json.dumps(value)} for n, (key, value) in enumerate(told)
        )),
        "console.txt": lines(*(f"{key}\t{json.dumps(value)}" for key, value in told)),
        "pairs.ndjson": lines(*({"key": key, "value": value} for key, value in told)),
    }  # fmt: skip
    for name, text in layouts.items():
        Path(name).write_text(text)
        assert new(name, name=name.partition(".")[0])["guessed"]["key"]["columns"] == ["message_key"]
        (found,) = states(name.partition(".")[0]).values()
        assert found == {
            "a": (2, False, {"order": 1, "q": 2, "message_key": "a"}),
            "b": (2, True, {"order": 2, "q": 5, "message_key": "b"}),
        }  # fmt: skip


def test_a_key_that_is_a_row_of_other_columns_stands_beside_the_value() -> None:
    Path("x.txt").write_text("".join(f'{{"id":{n % 2}}}\t{{"q":{n}}}\n' for n in range(4)))
    assert new("x.txt")["guessed"]["key"]["columns"] == ["id"]
    assert states() == {"x": {0: (2, False, {"q": 2, "id": 0}), 1: (2, False, {"q": 3, "id": 1})}}


def test_rows_in_the_json_of_avro_lose_their_unions_and_it_is_said() -> None:
    rows = ({"id": n % 2, "name": {"string": f"n{n}"} if n else None, "at": {"long": n}} for n in range(4))
    Path("x.ndjson").write_text(lines(*rows))
    told = new("x.ndjson", "--time", "none")
    assert "Column `name` has values that were in Avro's unions." in told["notes"]
    assert states()["x"][1] == (2, False, {"id": 1, "name": "n3", "at": 3})


def test_a_log_may_begin_with_any_number_of_lines_without_a_change() -> None:
    mark = {"type": "table-alter", "database": "t", "table": "e", "ts": 1, "sql": "ALTER TABLE e"}
    change = {"database": "t", "table": "e", "type": "insert", "ts": 2, "data": {"id": 1}}
    Path("x.ndjson").write_text(lines(*[mark] * 300, change))
    assert new("x.ndjson")["format"] == "maxwell"


def test_a_deletion_that_has_the_whole_row_doesnt_make_all_of_it_the_key() -> None:
    def row(name: str, number: int) -> list[dict[str, Any]]:
        return [{"name": "id", "type": "integer", "value": number}, {"name": "v", "type": "text", "value": name}]

    def line(action: str, **parts: Any) -> dict[str, Any]:
        return {"action": action, "schema": "s", "table": "t", **parts}

    Path("x.ndjson").write_text(lines(
        line("I", columns=row("a", 1)), line("I", columns=row("a", 2)), line("D", identity=row("a", 2)),
        line("U", columns=row("b", 1), identity=row("a", 1)),
    ))  # fmt: skip
    assert new("x.ndjson")["guessed"]["key"]["columns"] == ["id"]
    assert states()["t" if "t" in states() else "x"] == {
        1: (2, False, {"id": 1, "v": "b"}), 2: (2, True, {"id": 2, "v": "a"})
    }  # fmt: skip


@pytest.mark.parametrize("mark", ["^", "~", "\x01", " "])
def test_one_column_that_another_character_divides_is_refused(mark: str) -> None:
    rows = [mark.join(row) for row in (("id", "name", "n"), ("1", "a", "5"), ("2", "b", "6"))]
    Path("x.csv").write_text("\n".join(rows) + "\n")
    assert "one column, and" in refused("x.csv")
    assert new("x.csv", "--header", "yes")["records"] == 2
    if mark == "^":
        Path("x.csv").write_text("sep=^\n" + "\n".join(rows) + "\n")
        assert new("x.csv", name="said")["guessed"]["key"]["columns"] == ["id"]


def test_lines_of_several_columns_above_the_header_of_a_bank_are_passed_over() -> None:
    above = "Kontonummer;DE123\nSaldo;1.000,00 EUR\n\nNr;Buchungstag;Betrag;Text\n"
    Path("b.csv").write_text(above + "1;01.02.2024;-5,00;REWE\n2;02.02.2024;100,00;Gehalt\n")
    told = new("b.csv")
    assert (told["records"], told["guessed"]["key"]["columns"]) == (2, ["Nr"])
    assert any("2 lines above the header are passed over" in note for note in told["notes"])


@pytest.mark.parametrize(
    ("text", "key"),
    [
        # Lines of orders that have revisions, and customers who are known by their addresses.
        ("order_id,line_no,qty,updated_at\n1,1,5,2024-01-01\n1,2,6,2024-01-01\n1,1,7,2024-01-02\n",
         ["order_id", "line_no"]),
        ("email,name,updated_at\na@x,A,2024-01-01\nb@x,B,2024-01-01\na@x,C,2024-01-02\nb@x,D,2024-01-03\n", ["email"]),
    ],
)  # fmt: skip
def test_keys_of_lines_and_addresses(text: str, key: list[str]) -> None:
    Path("x.csv").write_text(text)
    assert new("x.csv")["guessed"]["key"]["columns"] == key


def test_times_that_cannot_be_read_are_named_and_numbers_of_1970_are_said() -> None:
    Path("x.csv").write_text("id,at,v\n1,2024-01-01 10:00:00 CET,a\n2,2024-01-02 10:00:00 CET,b\n")
    assert "(`at` has '2024-01-01 10:00:00 CET' and others)" in new("x.csv")["guessed"]["time"]["why"]
    Path("y.csv").write_text("id,updated_at\n1,2460310.5\n1,2460311.5\n2,2460312.5\n")
    assert "Column `updated_at`: read as seconds, which begin in 1970." in new("y.csv", name="y")["notes"]
    Path("z.csv").write_text("id,at\n1,10/Oct/2000:13:55:36 -0700\n2,11/Oct/2000:13:55:36 -0700\n")
    assert new("z.csv", name="z")["guessed"]["time"]["columns"] == ["at"]
