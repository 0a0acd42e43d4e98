# ruff: noqa: E501
"""Hostile scenarios, generated from the schema itself: each key with values that it should not take, or only just.

`settings(seed, count)` are lists of `--set`, `files(seed, count)` whole texts. The same seed gives the same ones.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel

from lab.scenario import Scenario

# Every table is in it, and little work: what is valid is run.
BASE = """
schema = 1
name = "hostile"
seed = 1087

[domain]
name = "employees"
records = 10

[workload]
commands = 80
rate = 100.0
skew = 0.5
deletes = 0.05
invalid = 0.05

[truth]
model = "history"

[writers]
count = 4
hold = { kind = "exponential", mean = 0.02 }
sleep = { share = 0.01, lasts = { kind = "constant", mean = 0.5 } }
abort = 0.02

[catch_up]
every = 0.2
page = 50

[channel]
delay = { kind = "lognormal", mean = 0.02, sigma = 1.0 }
duplicate = 0.05
lose = 0.01
reorder = { share = 0.1, extra = { kind = "exponential", mean = 0.2 } }
outages = [{ at = 1.0, lasts = 0.3 }]

[readers]
sessions = 20
reads = 2
think = { kind = "exponential", mean = 0.05 }

[time]
service = "modelled"
model = { per_batch = 0.0005, per_row = 0.00001 }

[[projection]]
name = "directory"
store = "sqlite.table"
batch = 20
linger = 0.05
gaps = "hold"
gap_limit = 0.2
rebuild = { at = 1.0, mode = "blue-green" }
faults = { refuse = 0.05, poison = 0.05, heals_at = 1.5, crashes = [{ at = 0.5 }], slow = [{ at = 0.2, lasts = 0.5 }] }

[[projection]]
name = "payroll"
store = "memory"
keeps = "totals"
guard = "dedupe"
subscribe = "catch-up"
model = { per_batch = 0.001, per_row = 0.0 }

[[projection]]
name = "career"
store = "duckdb.columnar"
keeps = "revisions"
guard = "ordered"

[[query]]
name = "wide"
kind = "filter"
entity = "employee"
where = { department = "?", salary = { at_least = 1 } }
order_by = "salary"
limit = 5

[[query]]
name = "sums"
kind = "aggregate"
entity = "employee"
group_by = ["department"]
sum = ["salary"]

[[query]]
name = "joined"
kind = "join"
entity = "employee"
on = "manager"
to = "employee"
take = ["name"]

[[query]]
name = "walked"
kind = "traverse"
entity = "employee"
walk = "near"

[[query]]
name = "found"
kind = "search"
entity = "employee"
words = 2

[[query]]
name = "own"
kind = "sql"
entity = "employee"
sql = "SELECT department, count(*) AS many FROM employee WHERE salary > ? GROUP BY department"
parameters = ["salary"]

[[query]]
name = "then"
kind = "as_of"
entity = "employee"

[measure]
samples = 2
warm_up = 0
budget = 0.1

[levels]
lag_p99 = 2.0
rebuild = 60.0
query_p99 = 0.1
queries = { wide = 0.5 }
disk_bytes = 1_000_000
engines = 3

