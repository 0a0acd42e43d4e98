"""How much the service costs: its reads and commands beside a bare framework, and beside bare SQLite, in one run.

    python benchmarks/serving.py [--rounds 5] [--seconds 4] [--json]

Contestants take turns, in an order that is shuffled anew each round; figures are medians of the rounds, and ratios are
taken within a round. `wrk` makes the load (Debian: `apt install wrk`). Each contestant's answer is checked before it is
timed. Where front, projection and generator share two cores, that is part of the figure.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from lab.statistics.quantiles import median

HERE = Path(__file__).parent
SCENARIO = HERE.parent / "scenarios" / "employees.toml"
RECORDS = 2_000
CONNECTIONS = 32

BARE = """
import asyncio, json, socket, sqlite3, sys
import uvicorn, uvloop
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("PRAGMA synchronous = " + sys.argv[2])
ROW = json.dumps(json.loads(sys.argv[3])).encode()

async def constant(request):
    return Response(ROW, media_type="application/json")

async def lookup(request):
    key = int(request.query_params["key"])
    row = database.execute("SELECT * FROM employee WHERE key = ?", (key,)).fetchone()
    return Response(json.dumps(row).encode(), media_type="application/json")

async def insert(request):
    body = json.loads(await request.body())
    database.execute("BEGIN IMMEDIATE")
    database.execute("INSERT INTO written (body) VALUES (?)", (json.dumps(body),))
    database.execute("COMMIT")
    return Response(b'{"outcome": "accepted"}', 201, media_type="application/json")

app = Starlette(routes=[Route("/constant", constant), Route("/lookup", lookup),
                        Route("/insert", insert, methods=["POST"])])
listening = socket.create_server(("127.0.0.1", 0))
print(listening.getsockname()[1], flush=True)
config = uvicorn.Config(app, http="httptools", ws="none", lifespan="off", log_level="error", access_log=False,
                        server_header=False)
with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
    runner.run(uvicorn.Server(config).serve(sockets=[listening]))
"""

# wrk: keys are drawn from all records; a command raises the salary of a record of the thread's own.
READ = """
math.randomseed(os.time())
request = function() return wrk.format("GET", "{path}" .. math.random(1, {records})) end
"""
WRITE = """
local thread = 0
function setup(t) t:set("mine", thread); thread = thread + 1 end
function init() n = 0; math.randomseed(mine + 1) end
request = function()
  n = n + 1
  local key = {first} + {round} * 10000000 + mine * 1000000 + n
  local body = '{{"command": "hire", "key": ' .. key .. ', "fields": {{"name": "Ada Byron", "department": "Sales",' ..
    ' "salary": 5000, "manager": null}}}}'
  return wrk.format("POST", "{path}", {{["Content-Type"] = "application/json"}}, body)
end
"""


@contextmanager
def process(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A program that ends with the benchmark."""
    running = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
    try:
        yield running
    finally:
        running.terminate()
        running.wait(60)


def asked(url: str, body: object = None) -> tuple[int, dict[str, Any]]:
    """One request, and its answer."""
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data, {"content-type": "application/json"})) as answer:
        return answer.status, json.load(answer)


def served(stack: ExitStack, folder: Path, durability: str) -> str:
    """The service on the scenario, with its records hired; the address."""
    running = stack.enter_context(
        process(
            sys.executable, "-m", "lab", "serve", str(SCENARIO), "--port", "0", "--folder", str(folder), "--json",
            "--set", f"truth.durability={durability}", "--set", f"domain.records={RECORDS}",
        )
    )  # fmt: skip
    text = ""
    for line in running.stdout or ():
        text += line
        if line.startswith("}"):
            break
    url = str(json.loads(text)["url"])
    for key in range(1, RECORDS + 1):
        fields = {"name": "Ada Byron", "department": "Sales", "salary": 5_000, "manager": None}
        status, _ = asked(f"{url}/commands/employee", {"command": "hire", "key": key, "fields": fields})
        assert status == 201
    _, last = asked(f"{url}/projections/directory/employee?key={RECORDS}&at_least={RECORDS}&timeout=30")
    assert last["rows"], last
    return url


def bare(stack: ExitStack, folder: Path, durability: str, row: dict[str, Any]) -> str:
    """The framework with nothing around it, on a database with the same records; the address."""
    database = sqlite3.connect(folder / "bare.db")
    database.execute("PRAGMA journal_mode = WAL")
    database.execute(
        "CREATE TABLE employee (position INTEGER, key INTEGER PRIMARY KEY, revision INTEGER, deleted INTEGER, "
        "committed_at REAL, name TEXT, manager INTEGER, department TEXT, salary INTEGER)"
    )
    rows = [(key, key, 1, 0, 0.0, "Ada Byron", None, "Sales", 5_000) for key in range(1, RECORDS + 1)]
    database.executemany("INSERT INTO employee VALUES (?,?,?,?,?,?,?,?,?)", rows)
    database.execute("CREATE TABLE written (id INTEGER PRIMARY KEY, body TEXT)")
    database.commit()
    database.close()
    program = folder / "bare.py"
    program.write_text(BARE)
    running = stack.enter_context(
        process(sys.executable, str(program), str(folder / "bare.db"), durability, json.dumps(row))
    )
    assert running.stdout is not None
    return f"http://127.0.0.1:{int(running.stdout.readline())}"


