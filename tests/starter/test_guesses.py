"""The guesses over a corpus of tables: how many that are made are right, and how many right ones are made."""

from __future__ import annotations

import random
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from known_cases import CASES
from owndata import new, refused

# Reports have tests of their own.
pytestmark = pytest.mark.usefixtures("quick", "here")

DOCUMENT = Path(__file__).parents[2] / "docs" / "own-data.md"
# Of the columns that are guessed, so many are right at least; of the right ones, so many are guessed.
PRECISION, RECALL = 0.97, 0.97


@dataclass(frozen=True)
class Known:
    """A table whose roles are known: a file of the cases, or a function that makes its rows."""

    name: str
    key: str
    time: str = ""
    deleted: str = ""
    revision: str = ""
    group: str = ""
    make: Callable[[], tuple[str, list[str]]] | None = None
    options: tuple[str, ...] = ()

    def right(self) -> set[tuple[str, str]]:
        """Pairs of a role and a column."""
        roles = {"key": self.key, "time": self.time, "deleted": self.deleted, "revision": self.revision,
                 "group": self.group}  # fmt: skip
        return {(role, name) for role, names in roles.items() for name in names.split(",") if name}


def _at(second: int) -> str:
    return f"2024-03-{1 + second // 86_400:02} {second // 3600 % 24:02}:{second // 60 % 60:02}:{second % 60:02}"


def orders() -> tuple[str, list[str]]:
    """Changes of orders; some orders change twice within a second."""
    draw, rows, second = random.Random(1), [], 0
    steps = {order: ["new", "paid", "shipped"][: 1 + order % 3] for order in range(1, 101)}
    while any(steps.values()):
        order = draw.choice([one for one, left in steps.items() if left])
        rows.append(f"{order},{draw.randint(1, 20)},{steps[order].pop(0)},{draw.randint(1, 9_999) / 100},{_at(second)}")
        second += draw.choice([0, 40, 90])
        if len(rows) == 50 and steps[order]:
            rows.append(f"{order},3,{steps[order].pop(0)},7.5,{_at(second)}")
    return "order_id,customer_id,status,total,updated_at", rows


def orders_with_ties() -> tuple[str, list[str]]:
    rows = [f"{n % 60},{['new', 'paid', 'sent'][n // 60]},{n * 7 % 50}.25,{_at(n // 60 * 90 + n)}" for n in range(180)]
    rows += ["7,lost,1.25," + _at(2 * 90 + 127)]
    return "order_id,status,amount,changed_at", rows


def items() -> tuple[str, list[str]]:
    return "order_no,line,sku,qty,placed", [
        f"{order},{line},S{(order * 7 + line) % 9},{line},{_at(order * 60)}"
        for order in range(40)
        for line in range(1, 4)
    ]


def versions() -> tuple[str, list[str]]:
    return "uuid,version,name,deleted_at", [
        f"u{record},{version},n{record % 3},{_at(record) if version == 3 and record % 4 == 0 else ''}"
        for version in (1, 2, 3)
        for record in range(20)
    ]


def audit() -> tuple[str, list[str]]:
    return "audit_id,account_id,action,balance,created_at", [
        f"{n},{n % 17},{'insert' if n < 17 else 'delete' if n % 5 == 0 else 'update'},{n}.5,{_at(n * 30)}"
        for n in range(120)
    ]


def customers() -> tuple[str, list[str]]:
    return "customer_id,email,zip_code,country_code,created_at", [
        f"{n},p{n}@example.org,0{n % 7}{n:03},{['DE', 'US'][n % 2]},{_at(n * 100)}" for n in range(50)
    ]


def payments() -> tuple[str, list[str]]:
    return "payment_id,order_id,amount,paid,paid_at", [
        f"P{n},{n % 30},{n * 1.1:.2f},{'true' if n % 3 else 'false'},{_at(n * 77)}" for n in range(90)
    ]