[weights]
wide = 2.0
"""

NUMBERS = (
    "0", "1", "-1", "2", "-0.0", "0.0", "5e-324", "1e-320", "1e-12", "1e-6", "0.001", "0.5", "1.0", "1.5", "3", "64", "1e3",
    "1e6", "1e9", "1e10", "1e18", "1e308", "-1e308", "nan", "-nan", "inf", "-inf", "1000", "1_000_000", str(2**31),
    str(2**32 + 1), str(2**53 + 1), str(2**63 - 1), str(2**63), str(-(2**63) - 1), str(2**64), "1" + "0" * 30, "9" * 400,
    "9" * 5_000, "0x" + "f" * 5_000, "0b1", "1__0", "1e", "0x", "00",
)  # fmt: skip
SQL = (
    "SELECT nope FROM employee", "SELECT now()", "SELECT now() FROM employee", "SELECT * FROM other.employee",
    "SELECT * FROM read_csv('/etc/passwd')", "SELECT * FROM '/etc/passwd'", "ATTACH 'x.db'", "COPY employee TO 'x'",
    "INSTALL httpfs", "PRAGMA database_list", "SELECT * FROM pragma_table_info('employee')", "DELETE FROM employee",
    "SELECT random() FROM employee", "SELECT key FROM employee LIMIT 3", "SELECT sum(name) FROM employee",
    "SELECT salary / 0 FROM employee", "SELECT 1 / (salary - salary) FROM employee", "SELECT key % 0 FROM employee",
    "SELECT 9223372036854775807 + salary FROM employee", "SELECT sum(9223372036854775807) FROM employee",
    "SELECT CAST(name AS INTEGER) FROM employee", "SELECT CAST(salary AS TINYINT) FROM employee",
    "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT count(*) FROM r",
    "WITH RECURSIVE r(n) AS (SELECT key FROM employee UNION ALL SELECT n FROM r) SELECT n FROM r",
    "SELECT count(*) FROM employee a, employee b, employee c, employee d, employee e, employee f",
    "SELECT a.key FROM employee a, employee b, employee c", "SELECT * FROM range(100000000000)",
    "SELECT * FROM generate_series(1, 10000000000) t, employee", "SELECT repeat('x', 1000000000) FROM employee",
    "SELECT list(key) FROM employee", "SELECT {'a': key} FROM employee", "SELECT * FROM employee", "SELECT 1",
    "SELECT (SELECT key FROM employee)", "SELECT key, key FROM employee", "SELECT ? FROM employee",
    "SELECT name FROM employee WHERE salary > ?", "SELECT name FROM employee WHERE name > ? AND salary = ?",
    "SELECT a FROM employee; SELECT b", ";", "--", "/*", "'", "SELECT", "\x00", "SELECT '\x00' FROM employee",
    "SELECT count(*) FROM employee WHERE salary > ?", "SELECT max(salary) OVER (ORDER BY salary) FROM employee",
    "SELECT * FROM sqlite_master", "SELECT * FROM duckdb_settings()", "SELECT * FROM information_schema.tables",
    "SELECT getenv('HOME')", "SELECT current_setting('threads')", "SELECT version()", "SELECT uuid() FROM employee",
    "SELECT date '2020-01-01' FROM employee", "SELECT interval 1 day FROM employee", "PIVOT employee ON department",
    "SELECT lab_live_employee FROM employee", "SELECT * FROM lab_live_employee", "SELECT $1 FROM employee",
    "SELECT * FROM employee USING SAMPLE 10", "SELECT DISTINCT ON (department) key FROM employee",
    "SELECT " + "(" * 300 + "1" + ")" * 300, "SELECT " + " + ".join(["1"] * 2_000), "SELECT " + "NOT " * 2_000 + "true",
)  # fmt: skip
TEXTS = (
    "", " ", "a", "truth", "Truth", "CON", "nul", "latest", "x" * 64, "x" * 65, "x" * 100_000, "\x00", "a\x00b", "a\nb", "\t",
    "\x1b[31mred", "\u202e", "\ud7ff", "..", "../x", "/etc/passwd", "/dev/zero", "C:\\x", "employee\u0435", "\u0435mployee",
    "EMPLOYEE", "employee ", "emp loyee", "?", "null", "None", "'; DROP TABLE employee", "%s%n", "{}", "${HOME}", "~", "*",
    "all", "true", "1", "nan", "salary", "name", "department", "key", "position", "employee", "sqlite", "duckdb", "own", "wide",
)  # fmt: skip
ODD = ("[]", "{}", "[[]]", "[1]", "[true]", '[""]', '["a", "a"]', "{ a = 1 }", "1979-05-27T07:32:00Z", "07:32:00", "true", "false",
       "[" * 40 + "]" * 40, "[" * 5_000 + "]" * 5_000, "{a=" * 40 + "1" + "}" * 40, '"""a\nb"""', "'a'\nseed = 7", "1 # two", "",
       "[" + "1," * 20_000 + "]")  # fmt: skip


@dataclass(frozen=True)
class Key:
    """A key that `--set` reaches, what the schema says of it, and values that it may just take."""

    path: str
    annotation: Any

    @property
    def legal(self) -> list[str]:
        """Values at the ends of its range, or all words that it takes."""
        return list(dict.fromkeys(_legal(self.annotation)))


def keys() -> list[Key]:
    """Every key of every table."""
    return list(_keys(Scenario, ""))


def _keys(model: type[BaseModel], prefix: str) -> Iterator[Key]:
    for name, field in model.model_fields.items():
        path = f"{prefix}{field.alias or name}"
        annotation = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
        inner = _model(annotation)
        yield Key(path, annotation)
        if inner is None:
            continue
        if path == "projection":
            for one in ("directory", "payroll", "career"):
                yield from _keys(inner, f"projection.{one}.")
        elif path == "query":
            for one in ("wide", "sums", "joined", "walked", "found", "own", "then"):
                yield from _keys(inner, f"query.{one}.")
        elif not path.endswith(("outages", "crashes", "slow", "entity")):
            yield from _keys(inner, f"{path}.")


def _model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for inner in get_args(annotation) if (found := _model(inner))), None)


def _legal(annotation: Any) -> Iterator[str]:
    origin = get_origin(annotation)
    if origin is Annotated:
        base, *rules = get_args(annotation)
        yield from _legal(base)
        whole = base is int or int in get_args(base)
        for rule in _flat(rules):
            if isinstance(rule, Ge | Le | Gt | Lt):
                bound = next(iter(vars(rule).values())) if hasattr(rule, "__dict__") else _bound(rule)
                yield str(int(bound)) if whole else repr(float(bound))
    elif origin is Literal:
        yield from (json.dumps(one) for one in get_args(annotation))
    elif origin in (Union, UnionType, tuple):
        for inner in get_args(annotation):
            yield from _legal(inner)
    elif annotation is bool:
        yield from ("true", "false")
    elif annotation in (int, float):
        yield from ("1", "2", "7") if annotation is int else ("0.1", "1", "3.5")


def _bound(rule: Any) -> Any:
    return next(getattr(rule, name) for name in ("ge", "le", "gt", "lt") if hasattr(rule, name))


def _flat(rules: list[Any]) -> Iterator[Any]:
    for rule in rules:
        yield from (*getattr(rule, "metadata", ()), rule)


def settings(seed: int, count: int) -> list[tuple[str, ...]]:
    """Lists of `--set`: one key, or now and then two."""
    random, every = Random(seed), keys()
    found = []
    while len(found) < count:
        many = 1 if random.random() < 0.7 else 2
        items = []
        for key in random.sample(every, many):
            items.append(f"{key.path}={_value(key, random)}")
        if random.random() < 0.02:
            items.append(random.choice(NASTY_ITEMS))
        found.append(tuple(items))
    return found


NASTY_ITEMS = (
    "", "=", "=1", "seed", "seed=", " seed = 5", "seed.=1", ".seed=1", "a..b=1", "seed.x=1", "projection=1", "projection.=1",
    "projection.nobody.batch=1", "projection.directory=1", "projection.directory.nope=1", "query.own=1", '"seed"=5',
    'levels.queries."wi.de"=1', "channel.outages.0.at=1", "channel.outages=[{}]", "a." * 50_000 + "b=1", "x" * 200_000 + "=1",
    "seed=1\nname='x'", "seed=1]\n[x", "name='a'\n[domain]\nname='b'", "\x00=1", "seed\n=1", "[seed]=1", "seed=5 # five",
)  # fmt: skip


def _value(key: Key, random: Random) -> str:
    legal = key.legal
    draw = random.random()
    if key.path.endswith(".sql") and draw < 0.8:
        return _text(random.choice(SQL))
    if legal and draw < 0.45:
        return random.choice(legal)
    if draw < 0.75:
        return random.choice(NUMBERS)
    if draw < 0.9:
        return _text(random.choice(TEXTS))
    return random.choice(ODD)


def _text(word: str) -> str:
    return json.dumps(word)


def files(seed: int, count: int) -> list[tuple[str, bytes]]:
    """Whole files: odd ones, each kind of bomb in one size and then in others, and mutations of the one that is valid.

    A quarter or more are mutations.
    """
    random = Random(seed)
    bombs = [
        (f"{name} {size:,}", text.encode("utf-8", "surrogatepass"))
        for size in (1_000, 300_000, 30_000, 20)
        for name, make in BOMBS.items()
        if len(text := make(size)) < 12_000_000
    ]
    odd = list(ODD_FILES.items())
    found = [*odd, *bombs][: count - count // 4]
    while len(found) < count:
        found.append((f"mutation {len(found)}", _mutated(BASE, random)))
    return found


def _with(old: str, new: str) -> str:
    assert old in BASE
    return BASE.replace(old, new, 1)


def _projections(size: int) -> str:
    return BASE + "".join(f'[[projection]]\nname = "p{number}"\nstore = "memory"\n' for number in range(size))


BOMBS: dict[str, Callable[[int], str]] = {
    "arrays within arrays": lambda size: _with("seed = 1087", f"seed = {'[' * size}{']' * size}"),
    "tables within tables": lambda size: _with("seed = 1087", f"seed = {'{a=' * size}1{'}' * size}"),
    "a key of many parts": lambda size: f"{'a.' * size}b = 1\n" + BASE,
    "a header of many parts": lambda size: f"{BASE}[{'a.' * size}b]\nx = 1\n",
    "a quoted key of many parts": lambda size: "'a'." * size + "b = 1\n" + BASE,
    "a key of many parts, with spaces": lambda size: f"{'a . ' * size}b = 1\n" + BASE,
    "many projections": _projections,
    "many of one name": lambda size: BASE + '[[projection]]\nname = "same"\nstore = "memory"\n' * size,
    "many queries": lambda size: (
        BASE + "".join(f'[[query]]\nname = "q{number}"\nkind = "get"\nentity = "employee"\n' for number in range(size))
    ),
    "many unknown keys": lambda size: "".join(f"nope{number} = 1\n" for number in range(size)) + BASE,
    "many unknown tables": lambda size: BASE + "".join(f"[nope{number}]\n" for number in range(size)),
    "many outages": lambda size: _with(
        "outages = [{ at = 1.0, lasts = 0.3 }]", f"outages = [{'{ at = 1.0, lasts = 0.3 },' * size}]"
    ),
    "a long number": lambda size: _with("seed = 1087", f"seed = {'9' * size}"),
    "a long number in hex": lambda size: _with("commands = 80", f"commands = 0x{'f' * size}"),
    "a long fraction": lambda size: _with("rate = 100.0", f"rate = 0.{'3' * size}"),
    "a long name": lambda size: _with('name = "directory"', f'name = "{"d" * size}"'),
    "a long statement": lambda size: _with(
        "WHERE salary > ?", f"WHERE salary > ? AND {' AND '.join(['1 = 1'] * size)}"
    ),
    "brackets in a statement": lambda size: _with("salary > ?", f"salary > {'(' * size}?{')' * size}"),
    "subqueries": lambda size: _with(
        "FROM employee WHERE", f"FROM {'(SELECT * FROM ' * size}employee{') AS t' * size} WHERE"
    ),
    "many weights": lambda size: BASE + "".join(f"w{number} = 1.0\n" for number in range(size)),
    "many conditions": lambda size: _with(
        'department = "?",', 'department = "?",' + "".join(f"c{number} = 1," for number in range(size))
    ),
    "many groups": lambda size: _with('["department"]', "[" + '"department",' * size + "]"),
    "comments": lambda size: "# ....................................................\n" * size + BASE,
    "one long comment": lambda size: f"# {'.' * size}\n" + BASE,
    "an open string": lambda size: BASE + '"""' + '\\"' * size,
    "an open literal": lambda size: BASE + "'''" + "''a" * size,
    "open lines": lambda size: BASE + 'a = "\n' * size,
    "quotes": lambda size: BASE + "'" * size,
    "dots": lambda size: BASE + "." * size,
}
# Files among the odd ones that are valid all the same; the others are refused.
VALID_FILES = ("carriage returns",)
ODD_FILES: dict[str, bytes] = {
    "nothing": b"",
    "a byte order mark": b"\xef\xbb\xbf" + BASE.encode(),
    "UTF-16": BASE.encode("utf-16"),
    "not UTF-8": BASE.encode() + b"\xff\xfe\x80",
    "NUL": BASE.encode() + b"\x00",
    "carriage returns": BASE.replace("\n", "\r\n").encode(),
    "only carriage returns": BASE.replace("\n", "\r").encode(),
    "JSON": b'{"schema": 1}',
    "a surrogate": BASE.replace("1087", '"\\ud800"').encode(),
    "twice": (BASE + BASE).encode(),
    "escapes in a key": b'"\\u001b[2Jerror: forged" = 1\n' + BASE.encode(),
    "a newline in a key": b'"a\\nerror: forged" = 1\n' + BASE.encode(),
    "five megabytes": b"# nothing\n" * 500_000,
    "true for one": BASE.replace("schema = 1", "schema = true").encode(),
    "one point nought": BASE.replace("schema = 1", "schema = 1.0").encode(),
}


def _mutated(text: str, random: Random) -> bytes:
    lines = text.splitlines()
    for _ in range(random.randint(1, 4)):
        place, other = random.randrange(len(lines)), random.randrange(len(lines))
        match random.randrange(6):
            case 0:
                del lines[place]
            case 1:
                lines.insert(place, lines[other])
            case 2:
                lines[place], lines[other] = lines[other], lines[place]
            case 3 if "=" in lines[place]:
                key = lines[place].partition("=")[0]
                lines[place] = f"{key}= {random.choice([*NUMBERS, *map(_text, TEXTS), *ODD])}"
            case 4 if lines[place]:
                at = random.randrange(len(lines[place]))
                lines[place] = (
                    lines[place][:at] + chr(random.choice([0, 9, 34, 39, 61, 91, 93, 233])) + lines[place][at + 1 :]
                )
            case _:
                lines[place] = lines[place].replace(random.choice("aeist0129"), random.choice("aeist0129-"), 1)
    return "\n".join(lines).encode("utf-8", "surrogatepass")
