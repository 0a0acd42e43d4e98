"""What is said of one system, and what each word of it means."""

from __future__ import annotations

from dataclasses import dataclass

# How far a system has been tried, the most that can be claimed first.
LEVELS = {
    "real": "the server itself, or the engine, keeps the lab's contract in the tests",
    "emulated": "its official client keeps the contract in the tests, against an emulator of its protocol",
    "dialect": "the statements that it would be sent keep the contract in the tests, on a compatible engine",
    "written": "the statements are made for it and parsed, and no such system has run them",
    "family": "nothing is made for it: an embedded store of its family stands for it",
}
# Levels that a contract test must prove.
PROVEN = ("real", "emulated", "dialect")
ROLES = ("source of truth", "channel", "store")


@dataclass(frozen=True)
class System:
    """One system.

    `stands` are the embedded stores of its family. `used_as` are the names by which a scenario uses the system itself,
    with the key: `store = "postgres.table"`. `runs` is where the tests run it: the name of a server (see
    `lab.servers`), or a distribution package, whose version is the one reached; `on` names it where it is another
    engine. `proof` are pytest node ids of contract tests. `why` says why the level is no higher. The last three say
    what differs from the store that stands for it.
    """

    name: str
    family: str
    roles: tuple[str, ...]
    level: str
    stands: tuple[str, ...]
    consistency: str
    enumeration: str
    limits: str
    used_as: tuple[str, ...] = ()
    runs: str = ""
    on: str = ""
    proof: tuple[str, ...] = ()
    why: str = ""

    @property
    def stores(self) -> tuple[str, ...]:
        """The stores that keep a projection in the system itself."""
        return tuple(one.split('"')[1] for one in self.used_as if one.startswith("store = "))