def sensors() -> tuple[str, list[str]]:
    return "sensor_id,timestamp,temperature", [
        f"s{n % 5},{1_700_000_000 + n // 5 * 60},{20 + n % 7}.5" for n in range(200)
    ]


def camels() -> tuple[str, list[str]]:
    return "orderId,lastModified,isDeleted,state", [
        f"{n % 25},{_at(n * 61)},{str(n > 90).lower()},{['a', 'b'][n % 2]}" for n in range(100)
    ]


def cities() -> tuple[str, list[str]]:
    return "town,people,note", [f"Town {n},{n % 40},some words on it {n % 3}" for n in range(80)]


def prices() -> tuple[str, list[str]]:
    return "Symbol,Date,Close,Volume", [
        f"{symbol},{1 + day % 28}.{1 + day // 28:02}.2024,{10 + day / 8:.3f},{day * 100}"
        for day in range(40)
        for symbol in ("AA", "BB")
    ]


def stops() -> tuple[str, list[str]]:
    """The stops of trips, as GTFS has them; by chance no two arrive at the same time."""
    return "trip_id,arrival_time,stop_id,stop_sequence", [
        f"T{n // 10},{5 + n % 22:02}:{n % 60:02}:00,S{n % 37},{n % 10 + 1}" for n in range(300)
    ]


def measured() -> tuple[str, list[str]]:
    """Two sensors are read in each second, and no value comes twice."""
    return "timestamp,sensor,value", [
        f"2024-01-01T00:{n // 120:02}:{n // 2 % 60:02}Z,s{n % 5},{n / 7:.6f}" for n in range(300)
    ]


def opportunities() -> tuple[str, list[str]]:
    return "Id,IsDeleted,Amount,CloseDate,CreatedDate,SystemModstamp", [
        f"006{n:012},{str(n % 13 == 0).lower()},{n}.5,2024-02-{1 + n % 28:02},2024-01-01T10:00:00.000Z,{_at(n * 61)}"
        for n in range(60)
    ]


def revised_items() -> tuple[str, list[str]]:
    """The lines of orders, each of which changes once."""
    return "order_id,line_no,qty,updated_at", [
        f"{order},{line},{line + turn},{_at(turn * 90_000 + order * 60)}"
        for turn in range(2)
        for order in range(1, 21)
        for line in range(1, 4)
    ]


def addresses() -> tuple[str, list[str]]:
    """Customers who are known by their addresses, and change their names."""
    return "email,name,updated_at", [f"c{n % 30}@x.org,Name {n},{_at(n * 61)}" for n in range(90)]


def synced() -> tuple[str, list[str]]:
    """A table as Fivetran writes it."""
    return "id,amount,_fivetran_deleted,_fivetran_synced", [
        f"{n % 25},{n % 9}.5,{str(n > 90).lower()},{_at(n * 61)}" for n in range(100)
    ]


