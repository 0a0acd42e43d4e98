"""Values of which many successive ones are equal, such as the times of a batch: each is kept once, with its number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

# Of fewer equal values in a row than this on average, the array itself is kept.
LEAST = 8


@dataclass(frozen=True)
class Stretches:
    """`values` in their order, each as often as `lengths` says."""

    values: np.ndarray
    lengths: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray) -> Stretches | None:
        """Return an array like this; None if that takes more room, or hardly less."""
        if values.size < LEAST:
            return None
        # Bit by bit, so that it comes back as it was.
        bits = values.view(f"u{values.itemsize}") if values.dtype.kind == "f" else values
        begin = np.flatnonzero(bits[1:] != bits[:-1]) + 1
        if LEAST * (begin.size + 1) > values.size:
            return None
        begin = np.append(0, begin)
        return cls(values[begin], np.diff(np.append(begin, values.size)))

    @property
    def array(self) -> np.ndarray:
        """Return all values."""
        return np.repeat(self.values, self.lengths)


class PerRow:
    """A field of a dataclass: one value for all rows, or an array with one for each, which is kept in stretches.

    `default` is the field's, if it has one.
    """

    def __init__(self, *default: Any) -> None:
        self._default = default

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = f"_{name}"

    def __get__(self, instance: object | None, owner: type | None = None) -> Any:
        if instance is None:
            if self._default:
                return self._default[0]
            # A dataclass takes this for a field without a default.
            raise AttributeError(self._name)
        kept = instance.__dict__[self._name]
        return kept.array if isinstance(kept, Stretches) else kept

    def __set__(self, instance: object, value: np.ndarray | float | Stretches | None) -> None:
        packed = Stretches.of(value) if isinstance(value, np.ndarray) else value
        instance.__dict__[self._name] = value if packed is None else packed
