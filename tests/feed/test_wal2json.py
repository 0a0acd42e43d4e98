"""PostgreSQL's log by the plugin wal2json: servers without it, what it sends, a change from one plugin to another."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from streamed import FED, Reader, hire, made_truth, own_server, plugin_needed

from lab.base import Unsound
from lab.engines.wal2json_decoder import Wal2JsonDecoder
from lab.servers.instances import Instance
from lab.servers.postgres_instance import KIND, PLUGINS, _plugins
from lab.truth import Truth, slots
from lab.truth.outlets import WAL2JSON

VALUES = st.none() | st.booleans() | st.text() | st.integers() | st.floats(-1e9, 1e9)


@pytest.fixture(scope="module")
def own() -> Iterator[Instance]:
    """One server for all tests of this file."""
    with own_server("postgres") as one:
        yield one


@pytest.fixture
def truth(own: Instance, tmp_path: Path) -> Iterator[Truth]:
    """An empty source of truth."""
    found = made_truth("postgres", "history", tmp_path)
    yield found
    found.drop()


def test_a_server_without_the_plugin_is_told_with_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "WAL2JSON", "no_such_plugin")
    trusted = {PLUGINS: "pgoutput,no_such_plugin"} if _plugins(KIND.binary()) else {}
    with own_server("postgres", trusted):
        found = slots.no_plugin(exact=False)
    assert found is not None
    assert found[0] == "the server doesn't have the plugin wal2json"
    assert found[1].startswith("apt-get install postgresql-")
    assert 'decoder = "pgoutput"' in found[1]


def test_a_server_that_does_not_trust_the_plugin_is_told_with_the_setting(
    own: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots, "WAL2JSON", "no_such_plugin")
    found = slots.no_plugin(exact=False)
    assert found is not None
    if _plugins(KIND.binary()):
        assert found[0] == "the server doesn't trust the plugin wal2json"
        assert found[1].startswith("ALTER SYSTEM SET output_plugin_libraries = pgoutput,")
    else:
        assert found[0] == "the server doesn't have the plugin wal2json"


def test_floats_that_may_not_be_finite_need_a_plugin_that_tells_them_from_null(own: Instance) -> None:
    plugin_needed()
    found = slots.no_plugin(exact=True)
    assert found is None or found[0].startswith("wal2json before 2.6 writes floats that aren't finite as null")


def test_another_plugin_has_a_slot_of_its_own_and_goes_on(truth: Truth, tmp_path: Path) -> None:
    plugin_needed()
    for name, key in (("pgoutput", 1), (WAL2JSON, 2), ("pgoutput", 3)):
        reader = Reader(FED[name], truth, tmp_path)
        reader.open()
        truth.execute(hire(key))
        assert [change.row[1] for change in reader.until_passed()] == [key]
        reader.stream.close()


@given(
    st.lists(st.dictionaries(st.text(), st.none() | st.booleans() | st.text() | st.integers() | st.floats(-1e9, 1e9)))
)
def test_values_are_passed_on_as_the_server_writes_them(rows: list[dict[str, object]]) -> None:
    decoder = Wal2JsonDecoder("s", ["t"], exact=False)
    assert decoder.message(b'{"action":"B","lsn":"0/1","nextlsn":"0/2"}') is None
    for row in rows:
        columns = [{"name": name, "value": value} for name, value in row.items()]
        assert decoder.message(json.dumps({"action": "I", "table": "t", "columns": columns}).encode()) is None
    found = decoder.message(b'{"action":"C","lsn":"0/1","nextlsn":"1/A0"}')
    assert found is not None
    assert found.end == (1 << 32) + 160

    def text(value: object) -> str | None:
        if isinstance(value, bool):
            return "t" if value else "f"
        return value if value is None or isinstance(value, str) else json.dumps(value)

    assert [row.values for row in found.rows] == [{name: text(one) for name, one in row.items()} for row in rows]


@pytest.mark.parametrize(
    "said",
    [
        b"no json",
        b'{"action":"I","table":"t"}',
        b'{"action":"I","table":"t","columns":[{"name":"x","value":[1]}]}',
        b'{"action":"C"}',
        b"[]",
    ],
)
def test_what_cannot_be_read_is_an_error_and_no_change(said: bytes) -> None:
    with pytest.raises(Unsound, match="what wal2json sends can't be read"):
        Wal2JsonDecoder("s", ["t"], exact=True).message(said)


def test_names_of_tables_with_marks_of_the_list_are_escaped() -> None:
    options = Wal2JsonDecoder("a b", ["c.d", "e,f", "g*", "h'i"], exact=True).options
    assert options["add-tables"] == r"a\ b.c\.d,a\ b.e\,f,a\ b.g\*,a\ b.h\''i"
    assert options["numeric-data-types-as-string"] == "true"
