"""Groups on brokers keep the contract of a group: assignments, take-over, generations that rise."""

from __future__ import annotations

import pytest

from lab.channel.groups import GROUPS
from lab.channel.nats_group import NatsGroup
from lab.channel.redis_group import RedisGroup, RedisMember
from lab.testing.groups import (
    group_contract,
    members_share_evenly_and_what_is_given_on_has_a_higher_generation,
    what_a_silent_member_had_is_given_on_and_it_comes_to_hear_so,
)

test_redis_group = pytest.mark.server("redis")(group_contract(RedisGroup))
test_nats_group = pytest.mark.server("nats")(group_contract(NatsGroup))


def test_groups_are_found_by_the_name_of_their_broker() -> None:
    assert {*GROUPS} >= {"redis", "nats"}
    assert "rabbitmq" not in GROUPS


class Forgetful(RedisMember):
    """Believes for ever that it has what it once had."""

    def _renew(self, partition: int) -> bool:
        return True


class CountsAnew(RedisMember):
    """Gives every assignment the same generation."""

    def _take(self, partition: int, above: int) -> int | None:
        return 1 if super()._take(partition, above) else None


@pytest.mark.server("redis")
@pytest.mark.parametrize(
    ("broken", "promise"),
    [
        (Forgetful, what_a_silent_member_had_is_given_on_and_it_comes_to_hear_so),
        (CountsAnew, members_share_evenly_and_what_is_given_on_has_a_higher_generation),
    ],
    ids=lambda one: one.__name__,
)
def test_a_group_that_breaks_a_promise_is_found_out(
    broken: type[RedisMember], promise: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[RedisGroup] = []

    class Broken(RedisGroup):
        def join(self, member: str) -> RedisMember:
            return broken(self, member)

    def make(partitions: int, lease_seconds: float, name: str) -> RedisGroup:
        made.append(Broken(partitions, lease_seconds, name))
        return made[-1]

    try:
        with pytest.raises(AssertionError):
            promise(make)  # type: ignore[operator]
    finally:
        for group in made:
            group.drop()
