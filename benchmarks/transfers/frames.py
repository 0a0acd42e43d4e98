"""Transfers as arrays, and what each way of applying their changes shows at which time.

Arrays stand for the lab's guards here, so that twenty million changes take seconds; a test holds both equal on a
history that the lab runs. Times are whole microseconds. Each transfer has two changes: position 2 i takes an amount
from one account, position 2 i + 1 brings it to another. The sum of all balances is always 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lab.base import stream

MICRO = 1_000_000


@dataclass(frozen=True)
class Transfers:
    """Changes in the order of positions, two for each transfer; `arrives_at` is when the message of each comes."""

    account: np.ndarray
    amount: np.ndarray
    committed_at: np.ndarray
    arrives_at: np.ndarray

    @classmethod
    def draw(cls, transfers: int, accounts: int, rate: float, disorder: float, seed: int) -> Transfers:
        """Draw transfers at random times, `rate` a second; each message takes 0 to `disorder` seconds."""
        rng = stream(seed, "transfers")
        at = np.cumsum(rng.standard_exponential(transfers, np.float64))
        at *= MICRO / rate
        committed = np.repeat(at.astype(np.int64), 2)
        account = np.empty(2 * transfers, np.int32)
        account[0::2] = rng.integers(0, accounts, transfers, np.int32)
        # Another one than that which pays.
        account[1::2] = (account[0::2] + rng.integers(1, accounts, transfers, np.int32)) % accounts
        amount = np.repeat(rng.integers(1, 1_000, transfers, np.int32), 2)
        amount[0::2] *= -1
        late = rng.random(2 * transfers, np.float32) * np.float32(disorder * MICRO)
        return cls(account, amount, committed, committed + late.astype(np.int64))

    @cached_property
    def arrivals(self) -> np.ndarray:
        """Return the changes in the order in which they arrive."""
        return np.argsort(self.arrives_at, kind="stable").astype(np.int32)

    @cached_property
    def by_account(self) -> np.ndarray:
        """Return the changes of each account together, by position."""
        return np.argsort(self.account, kind="stable").astype(np.int32)

    @cached_property
    def by_account_as_they_come(self) -> np.ndarray:
        """Return the changes of each account together, in the order in which they arrive."""
        found: np.ndarray = self.arrivals[np.argsort(self.account[self.arrivals], kind="stable")]
        return found

    @cached_property
    def balances(self) -> np.ndarray:
        """Return the balance of its account after each change, by position."""
        order = self.by_account
        account, upto = self.account[order], np.cumsum(self.amount[order], dtype=np.int64)
        first = np.flatnonzero(np.append(True, account[1:] != account[:-1]))
        before = upto[first] - self.amount[order[first]]
        upto -= np.repeat(before, np.diff(np.append(first, account.size)))
        found = np.empty(upto.size, np.int64)
        found[order] = upto
        return found

    @property
    def span(self) -> tuple[int, int]:
        """Return from when to when totals are looked at: from the first commit to the last arrival."""
        return int(self.committed_at[0]), int(self.arrives_at.max())


@dataclass(frozen=True)
class Steps:
    """How a total changes: by `delta` at each of the times `at`, which are in order."""

    at: np.ndarray
    delta: np.ndarray


def _shown(of: Transfers, newest: bool) -> Steps:
    """Show of each account the balance of what came last, or (`newest`) of the highest revision that has come."""
    order, arrivals = of.by_account_as_they_come, of.arrivals
    account, size = of.account[order].astype(np.int64), of.account.size
    shown = order.astype(np.int64)
    if newest:
        # Accounts come in ascending order, so one running maximum serves all of them.
        shown = np.maximum.accumulate(account * size + shown) - account * size
    balance = of.balances[shown]
    first = np.append(True, account[1:] != account[:-1])
    delta = np.diff(balance, prepend=0)
    delta[first] = balance[first]
    steps = np.empty(size, np.int64)
    steps[order] = delta
    return Steps(of.arrives_at[arrivals], steps[arrivals])


def none(of: Transfers) -> Steps:
    """Write every message over what is there."""
    return _shown(of, newest=False)


def revision(of: Transfers) -> Steps:
    """Refuse what is older than what is there."""
    return _shown(of, newest=True)


def ordered(of: Transfers) -> Steps:
    """Hold each change back until all earlier ones of its account have come."""
    order = of.by_account
    account, span = of.account[order].astype(np.int64), int(of.arrives_at.max()) + 1
    visible = np.empty(order.size, np.int64)
    visible[order] = np.maximum.accumulate(account * span + of.arrives_at[order]) - account * span
    return visible_at(of, visible)


def watermark(of: Transfers, seconds: float) -> Steps:
    """Show what was committed `seconds` ago; what comes later than that is shown when it comes."""
    return visible_at(of, np.maximum(of.arrives_at, of.committed_at + round(seconds * MICRO)))


def by_transaction(of: Transfers) -> Steps:
    """Apply whole transactions in the order of their commits, each when all up to it has come."""
    whole = np.maximum(of.arrives_at[0::2], of.arrives_at[1::2])
    return visible_at(of, np.repeat(np.maximum.accumulate(whole), 2))


def token(of: Transfers) -> Steps:
    """Read as of the checkpoint, up to which every change has come: what is beyond it is not looked at."""
    reached = np.maximum.accumulate(of.arrives_at)
    # A checkpoint between both changes of a transfer is none: it moves with transactions.
    return visible_at(of, np.repeat(reached[1::2], 2))


def in_batches(of: Transfers, every: float, batch: int, per_batch: float) -> Steps:
    """Poll at an interval, and apply so many changes at a time, each batch in `per_batch` seconds."""
    beat = round(every * MICRO)
    poll = -(-of.committed_at // beat) * beat
    first = np.append(True, poll[1:] != poll[:-1])
    begins = np.flatnonzero(first)
    place = np.arange(poll.size) - np.repeat(begins, np.diff(np.append(begins, poll.size)))
    return visible_at(of, poll + (place // batch + 1) * round(per_batch * MICRO))


def visible_at(of: Transfers, visible: np.ndarray) -> Steps:
    """Add the amount of each change when it is visible."""
    order = np.argsort(visible, kind="stable")
    return Steps(visible[order], of.amount[order].astype(np.int64))


def impossible(steps: Steps, span: tuple[int, int]) -> tuple[float, float]:
    """Return the share of the span's time in which the total is not 0, and of the moments at which it changed."""
    last = np.append(steps.at[1:] != steps.at[:-1], True)
    total, at = np.cumsum(steps.delta)[last], steps.at[last]
    wrong = total != 0
    lasts = np.diff(np.append(at, max(span[1], int(at[-1]))))
    seconds = max(span[1], int(at[-1])) - span[0]
    return float(lasts[wrong].sum() / seconds), float(wrong.mean())


