"""The types of Kafka Connect's schemas: values that JSON carries in another form become what they are.

Decimals are bytes in base64, dates are days, times are milli-, micro- or nanoseconds. Zoned times, enums, UUIDs and
JSON are text already. Sources: Debezium's "Data type mappings" of each connector, and Kafka Connect's `data` package.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from lab.domain.trace.logs.values import Malformed, date_text, time_text, timestamp_text

Convert = Callable[[Any], Any]
UNAVAILABLE = "__debezium_unavailable_value"
DECIMALS = "decimal numbers"
_BYTES = base64.b64encode(UNAVAILABLE.encode()).decode()
# The placeholder in columns of text, bytes, hexadecimal bytes, texts, key and value, and numbers.
_PLACEHOLDERS: tuple[Any, ...] = (
    UNAVAILABLE, _BYTES, UNAVAILABLE.encode().hex(), [UNAVAILABLE], {UNAVAILABLE: UNAVAILABLE},
    list(UNAVAILABLE.encode()), [_BYTES],
)  # fmt: skip


def unavailable(value: Any) -> bool:
    """Return whether a value stands for a large value that didn't change, and that the database didn't log."""
    kind = type(value)
    return (kind is str or kind is list or kind is dict) and value in _PLACEHOLDERS


def _bytes(value: Any) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (TypeError, ValueError, binascii.Error):
        raise Malformed("bytes that are not base64") from None


def decimal(unscaled: Any, scale: int) -> Any:
    """Return the number of bytes in base64, a whole one if it has no decimal places; a number is one already."""
    if not isinstance(unscaled, str):
        return unscaled
    number = int.from_bytes(_bytes(unscaled), "big", signed=True)
    if scale <= 0:
        return number * 10**-scale
    digits = tuple(map(int, str(abs(number))))
    return Decimal((int(number < 0), digits, -scale))


def _variable_scale(value: Any) -> Any:
    if isinstance(value, dict) and isinstance(value.get("scale"), int):
        return decimal(value.get("value"), value["scale"])
    return value


def _counted(text: Callable[[int], str], by: int) -> Convert:
    return lambda value: text(value * by) if type(value) is int else value


def _bits(value: Any) -> Any:
    """Return bits as digits, the highest first; they come as bytes, the lowest first."""
    return f"{int.from_bytes(_bytes(value), 'little'):b}" if isinstance(value, str) else value


_LOGICAL: dict[str, tuple[Convert, str]] = {
    "io.debezium.data.VariableScaleDecimal": (_variable_scale, DECIMALS),
    "io.debezium.data.Bits": (_bits, "text of binary digits"),
}
for _name in ("io.debezium.time.Date", "org.apache.kafka.connect.data.Date"):
    _LOGICAL[_name] = (lambda value: date_text(value) if type(value) is int else value, "dates")
for _name, _by in (("Timestamp", 10**6), ("MicroTimestamp", 10**3), ("NanoTimestamp", 1)):
    _LOGICAL[f"io.debezium.time.{_name}"] = (_counted(timestamp_text, _by), "times without a zone")
_LOGICAL["org.apache.kafka.connect.data.Timestamp"] = _LOGICAL["io.debezium.time.Timestamp"]
for _name, _by in (("Time", 10**6), ("MicroTime", 10**3), ("NanoTime", 1)):
    _LOGICAL[f"io.debezium.time.{_name}"] = (_counted(time_text, _by), "times of day")
_LOGICAL["org.apache.kafka.connect.data.Time"] = _LOGICAL["io.debezium.time.Time"]
DECIMAL = "org.apache.kafka.connect.data.Decimal"


def converter(schema: Any) -> tuple[Convert, str] | None:
    """Return how values of a field's schema are converted, and what they become; None if they stay as they are."""
    if not isinstance(schema, dict):
        return None
    name, kind = schema.get("name"), schema.get("type")
    if name == DECIMAL:
        scale = int((schema.get("parameters") or {}).get("scale", 0))
        return lambda value: decimal(value, scale), DECIMALS
    if name in _LOGICAL:
        return _LOGICAL[name]
    if kind == "bytes":
        return lambda value: _bytes(value).hex() if isinstance(value, str) else value, "text of hexadecimal digits"
    if kind in ("float", "double", "float32", "float64"):
        return lambda value: None if value == "NaN" else value, ""
    if kind == "array" and (inner := converter(schema.get("items"))):
        convert = inner[0]
        return lambda value: [convert(one) for one in value] if isinstance(value, list) else value, "JSON text"
    if kind == "struct" and (each := converters(schema)):
        return lambda value: {
            key: each[key][0](one) if key in each and one is not None else one for key, one in value.items()
        } if isinstance(value, dict) else value, "JSON text"  # fmt: skip
    return None


def converters(schema: Any) -> dict[str, tuple[Convert, str]]:
    """Return the fields of a struct's schema whose values are converted."""
    fields = schema.get("fields") if isinstance(schema, Mapping) else None
    found = {}
    for one in fields if isinstance(fields, list) else ():
        if isinstance(one, dict) and isinstance(one.get("field"), str) and (made := converter(one)):
            found[one["field"]] = made
    return found


def field(schema: Any, name: str) -> Any:
    """Return the schema of a struct's field."""
    fields = schema.get("fields") if isinstance(schema, Mapping) else None
    found = (one for one in fields or () if isinstance(one, dict) and one.get("field") == name)
    return next(found, None)
