"""What is on a line: a message alone, or in what a tool that reads topics writes around it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.domain.trace.logs.values import decode, decode_first, instant, since_1970

# The names of a message's parts, in lower case, as consumers call them.
KEYS, VALUES, OFFSETS = ("key",), ("value", "payload", "content"), ("offset",)
PARTITIONS, TIMES, TOPICS = ("partition", "partitionid"), ("timestamp", "ts"), ("topic",)
OTHERS = frozenset((
    "headers", "tstype", "timestamptype", "broker", "keyformat", "valueformat", "contentformat", "keysize",
    "contentsize", "valuesize", "headerssize", "keyserde", "valueserde", "keydeserializeproperties",
    "valuedeserializeproperties", "schemaid", "key_schema_id", "value_schema_id", "compression", "istransactional",
    "keyschemaid", "valueschemaid", "size", "key_size", "value_size", "num_headers", "leader_epoch",
    "serialisedkeysize", "serialisedvaluesize", "serializedkeysize", "serializedvaluesize", "attributes",
    "timestamp_type", "leaderepoch",
))  # fmt: skip
PARTS = frozenset((*KEYS, *VALUES, *OFFSETS, *PARTITIONS, *TIMES, *TOPICS)) | OTHERS
# The columns that kafka-console-consumer can write before key and value.
CONSOLE = ("CreateTime:", "LogAppendTime:", "NoTimestampType:", "Partition:", "Offset:", "Epoch:", "Delivery:")
SEPARATORS = "\t|;,:#~^"


class Broken(Exception):
    """A line that holds no message; the text says why."""


@dataclass(slots=True)
class TopicMessage:
    """A message: its value, and what is told beside it. `keyed`: a key stands beside the value.

    `place` is topic, partition and offset; `at` the broker's time, in nanoseconds since 1970.
    """

    line: int
    value: Any
    key: Any = None
    keyed: bool = False
    topic: str = ""
    place: tuple[str, int, int] | None = None
    at: int | None = None
    schema: Any = None
    key_schema: Any = None


def messages(path: Path) -> Iterator[TopicMessage | tuple[int, str]]:
    """Yield the message of each line that is not empty; for a malformed one its number and what is wrong."""
    with path.open("rb") as file:
        for number, raw in enumerate(file, 1):
            try:
                text = raw.decode("utf-8-sig" if number == 1 else "utf-8").strip()
            except UnicodeDecodeError:
                yield number, "not text in UTF-8"
                continue
            if not text:
                continue
            try:
                yield message(text, number)
            except Broken as error:
                yield number, str(error)


def message(text: str, number: int) -> TopicMessage:
    """Parse a line. Raises Broken."""
    try:
        value = decode(text)
    except ValueError:
        return _console(text, number)
    except RecursionError:
        raise Broken("JSON that is nested too deeply") from None
    return _payload(_unwrapped(value, number))


def _unwrapped(value: Any, number: int) -> TopicMessage:
    """Take a message out of what a consumer wrote around it."""
    if not isinstance(value, dict):
        if value is not None:
            raise Broken("no JSON object")
        return TopicMessage(number, None)
    if not wrapped(value):
        return TopicMessage(number, value)
    lower = {name.lower(): one for name, one in value.items()}
    parts = {
        "key": KEYS, "value": VALUES, "offset": OFFSETS, "partition": PARTITIONS, "time": TIMES, "topic": TOPICS,
    }  # fmt: skip
    first = {part: next((lower[one] for one in names if one in lower), None) for part, names in parts.items()}
    topic = first["topic"] if isinstance(first["topic"], str) else ""
    place = None
    if isinstance(first["offset"], int) and isinstance(first["partition"], int):
        place = (topic, first["partition"], first["offset"])
    keyed = "key" in lower and lower["key"] is not None
    inner = _inner(first["value"], "value", place is not None)
    return TopicMessage(number, inner, _inner(first["key"], "key", True), keyed, topic, place, _time(first["time"]))


def wrapped(value: dict[str, Any]) -> bool:
    """Return whether an object is a message with its key, offset or topic, and nothing else."""
    lower = {name.lower() for name in value}
    has_value = any(name in lower for name in VALUES)
    beside = lower & {*KEYS, *OFFSETS, *PARTITIONS, *TOPICS}
    return has_value and bool(beside) and lower <= PARTS


def _time(value: Any) -> int | None:
    found = instant(value)
    return since_1970(value, "ms") if found is None else found


def _inner(value: Any, part: str, as_text: bool) -> Any:
    """Parse a key or value that is text with JSON in it."""
    if isinstance(value, dict) and "payload" in value and ("encoding" in value or "isPayloadNull" in value):
        value = value["payload"]
    if not isinstance(value, str) or not as_text:
        return value
    if part == "key":
        return _maybe(value)
    if not value.strip():
        return None
    try:
        return decode(value)
    except ValueError:
        if value[:1] == "\x00":
            what = "a value in the schema registry's binary format: read the topic with its deserialiser"
            raise Broken(what) from None
        raise Broken("a value that is not JSON") from None


def _maybe(text: str) -> Any:
    try:
        return decode(text)
    except ValueError:
        return text


def _console(text: str, number: int) -> TopicMessage:
    """Parse a line of kafka-console-consumer: what is told of the message, its key and its value, with tabs between."""
    rest, time, partition, offset, told = text, None, None, None, False
    while rest.startswith(CONSOLE):
        head, _, rest = rest.partition("\t")
        name, _, one = head.partition(":")
        told = True
        if name in ("CreateTime", "LogAppendTime"):
            time = since_1970(one, "ms")
        if name in ("Partition", "Offset") and one.isdigit():
            partition, offset = (int(one), offset) if name == "Partition" else (partition, int(one))
    if rest.startswith("NO_HEADERS\t"):
        told, rest = True, rest.partition("\t")[2]
    place = ("", partition, offset) if partition is not None and offset is not None else None
    for key, value in _split(rest):
        found = TopicMessage(number, value, key, key is not None, "", place, time)
        return _payload(found)
    if told:
        try:
            return _payload(TopicMessage(number, decode(rest), at=time, place=place))
        except ValueError:
            pass
    raise Broken("broken JSON")


def _split(text: str) -> Iterator[tuple[Any, Any]]:
    """Yield key and value of a line, if it has both: JSON after JSON, or JSON after text and a tab."""
    try:
        key, end = decode_first(text)
        rest = text[end:]
        if rest[:1] in SEPARATORS:
            yield key, decode(rest[1:].strip())
            return
    except (ValueError, RecursionError):
        pass
    left, tab, right = text.rpartition("\t")
    if tab:
        try:
            yield _maybe(left.rpartition("\t")[2]), decode(right)
        except (ValueError, RecursionError):
            return


def _payload(found: TopicMessage) -> TopicMessage:
    """Take key and value out of `schema` and `payload`."""
    found.value, found.schema = _schema(found.value)
    found.key, found.key_schema = _schema(found.key)
    return found


def _schema(value: Any) -> tuple[Any, Any]:
    if isinstance(value, dict) and "payload" in value and value.keys() <= {"schema", "payload"}:
        return value["payload"], value.get("schema")
    return value, None


def keyed_lines(path: Path) -> bool:
    """Return whether the first line of a file is a key and a value with something between them."""
    with path.open("rb") as file:
        text = next((line.decode("utf-8-sig", errors="replace").strip() for line in file if line.strip()), "")
    try:
        json.loads(text)
    except ValueError:
        return any(isinstance(value, dict | None) for _, value in _split(text))
    return False
