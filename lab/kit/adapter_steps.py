"""The steps of the self-test of an adapter: each sends a few requests, and says what works or what is wrong."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.formatting import first_line, printable
from lab.kit.exchange import Answer, Exchange
from lab.kit.hard_values import VALUES, WAYS_OUT
from lab.kit.history import Change, Planned, Row, build
from lab.kit.process import ChildEnded
from lab.kit.reader import same
from lab.kit.remote import Consumers, wanted
from lab.kit.wire import checked_rows, restored

# Requests that are sent in one write, changes in one batch, seconds for the end after the end of standard input.
IN_FLIGHT, BATCH, END = 200, 500, 5.0
_SHOWN_MAX = 160


class Unfit(Exception):
    """Something doesn't work: what, and the way out."""

    def __init__(self, what: str, way_out: str) -> None:
        super().__init__(what)
        self.way_out = way_out


@dataclass
class AdapterTest:
    """The process on test, and what was said last."""

    consumers: Consumers
    exchange: Exchange | None = None
    lines: list[tuple[str, str]] = field(default_factory=list)
    position: int = 0

    def watch(self, who: str, line: bytes) -> None:
        text = printable(line.decode("utf-8", "backslashreplace").rstrip("\n"))
        text = text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_MAX]}..."
        self.lines = [*self.lines, (who, text)][-2:]

    def begin(self) -> Exchange:
        """Return the exchange, with a fresh history."""
        if self.exchange is None:
            self.exchange = self.consumers.stock.take()
        self.consumers.init(self.exchange, self.consumers.stock.folder(), again=False)
        self.ask()
        return self.exchange

    def ask(self, do: str = "", **fields: Any) -> Answer:
        """Send a request, if one is named, and return the answer. Raises Unfit for an error."""
        assert self.exchange is not None
        if do:
            self.exchange.add(do, **fields)
        self.exchange.flush()
        answer = self.exchange.answer(self.consumers.stock.patience)
        if "error" in answer:
            raise Unfit(f"answered by an error: {first_line(Exception(answer['error']))}", "mend it in the consumer")
        return answer

    def rows(self) -> dict[Any, Row]:
        """Return the rows that are shown, by key. Raises Unfit if a key is there twice."""
        rows = restored(checked_rows(self.ask("rows").get("rows")), self.consumers.shape)
        found = {row["key"]: row for row in rows}
        if len(found) < len(rows):
            raise Unfit("a key is in the answer to `rows` twice, and was applied once", "give one row for each record")
        return found

    def change(
        self, record: int, revision: int = 1, deleted: bool = False, state: dict[str, Any] | None = None
    ) -> Change:
        """Make a change at the next position."""
        self.position += 1
        plain = build([Planned(record)] * revision, self.consumers.shape).changes[-1]
        event = "deleted" if deleted else plain["event"]
        return dict(plain) | {"position": self.position, "deleted": deleted, "event": event} | (state or {})

    def kill(self) -> None:
        if self.exchange is not None:
            self.consumers.stock.kill(self.exchange)
            self.exchange = None

    def columns(self, kind: str) -> list[str]:
        """Return the columns of a type."""
        return [name for name, own in self.consumers.shape.columns if own == kind]


def _init(test: AdapterTest) -> str:
    began, stock = time.monotonic(), test.consumers.stock
    test.exchange = stock.take()
    test.consumers.init(test.exchange, stock.folder(), again=False)
    said = test.ask()
    consumers = test.consumers
    consumers.keeps, consumers.tears = said.get("keeps") is True, said.get("tears") is True
    consumers.shape = wanted(said, consumers.stock.name)
    columns = ", ".join(f"{name} ({kind})" for name, kind in consumers.shape.columns)
    return f"answered after {time.monotonic() - began:.2f} s; keys are {consumers.shape.key}; columns: {columns}"


def _empty(test: AdapterTest) -> str:
    test.begin()
    if test.rows():
        raise Unfit("rows are shown before anything was applied", "begin empty at each `init` that is not `again`")
    return "no rows before anything is applied"


def _apply(test: AdapterTest) -> str:
    test.begin()
    change = test.change(1)
    test.ask("apply", changes=[change])
    _compare(test, {change["key"]: change}, "show what was applied")
    later = test.change(1, 2)
    test.ask("apply", changes=[later])
    _compare(test, {change["key"]: later}, "show the last revision")
    return "what was applied is shown, and its next revision in its place"


def _compare(test: AdapterTest, wanted: dict[Any, Change], way_out: str) -> None:
    rows = test.rows()
    for key, change in wanted.items():
        row = rows.get(key)
        if row is None:
            keys = ", ".join(map(repr, list(rows)[:3])) or "none"
            raise Unfit(f"key {key!r} was applied, and is not shown; keys that are: {keys}", "give keys back as sent")
        for name, value in row.items():
            if name in dict(test.consumers.shape.columns) and not same(value, change[name]):
                raise Unfit(f"{name} was {_brief(change[name])}, and is shown as {_brief(value)}", way_out)
    if len(rows) > len(wanted):
        raise Unfit(f"{len(rows)} rows are shown, and {len(wanted)} records are alive", "show live records alone")


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}..."