CORPUS = (
    Known("b02_dms_header.csv", "id", "dms_timestamp", "Op"),
    Known("b02_dms_noheader.csv", "column_2", "column_5", "column_1", options=("--header", "no")),
    Known("b03_yyyymmdd.csv", "service_id", "date", group="exception_type"),
    Known("b04_pandas_index.csv", "order_id", "updated_at"),
    Known("b05_excel_de.csv", "Nr", "Datum"),
    Known("b08_mysql_N.csv", "id", "updated_at"),
    Known("b08_na.csv", "id", "updated_at"),
    Known("b09_newlines.csv", "id", "updated_at"),
    Known("b10_header_newline.csv", "id", "updated_at"),
    Known("b13_us_dates.csv", "id", "updated_at"),
    Known("b14_recreate.csv", "id", "updated_at", "deleted"),
    Known("b15_zones.csv", "id", "updated_at"),
    Known("b16_javazone.csv", "id", "updated_at"),
    Known("b17_phone.csv", "id", "updated_at"),
    Known("b19_zero_date.csv", "id", "updated_at", "deleted_at"),
    Known("b20_agency.txt", "stop_id"),
    Known("b22_excel_serial.csv", "id", "date"),
    Known("b24_sep.csv", "id"),
    Known("b26_trailing.csv", "id"),
    Known("b27_case.csv", "ID"),
    Known("b28_thousands.csv", "id", "updated_at"),
    Known("b29_shortdate.csv", "id", "updated_at"),
    Known("d01_decimal.parquet", "id", "updated_at"),
    Known("d02_uuid.parquet", "id", "updated_at"),
    Known("d06_rowgroups.parquet", "id", "updated_at"),
    Known("d08_naninf.parquet", "id", "updated_at"),
    Known("d09_dms.parquet", "id", "dms_ts", "Op"),
    Known("d10_types.parquet", "id", "tz"),
    Known("orders.csv", "order_id", "updated_at", group="status", make=orders),
    Known("ties.csv", "order_id", "changed_at", group="status", make=orders_with_ties),
    Known("items.csv", "order_no,line", "placed", group="sku", make=items),
    Known("versions.csv", "uuid", "", "deleted_at", "version", "name", make=versions),
    Known("audit.csv", "account_id", "created_at", "action", group="action", make=audit),
    Known("customers.csv", "customer_id", "created_at", group="country_code", make=customers),
    Known("payments.csv", "payment_id", "paid_at", group="paid", make=payments),
    Known("sensors.csv", "sensor_id", "timestamp", make=sensors),
    Known("camels.csv", "orderId", "lastModified", "isDeleted", group="state", make=camels),
    Known("cities.csv", "town", make=cities),
    Known("prices.csv", "Symbol", "Date", make=prices),
    Known("stops.csv", "trip_id,stop_sequence", make=stops),
    Known("measured.csv", "sensor", "timestamp", make=measured),
    Known("revised.csv", "order_id,line_no", "updated_at", make=revised_items),
    Known("addresses.csv", "email", "updated_at", make=addresses),
    Known("synced.csv", "id", "_fivetran_synced", "_fivetran_deleted", make=synced),
    Known("opportunities.csv", "Id", "SystemModstamp", "IsDeleted", make=opportunities),
)


def laid(known: Known) -> str:
    """Lay the table into this folder and return its name."""
    if known.make is None:
        shutil.copy(CASES / known.name, known.name)
    else:
        header, rows = known.make()
        Path(known.name).write_text("\n".join([header, *rows]) + "\n")
    return known.name


def test_precision_and_recall_of_the_guesses_over_the_corpus() -> None:
    guessed, right = set[tuple[str, str, str]](), set[tuple[str, str, str]]()
    for number, known in enumerate(CORPUS):
        told = new(laid(known), *known.options, name=f"n{number}")
        assert all(one["why"] for one in told["guessed"].values())
        guessed |= {(known.name, role, name) for role, one in told["guessed"].items() for name in one["columns"]}
        if known.group:
            groups = re.findall(r'group_by = \["(.*?)"\]', Path(f"n{number}.toml").read_text())
            guessed |= {(known.name, "group", name) for name in groups}
        right |= {(known.name, *pair) for pair in known.right()}
    wrong = sorted(guessed ^ right)
    assert len(guessed & right) / len(guessed) >= PRECISION, wrong
    assert len(guessed & right) / len(right) >= RECALL, wrong
    for role in ("key", "time", "deleted", "revision", "group"):
        made, true = ({one for one in found if one[1] == role} for found in (guessed, right))
        row = f"| {role} | {len(true)} | {len(made)} | {len(made & true)} |"
        assert row in DOCUMENT.read_text(), f"docs/own-data.md has no line {row}: {wrong}"
    assert f"Over {len(CORPUS)} tables" in DOCUMENT.read_text()


def test_an_id_that_comes_again_is_the_key_before_a_combination() -> None:
    told = new(laid(next(one for one in CORPUS if one.name == "ties.csv")))
    key = told["guessed"]["key"]
    assert key["columns"] == ["order_id"]
    assert "stay in the order of the file" in key["why"]


