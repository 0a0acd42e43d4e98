"""What every rule looks at, and what several rules ask."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from lab.base import Key, nearest
from lab.domain.model import State, View

Fields = Mapping[str, Any]
# Reasons against it, and the fields of the event.
Found = tuple[list[str], dict[str, Any]]

# What has become of a record that is deleted.
GONE = {
    "product": "discontinued",
    "strategy": "dropped",
    "creative": "withdrawn",
    "campaign": "closed",
    "agent": "dismissed",
    "lead": "discarded",
    "spend": "voided",
}


@dataclass(frozen=True)
class CommandCase:
    """What a rule looks at: the view, the record's key and state (empty for a new one), and the command's fields."""

    view: View
    key: Key
    state: State
    fields: Fields


def as_given(case: CommandCase) -> Found:
    """Whatever the command says, the event says."""
    return [], dict(case.fields)


def a(word: str) -> str:
    """The word with its article."""
    return f"an {word}" if word[0] in "aeiou" else f"a {word}"


def live(view: View, entity: str, key: Any) -> list[str]:
    """Why this record can't be referred to."""
    record = view.get(entity, key)
    if record is None:
        return [f"there is no {entity} {key}"]
    return [f"{entity} {key} has been {GONE[entity]}"] if record.deleted else []


def words(fields: Fields, *names: str) -> list[str]:
    """Texts must say something."""
    return [f"{a(name.replace('_', ' '))} is needed" for name in names if not fields[name].strip()]


def among(fields: Fields, name: str, valid: Collection[str]) -> list[str]:
    """A word must be one of these."""
    return [] if fields[name] in valid else [f"no {name} is called {fields[name]} ({nearest(fields[name], valid)})"]


def positive(fields: Fields, *names: str) -> list[str]:
    """Amounts are above 0."""
    return [f"{a(name.replace('_', ' '))} is a positive amount" for name in names if fields[name] <= 0]


def running(key: Any, state: State) -> list[str]:
    """Why nothing can come of a campaign now."""
    return [] if state["status"] == "running" else [f"campaign {key} is {state['status']}"]


def of_running(view: View, key: Any) -> tuple[list[str], State]:
    """The same of a campaign by its key, and its state."""
    record = view.get("campaign", key)
    if record is None or record.deleted:
        return live(view, "campaign", key), {}
    return running(key, record.state), record.state