def wrk(url: str, script: str, seconds: float) -> dict[str, float]:
    """Requests per second, and errors."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(script)
        file.flush()
        command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds:g}s", "--latency", "-s", file.name, url]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"Requests/sec:\s+([\d.]+)", said)
    assert found, said
    bad = sum(int(number) for number in re.findall(r"(?:Non-2xx or 3xx responses|timeout) (?:: )?(\d+)", said))
    return {"per_second": float(found[1]), "errors": bad}


def commits(folder: Path, durability: str, seconds: float) -> float:
    """Bare commits per second: no framework, no deciding, one row a transaction."""
    database = sqlite3.connect(folder / f"commits-{durability}.db", isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute(f"PRAGMA synchronous = {durability}")
    database.execute("CREATE TABLE IF NOT EXISTS written (id INTEGER PRIMARY KEY, body TEXT)")
    done, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        database.execute("BEGIN IMMEDIATE")
        database.execute("INSERT INTO written (body) VALUES (?)", ("x" * 100,))
        database.execute("COMMIT")
        done += 1
    rate = done / (time.perf_counter() - began)
    database.close()
    return rate


def measure(rounds: int, seconds: float, durability: str) -> dict[str, list[float]]:
    """Each contestant's figures, round by round."""
    found: dict[str, list[float]] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        lab = served(stack, folder / "lab", durability)
        _, row = asked(f"{lab}/projections/directory/employee?key=7")
        plain = bare(stack, folder, durability, row)
        assert asked(f"{plain}/constant")[1] == row
        by_key = "/projections/directory/employee?key="

        def rate(url: str, script: str) -> float:
            result = wrk(url, script, seconds)
            assert not result["errors"], (url, result)
            return result["per_second"]

        def write(url: str, path: str, number: int) -> float:
            return rate(url, WRITE.format(first=1_000_000, round=number, path=path))

        contestants: dict[str, Callable[[int], float]] = {
            "read_lab": lambda _: rate(lab, READ.format(path=by_key, records=RECORDS)),
            "read_constant": lambda _: rate(plain, READ.format(path="/constant?key=", records=RECORDS)),
            "read_lookup": lambda _: rate(plain, READ.format(path="/lookup?key=", records=RECORDS)),
            "command_lab": lambda number: write(lab, "/commands/employee", number),
            "command_bare_http": lambda number: write(plain, "/insert", number),
            "command_bare_commits": lambda _: commits(folder, durability, seconds),
        }
        order = random.Random(1087)
        for number in range(rounds):
            for name in order.sample(sorted(contestants), len(contestants)):
                found.setdefault(name, []).append(contestants[name](number))
                print(f"round {number + 1}: {name} {found[name][-1]:,.0f}/s", file=sys.stderr)
    return found


def compared(found: dict[str, list[float]]) -> list[dict[str, object]]:
    """The ratios, each with the least and the most of its rounds."""
    rows = []
    for row, lab, limit in (
        ("read_against_constant", "read_lab", "read_constant"),
        ("read_against_lookup", "read_lab", "read_lookup"),
        ("command_against_http_insert", "command_lab", "command_bare_http"),
        ("command_against_commits", "command_lab", "command_bare_commits"),
    ):
        ratios = [a / b for a, b in zip(found[lab], found[limit], strict=True)]
        middle = median(ratios)
        rows.append(
            {
                "row": row, "lab": median(found[lab]), "limit": median(found[limit]),
                "unit": "1/s", "vs_limit": middle, "low": min(ratios), "high": max(ratios), "target": 0.7,
                "target_met": middle >= 0.7,
            }
        )  # fmt: skip
    return rows


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--durability", choices=("full", "normal"), default="full")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("error: no `wrk` on the path, which makes the load (Debian: apt install wrk)")
    rows = compared(measure(options.rounds, options.seconds, options.durability))
    if options.json:
        print(json.dumps(rows, indent=2))
        return
    for row in rows:
        print(
            f"{row['row']:<30}{row['lab']:>10,.0f}/s {row['limit']:>10,.0f}/s  "
            f"{row['vs_limit']:.2f} ({row['low']:.2f} to {row['high']:.2f}; target {row['target']})"
        )


if __name__ == "__main__":
    main()