def _values(kind: str) -> Callable[[AdapterTest], str]:
    def step(test: AdapterTest) -> str:
        columns = test.columns(kind)
        if not columns:
            return f"not said: no column is {kind}"
        test.begin()
        sent: dict[str, Change] = {}
        large = 2 ** (test.consumers.shape.bits - 1)
        fit = {name: one for name, one in VALUES[kind].items() if kind != "int" or -large <= one < large}
        for number, (name, value) in enumerate(fit.items(), 1):
            sent[name] = test.change(number, state=dict.fromkeys(columns, value))
            test.ask("apply", changes=[sent[name]])
        rows = test.rows()
        for name, change in sent.items():
            row = rows.get(change["key"])
            if row is None:
                raise Unfit(f"a record with {name} is not shown", WAYS_OUT[kind])
            for column in columns:
                if column in row and not same(row[column], change[column]):
                    raise Unfit(f"{name} comes back as {_brief(row[column])}", WAYS_OUT[kind])
        return f"as sent: {', '.join(sent)}"

    return step


def _null(test: AdapterTest) -> str:
    test.begin()
    names = [name for name, _ in test.consumers.shape.columns][1:]
    if not names:
        return "not said: the only column is never null"
    change = test.change(1, state=dict.fromkeys(names))
    test.ask("apply", changes=[change])
    _compare(test, {change["key"]: change}, "keep null apart from 0, false and the empty text; show it as null")
    return f"as sent, in {', '.join(names)}"


def _delete(test: AdapterTest) -> str:
    test.begin()
    changes = [test.change(1), test.change(2), test.change(1, 2, deleted=True)]
    for change in changes:
        test.ask("apply", changes=[change])
    _compare(test, {changes[1]["key"]: changes[1]}, "show the other record as it was")
    return "a deleted record is not shown, the other one is"


def _batch(test: AdapterTest) -> str:
    test.begin()
    changes = [test.change(number) for number in range(1, BATCH + 1)]
    test.ask("apply", changes=changes)
    _compare(test, {change["key"]: change for change in changes}, "show what was applied")
    return f"{BATCH} changes in one line"


def _again(test: AdapterTest) -> str:
    test.begin()
    test.ask("apply", changes=[test.change(1)])
    test.begin()
    if test.rows():
        raise Unfit("the rows of one history are shown in the next", "begin empty at each `init` that is not `again`")
    return "a further `init` begins a new history in the same process"


def _in_flight(test: AdapterTest) -> str:
    exchange = test.begin()
    for number in range(1, IN_FLIGHT + 1):
        exchange.add("apply", changes=[test.change(number)])
    exchange.flush()
    for _ in range(IN_FLIGHT):
        test.ask()
    if len(test.rows()) != IN_FLIGHT:
        raise Unfit(f"{IN_FLIGHT} requests were sent at once, and some got lost", "read line by line, each once")
    return f"{IN_FLIGHT} requests in one write are answered in their order"


def _unknown(test: AdapterTest) -> str:
    exchange = test.begin()
    exchange.add("frobnicate")
    exchange.flush()
    answer = exchange.answer(test.consumers.stock.patience)
    if "error" not in answer:
        raise Unfit("a request that there is none of is answered by ok", 'answer it by "error", and go on')
    test.rows()
    return f"an unknown request is answered by an error: {_brief(answer['error'])}"


def _keeps(test: AdapterTest) -> str:
    if not test.consumers.keeps:
        return 'not said: no "keeps": true in answer to `init`, so what a crash does stays unknown'
    if test.exchange is None:
        test.exchange = test.consumers.stock.take()
    folder = test.consumers.stock.folder()
    test.consumers.init(test.exchange, folder, again=False)
    test.ask()
    change = test.change(1)
    test.ask("apply", changes=[change])
    _restart(test, folder)
    _compare(test, {change["key"]: change}, "keep what was applied in the folder, before `apply` is answered")
    return "what was applied is there after SIGKILL and a new start"


def _restart(test: AdapterTest, folder: Path) -> None:
    test.kill()
    test.exchange = test.consumers.stock.take()
    test.consumers.init(test.exchange, folder, again=True)
    test.ask()


def _tears(test: AdapterTest) -> str:
    if not test.consumers.tears:
        return 'not said: no "tears": true in answer to `init`, so it is killed between two batches alone'
    exchange = test.begin()
    changes = [test.change(number) for number in (1, 2, 3)]
    try:
        test.ask("apply", changes=changes, die_after=2)
    except ChildEnded:
        test.kill()
        return "`die_after` ends the process in the middle of a batch"
    exchange.process.kill()
    raise Unfit(
        "`die_after` was 2, and all 3 changes were answered by ok", "end the process at once, without an answer"
    )


def _end(test: AdapterTest) -> str:
    exchange = test.begin()
    if not exchange.process.close_input(END):
        raise Unfit(f"it still runs {END:g} s after the end of its standard input", "end when standard input does")
    test.kill()
    return "the process ends when its standard input does"


def _steps() -> Iterator[tuple[str, Callable[[AdapterTest], str]]]:
    yield "init", _init
    yield "rows", _empty
    yield "apply", _apply
    yield "init again", _again
    yield "delete", _delete
    yield "null", _null
    for kind, name in (("int", "integers"), ("float", "floats"), ("str", "text"), ("bool", "booleans")):
        yield name, _values(kind)
    yield "batch", _batch
    yield "in flight", _in_flight
    yield "unknown request", _unknown
    yield "keeps", _keeps
    yield "tears", _tears
    yield "end of input", _end


# Each step by its name, in order. A step returns what works, or after `not said: ` why there was nothing to test.
STEPS = dict(_steps())