GUARDS: dict[str, Callable[[Transfers, float], Steps]] = {
    "none": lambda of, _: none(of),
    "revision": lambda of, _: revision(of),
    "ordered": lambda of, _: ordered(of),
    "polls, batches of seven": lambda of, _: in_batches(of, 1.0, 7, 0.0005),
    "watermark, half the disorder": lambda of, disorder: watermark(of, disorder / 2),
    "watermark, the whole disorder": watermark,
    "by transaction": lambda of, _: by_transaction(of),
    "token": lambda of, _: token(of),
}


def foretold(guard: str, rate: float, disorder: float) -> float | None:
    """Return the share of the time in which theory expects an impossible total; None where it says nothing.

    The transfers of which one change is seen and the other is not are as many as customers in a queue with servers for
    all (M/G/infinity): Poisson, with the mean `rate` times how long one is torn. For two delays that are uniform over
    the disorder D, that is D / 3; behind a watermark W below D, each change is late with the probability (D - W) / D,
    and then by a uniform time. This holds while an account seldom changes twice within the disorder.
    """
    if guard in ("none", "revision", "ordered"):
        return float(-np.expm1(-rate * disorder / 3))
    if guard == "watermark, half the disorder":
        # Lateness is 0 with probability 1/2, else uniform over D / 2: E|X - Y| = 2 (1/4) (D / 4) + (1/4) (D / 6).
        return float(-np.expm1(-rate * disorder / 6))
    return 0.0 if guard in ("watermark, the whole disorder", "by transaction", "token") else None
