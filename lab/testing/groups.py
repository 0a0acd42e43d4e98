"""The contract of groups, as a pytest test for each promise: `test_mine = group_contract(MyGroup)`."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from lab.ports import Assignment, ConsumerGroup, GroupMember
from lab.testing.contracts import parametrized

# Makes a group with so many partitions and seconds of a lease, or opens the one of a name.
MakeGroup = Callable[[int, float, str], ConsumerGroup]
PARTITIONS, LEASE = 4, 1.0
# Seconds within which a silent member's partitions must be another's; and between two calls of a member that lives.
_PATIENCE, _BEAT = 20.0, LEASE / 5


def settled(
    members: Iterable[GroupMember], counts: list[int], missing: set[int] | None = None
) -> list[list[Assignment]]:
    """Have members call until they have so many partitions, and all but the missing ones. Raises AssertionError."""
    listed, until = [*members], time.monotonic() + _PATIENCE
    while True:
        found = [member.assigned() for member in listed]
        owned = [one.partition for each in found for one in each]
        if [len(each) for each in found] == counts and {*owned} == {*range(PARTITIONS)} - (missing or set()):
            assert len(owned) == len({*owned}), f"a partition has two owners: {found}"
            return found
        assert time.monotonic() < until, f"{counts} partitions were to be owned: {found}"
        time.sleep(_BEAT)


def seen_at_last(look: Callable[[], bool]) -> None:
    """Look again and again, as members that live call, until it is so. Raises AssertionError."""
    until = time.monotonic() + _PATIENCE
    while not look():
        assert time.monotonic() < until
        time.sleep(_BEAT)


def one_member_has_all_partitions_and_keeps_them(make: MakeGroup) -> None:
    alone = make(PARTITIONS, LEASE, "").join("one")
    (first,) = settled([alone], [PARTITIONS])
    assert [one.partition for one in first] == [*range(PARTITIONS)]
    assert all(one.generation >= 1 for one in first)
    until = time.monotonic() + 2.5 * LEASE
    while time.monotonic() < until:
        time.sleep(_BEAT)
        assert alone.assigned() == first


def members_share_evenly_and_what_is_given_on_has_a_higher_generation(make: MakeGroup) -> None:
    group = make(PARTITIONS, LEASE, "")
    one = group.join("one")
    (found,) = settled([one], [PARTITIONS])
    first = {each.partition: each.generation for each in found}
    other = make(PARTITIONS, LEASE, group.name).join("other")
    kept, given = settled([one, other], [2, 2])
    assert all(each.generation == first[each.partition] for each in kept)
    assert all(each.generation > first[each.partition] for each in given)


def what_a_member_still_works_on_is_given_back_once_it_does_not(make: MakeGroup) -> None:
    group = make(PARTITIONS, 60.0, "")
    one = group.join("one")
    (working,) = settled([one], [PARTITIONS])
    other = group.join("other")

    def others() -> list[int]:
        return [each.partition for each in other.assigned()]

    def kept() -> list[Assignment]:
        # It hears that two are no longer its own, and keeps them until it has ended its work.
        assert not others()
        return one.assigned(working=working)

    seen_at_last(lambda: len(kept()) == 2)
    still = kept()
    assert {*still} < {*working}
    until = time.monotonic() + LEASE
    while time.monotonic() < until:
        time.sleep(_BEAT)
        assert kept() == still

    def given_on() -> bool:
        assert one.assigned(working=still) == still
        return others() == sorted(each.partition for each in {*working} - {*still})

    seen_at_last(given_on)


def what_a_silent_member_had_is_given_on_and_it_comes_to_hear_so(make: MakeGroup) -> None:
    group = make(PARTITIONS, LEASE, "")
    stalled, other = group.join("stalled"), group.join("other")
    former, _ = settled([stalled, other], [2, 2])
    (found,) = settled([other], [PARTITIONS])
    generations = {each.partition: each.generation for each in found}
    assert all(generations[each.partition] > each.generation for each in former)
    again = stalled.assigned()
    assert not {each.partition: each.generation for each in again}.items() & {
        (each.partition, each.generation) for each in former
    }
    settled([stalled, other], [2, 2])


def what_a_member_that_leaves_had_is_free_at_once(make: MakeGroup) -> None:
    group = make(PARTITIONS, 60.0, "")
    one, other = group.join("one"), group.join("other")
    settled([one, other], [2, 2])
    one.leave()
    one.leave()
    settled([other], [PARTITIONS])


def a_member_of_the_same_name_has_none_of_the_leases_of_one_that_died(make: MakeGroup) -> None:
    group = make(PARTITIONS, LEASE, "")
    (had,) = settled([group.join("one")], [PARTITIONS])
    dead = {each.partition: each.generation for each in had}
    again = group.join("one")
    assert not again.assigned()
    (found,) = settled([again], [PARTITIONS])
    assert all(each.generation > dead[each.partition] for each in found)


def a_generation_that_a_store_refused_is_followed_by_a_higher_one(make: MakeGroup) -> None:
    """As after a broker has lost what it counted."""
    member = make(PARTITIONS, LEASE, "").join("one")
    settled([member], [PARTITIONS])
    known = {1: 7_000_000, 3: 9_000_000}
    found = {each.partition: each.generation for each in member.assigned(Assignment(*one) for one in known.items())}
    # It has none of these under a generation that would be refused again.
    assert all(found.get(partition, generation + 1) > generation for partition, generation in known.items())
    (last,) = settled([member], [PARTITIONS])
    assert all(one.generation > known.get(one.partition, 0) for one in last)


def no_partition_has_two_owners_whoever_comes_and_goes(make: MakeGroup) -> None:
    """What each member is told is compared with what the others were told last."""
    come_and_go(make, alone=True)


def come_and_go(make: MakeGroup, alone: bool) -> None:
    """Members come and go; a new owner has a higher generation, and with `alone` nobody else has the partition then."""
    group, rng = make(PARTITIONS, 60.0, ""), random.Random(7)
    members: dict[str, GroupMember] = {}
    owned: dict[str, list[Assignment]] = {}
    highest = dict.fromkeys(range(PARTITIONS), 0)
    handed = step = 0
    while handed < 2 * PARTITIONS or step < 60:
        step += 1
        # Comings and goings follow each other faster than the broker hears of them, and then with time to settle.
        calm = step > 60 and sum(map(len, owned.values())) < PARTITIONS
        if not members or (len(members) < 4 and rng.random() < 0.2 and not calm):
            members[f"member {step}"] = group.join(f"member {step}")
        name = rng.choice([*members])
        if len(members) > 1 and rng.random() < 0.1 and not calm:
            members.pop(name).leave()
            owned.pop(name, None)
            continue
        if step > 60:
            time.sleep(_BEAT / 10)
        former, owned[name] = owned.get(name, []), members[name].assigned()
        listed = [each.partition for one in owned.values() for each in one]
        assert not alone or len(listed) == len({*listed})
        for each in {*owned[name]} - {*former}:
            assert each.generation > highest[each.partition]
            highest[each.partition] = each.generation
            handed += 1
        assert step < 6_000, f"only {handed} partitions were given on"


PROMISES: tuple[Callable[[MakeGroup], None], ...] = (
    one_member_has_all_partitions_and_keeps_them,
    members_share_evenly_and_what_is_given_on_has_a_higher_generation,
    what_a_member_still_works_on_is_given_back_once_it_does_not,
    what_a_silent_member_had_is_given_on_and_it_comes_to_hear_so,
    what_a_member_that_leaves_had_is_free_at_once,
    a_member_of_the_same_name_has_none_of_the_leases_of_one_that_died,
    a_generation_that_a_store_refused_is_followed_by_a_higher_one,
    no_partition_has_two_owners_whoever_comes_and_goes,
)


def group_contract(make: MakeGroup, without: Collection[Callable[[MakeGroup], None]] = ()) -> Callable[..., None]:
    """A pytest test of every promise, over groups that `make` makes or opens; all are dropped afterwards.

    `without` are promises that the broker of the tests can't keep: they need tests of their own.
    """

    def run(promise: Callable[[MakeGroup], None], _: Path) -> None:
        made: list[ConsumerGroup] = []

        def kept(partitions: int, lease_seconds: float, name: str) -> ConsumerGroup:
            made.append(make(partitions, lease_seconds, name))
            return made[-1]

        try:
            promise(kept)
        finally:
            for group in reversed(made):
                group.drop()

    return parametrized([one for one in PROMISES if one not in without], run, lambda promise: promise.__name__)
