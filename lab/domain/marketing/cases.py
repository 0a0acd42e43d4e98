"""The input of every rule, and the checks that several rules share."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from lab.base import Key, nearest
from lab.domain.model import State, View

Fields = Mapping[str, Any]
# A rule's result: the reasons against the command, and the fields of its event.
Found = tuple[list[str], dict[str, Any]]

# The word for a deleted record of each entity.
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
    """A command with the view, the record's key and its state (empty for a new one)."""

    view: View
    key: Key
    state: State
    fields: Fields


def as_given(case: CommandCase) -> Found:
    """Accept the command's fields as the event's."""
    return [], dict(case.fields)


def a(word: str) -> str:
    """Return the word with its article."""
    return f"an {word}" if word[0] in "aeiou" else f"a {word}"


def live(view: View, entity: str, key: Any) -> list[str]:
    """Return why this record can't be referred to; empty if it is live."""
    record = view.get(entity, key)
    if record is None:
        return [f"there is no {entity} {key}"]
    return [f"{entity} {key} has been {GONE[entity]}"] if record.deleted else []


def words(fields: Fields, *names: str) -> list[str]:
    """Return a reason for each of these texts that is empty."""
    return [f"{a(name.replace('_', ' '))} is needed" for name in names if not fields[name].strip()]


def among(fields: Fields, name: str, valid: Collection[str]) -> list[str]:
    """Return why a value is not one of these; empty if it is."""
    return [] if fields[name] in valid else [f"no {name} is called {fields[name]} ({nearest(fields[name], valid)})"]


def positive(fields: Fields, *names: str) -> list[str]:
    """Return a reason for each of these amounts that is not above 0."""
    return [f"{a(name.replace('_', ' '))} is a positive amount" for name in names if fields[name] <= 0]


def running(key: Any, state: State) -> list[str]:
    """Return why a campaign doesn't run; empty if it does."""
    return [] if state["status"] == "running" else [f"campaign {key} is {state['status']}"]


def of_running(view: View, key: Any) -> tuple[list[str], State]:
    """Return why the campaign with this key doesn't exist or doesn't run, and its state."""
    record = view.get("campaign", key)
    if record is None or record.deleted:
        return live(view, "campaign", key), {}
    return running(key, record.state), record.state
