"""Scripts of records that come back, of batches of very unlike sizes, of two owners, and of whole transactions."""

from __future__ import annotations

from dataclasses import replace

from lab.kit.families import Family, Random, Setting, chunks, delivered, shuffled
from lab.kit.history import Planned, build, draw
from lab.kit.script import Commit, Deliver, Poll, Step, Takeover, TrialCase, Wake


def reborn(*, ordered: bool, messages: float = 0.5) -> Family:
    """Records are deleted and created again; in order, or also with messages that overtake each other."""

    def family(rng: Random, setting: Setting) -> TrialCase:
        if rng.random() < 0.3:
            # A record moves: it is deleted under one key and created under another, and moves back.
            plan = [Planned(1)]
            for at in range(int(rng.integers(2, 5))):
                plan += [Planned(1 + at % 2, True), Planned(2 - at % 2)]
            history = build(plan, setting.shape)
        else:
            history = draw(rng, setting.shape, deletes=0.4, recreate=True)
        case = delivered(rng, setting, history, messages)
        if not ordered and rng.random() < 0.4:
            sent = shuffled(rng, history.commits, float(rng.choice([2.0, 6.0])))
            script: list[Step] = [Commit(history.commits), *(Deliver(chunk) for chunk in chunks(rng, sent))]
            case = TrialCase(history, tuple(script))
        return replace(case, recreates=True)

    return family


def unlike_batches(rng: Random, setting: Setting) -> TrialCase:
    """Everything once and in order, in batches of one, of a few, and of many; some states don't change."""
    history = draw(rng, setting.shape, deletes=0.2, nulls=0.2, recreate=setting.recreate, longest=40)
    plan = list(history.plan)
    values: dict[int, tuple[tuple[str, object], ...]] = {}
    for index, item in enumerate(plan):
        if item.record in values and not item.deleted and rng.random() < 0.1:
            plan[index] = item._replace(values=values[item.record])
        change = history.at(index + 1)
        values[item.record] = tuple((name, change[name]) for name, _ in setting.shape.columns if name in change)
    history = build(plan, setting.shape, history.commits)
    script: list[Step] = []
    start = 0
    while start < len(history.commits):
        size = int(rng.choice([1, 2, 7, 40]))
        chunk = history.commits[start : start + size]
        script += [Commit(chunk), Deliver(chunk)]
        start += size
    return TrialCase(history, tuple(script))


def two_owners(rng: Random, setting: Setting) -> TrialCase:
    """An owner freezes with a batch in hand, a second one takes over, and the first goes on later."""
    history = draw(rng, setting.shape, deletes=0.0, longest=10)
    script: list[Step] = []
    frozen = False
    for chunk in chunks(rng, history.commits):
        script.append(Commit(chunk))
        if not frozen and rng.random() < 0.5:
            script.append(Takeover(chunk))
            frozen = True
        script.append(Deliver(chunk))
        if frozen and rng.random() < 0.3:
            script.append(Wake())
            frozen = False
    return TrialCase(history, (*script, Wake()) if frozen else tuple(script))


def transactions(rng: Random, setting: Setting) -> TrialCase:
    """Transactions of several changes, in batches and pages that cut them: transfers, and records that move."""
    plan: list[Planned] = []
    alive: list[int] = []
    for number in range(1, int(rng.integers(2, 7))):
        kind = rng.random()
        if len(alive) >= 1 and kind < 0.45:
            # A key changes: the record is deleted under the former one and created under another.
            old, new = alive.pop(int(rng.integers(len(alive)))), max(item.record for item in plan) + 1
            plan += [Planned(old, True, transaction=number), Planned(new, transaction=number)]
            alive.append(new)
        elif len(alive) >= 2 and kind < 0.9:
            one, other = (int(item) for item in rng.choice(alive, 2, replace=False))
            plan += [Planned(one, transaction=number), Planned(other, transaction=number)]
        else:
            new = max((item.record for item in plan), default=0) + 1
            plan += [Planned(record, transaction=number) for record in (new, new + 1)]
            alive += [new, new + 1]
    history = build(plan, setting.shape)
    by_messages = bool(rng.random() < 0.5)
    script: list[Step] = []
    # A transaction is committed as a whole, and cut afterwards.
    for change in history.changes:
        if change["transaction"] == change["position"]:
            whole = tuple(range(change["position"], change["position"] + change["transaction_size"]))
            script.append(Commit(whole))
            if not by_messages and rng.random() < 0.6:
                script.append(Poll(int(rng.integers(1, 4))))
    if by_messages:
        script += [Deliver(chunk) for chunk in chunks(rng, history.commits, 3)]
    # A feed of last states has no transactions.
    return TrialCase(history, tuple(script), not by_messages, int(rng.integers(1, 4)))