@pytest.mark.parametrize(
    ("lines", "key", "rival"),
    [
        # The lines of two orders, and the changes of two articles.
        (
            ["A1,1,S1,2024-03-01", "A1,2,S2,2024-03-01", "A2,1,S2,2024-03-02", "A2,2,S1,2024-03-02"],
            ["order_no", "line"],
            ["order_no", "sku"],
        ),
        (["A1,1,S1,2024-03-01", "A1,1,S2,2024-03-01", "A1,1,S1,2024-03-02", "A1,1,S2,2024-03-02"], ["sku"], []),
    ],
)
def test_a_sku_that_comes_again_is_the_key_unless_a_pair_of_keys_is(
    lines: list[str], key: list[str], rival: list[str]
) -> None:
    Path("s.csv").write_text("\n".join(["order_no,line,sku,placed", *lines, ""]))
    found = new("s.csv")["guessed"]["key"]
    assert (found["columns"], found["rival"]) == (key, rival)


def test_rows_that_never_change_are_asked_about_with_the_id_that_comes_again() -> None:
    told = new(laid(next(one for one in CORPUS if one.name == "payments.csv")))
    assert told["guessed"]["key"]["rival"] == ["order_id"]
    assert any("Is it?" in note and "--key order_id" in note for note in told["notes"])


def test_a_version_that_starts_again_after_a_deletion_is_no_order() -> None:
    rows = ["1,2,a,2024-01-01,false", "1,3,a,2024-01-02,true", "1,1,again,2024-01-03,false", "2,1,b,2024-01-04,false"]
    Path("v.csv").write_text("id,version,name,updated_at,deleted\n" + "\n".join(rows) + "\n")
    told = new("v.csv")
    assert told["guessed"]["revision"]["columns"] == []
    assert "`version` starts again after a deletion: `updated_at` decides" in told["guessed"]["revision"]["why"]


def test_categories_divide_the_data_before_free_text_and_times() -> None:
    lines = [
        f"{n},{['a long remark of several words on it', 'another remark that is as long'][n % 2]},"
        f"2024-01-0{1 + n % 2},{['red', 'green', 'blue'][n % 3]}"
        for n in range(30)
    ]
    Path("c.csv").write_text("id,remark,day,colour\n" + "\n".join(lines) + "\n")
    new("c.csv")
    assert 'group_by = ["colour"]' in Path("mine.toml").read_text()


@pytest.mark.parametrize(
    ("text", "header"),
    [
        ("I,1,alice\nI,2,bob\nD,2,eve\n", "`I` comes again" ),
        ("I,1,alice\nU,1,bob\nD,2,eve\n", "`1` is a number"),
        ("I,a,alice\nI,b,bob\nU,c,eve\n", "`I` comes again"),
        ("1,alice\n2,bob\n3,eve\n", "`1` is a number"),
        ("alice,2024-01-01\nbob,2024-01-02\n", "`2024-01-01` is a time"),
    ],
)  # fmt: skip
def test_a_first_line_that_looks_like_data_is_refused_until_it_is_said(text: str, header: str) -> None:
    Path("h.csv").write_text(text)
    assert header in refused("h.csv")
    assert "--header no" in refused("h.csv")
    rows = text.count("\n")
    assert new("h.csv", "--header", "no", "--key", "column_1", name="no")["rows"] == rows
    assert "header = false" in Path("no.toml").read_text()
    assert new("h.csv", "--header", "yes", "--key", text.split(",")[0], name="yes")["rows"] == rows - 1


@pytest.mark.parametrize("header", ["country,1960,1961,1962", "id,name", ",a,b"])
def test_a_header_of_years_or_without_names_is_a_header(header: str) -> None:
    width = header.count(",") + 1
    rows = "".join(",".join([f"c{row}", *(f"{row}.{n}" for n in range(width - 1))]) + "\n" for row in range(5))
    Path("y.csv").write_text(f"{header}\n{rows}")
    assert new("y.csv")["rows"] == 5
