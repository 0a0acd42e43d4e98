"""`assert_converges`, `check`, and strategies for hypothesis: projectors of your own on trial in your own tests."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from lab.base import BadInput, MissingDriver, Problem
from lab.kit.check import SEED, Result, judge
from lab.kit.history import Change, Planned, Shape, build
from lab.kit.settings import contract, replayed
from lab.kit.subject import load, subject

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy


def check(
    projector: Any,
    *,
    seed: int = SEED,
    histories: int | None = None,
    properties: Sequence[str] | None = None,
    delivery: str = "out-of-order",
) -> Result:
    """Try a projector: a class, a function that makes one, a decorated function, an object, or "module:object".

    `delivery` is what the feed promises: "in-order", "at-least-once" or "out-of-order". The result has a `verdict`, and
    one of each property with its witness. What the projector prints goes to standard error. Raises BadInput for
    something that is no projector.
    """
    if histories is not None and histories < 1:
        raise BadInput([Problem("histories", f"{histories} histories show nothing", "at least 1")])
    chosen = contract(delivery, ",".join(properties or ()))
    with contextlib.redirect_stdout(sys.stderr):
        found = load(projector) if isinstance(projector, str) else subject(projector)
        options = found.options(seed, histories, chosen, delivery)
        return judge(found.under(delivery), options, found.name, _replay(projector, delivery, chosen))


def _replay(projector: Any, delivery: str, properties: Sequence[str]) -> Callable[[int, int], str]:
    """The command that does it again; of what the command line can't find, the call."""
    named = projector if hasattr(projector, "__qualname__") else type(projector)
    target = projector if isinstance(projector, str) else f"{named.__module__}:{named.__qualname__}"
    if "<locals>" in target or target.startswith("__main__:"):
        name = named.__name__
        more = "" if delivery == "out-of-order" else f", delivery={delivery!r}"
        return lambda seed, rounds: f"assert_converges({name}, seed={seed}, histories={rounds}{more})"
    return lambda seed, rounds: f"lab check {target} {replayed(delivery, properties, seed, rounds)}"


def assert_converges(
    projector: Any,
    *,
    seed: int = SEED,
    histories: int | None = None,
    properties: Sequence[str] | None = None,
    delivery: str = "out-of-order",
) -> None:
    """Raise AssertionError with the smallest witness of each property that fails, what to do, and how to do it again.

    Restrict `properties` where a projector promises less, and say by `delivery` what its feed promises. A property that
    can't be known is no failure.
    """
    __tracebackhide__ = True
    result = check(projector, seed=seed, histories=histories, properties=properties, delivery=delivery)
    if result.verdict != "pass":
        raise AssertionError(f"{result.name} does not converge\n\n{result.text()}")


def _strategies() -> Any:
    try:
        from hypothesis import strategies
    except ModuleNotFoundError:
        raise MissingDriver("the strategies need hypothesis; get it with: pip install hypothesis") from None
    return strategies


def histories(
    *,
    key: str = "int",
    columns: dict[str, Any] | None = None,
    records: int = 4,
    changes: int = 25,
    recreate: bool = False,
) -> SearchStrategy[list[Change]]:
    """Strategy: what a source of truth committed, in order; with tombstones, and with nulls.

    `columns` are the state's own, each int, float, str or bool. With `recreate`, a record may come back after its
    tombstone.
    """
    st = _strategies()
    shape = Shape(key, tuple(columns.items())) if columns else Shape(key)
    rows = st.lists(st.tuples(st.integers(1, records), st.booleans(), st.booleans()), min_size=1, max_size=changes)

    def made(drawn: list[tuple[int, bool, bool]]) -> list[Change]:
        plan: list[Planned] = []
        alive: dict[int, bool] = {}
        for record, delete, null in drawn:
            if alive.get(record) is False and not recreate:
                continue
            # What isn't there can't be deleted.
            deleted = delete and alive.get(record, False)
            alive[record] = not deleted
            plan.append(Planned(record, deleted, null))
        return [dict(change) for change in build(plan, shape).changes]

    strategy: SearchStrategy[list[Change]] = rows.map(made)
    return strategy


def deliveries(
    history: SearchStrategy[list[Change]] | None = None, *, batch: int = 4
) -> SearchStrategy[list[list[Change]]]:
    """Strategy: the same as a channel brings it, in batches: each change at least once, in any order.

    Whatever came, `live` of all changes in them is what `rows()` must amount to.
    """
    st = _strategies()

    def sent(changes: list[Change]) -> Any:
        some = st.lists(st.sampled_from(changes), max_size=len(changes))
        return some.flatmap(lambda again: st.permutations([*changes, *again]))

    def cut(drawn: tuple[list[Change], list[int]]) -> list[list[Change]]:
        changes, sizes = drawn
        batches: list[list[Change]] = []
        start = 0
        for size in [*sizes, len(changes)]:
            if start < len(changes):
                batches.append([dict(change) for change in changes[start : start + size]])
            start += size
        return batches

    order = (histories() if history is None else history).flatmap(sent)
    cuts = st.lists(st.integers(1, batch), max_size=60)
    strategy: SearchStrategy[list[list[Change]]] = st.tuples(order, cuts).map(cut)
    return strategy
