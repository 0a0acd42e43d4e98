"""What a live channel promises: order, groups, bounded queues, and redelivery of what was not acknowledged."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from lab.base import Unavailable
from lab.ports import Channel, Delivery, Message, Subscription
from lab.testing.contracts import parametrized

# Makes an empty channel whose queues hold so many messages.
MakeChannel = Callable[[int], Channel]
ROOM = 100


def messages(positions: Iterable[int]) -> list[Message]:
    """Messages of three records, published at their position."""
    return [Message(position, ("item", position % 3), float(position), f"change {position}") for position in positions]


def _taken(subscription: Subscription, most: int = ROOM) -> list[Delivery]:
    found: list[Delivery] = []
    while len(found) < most and (more := subscription.take(most - len(found), 0.05)):
        found += more
    return found


def _positions(deliveries: Iterable[Delivery]) -> list[int]:
    return [item.message.position for item in deliveries]


def what_is_published_arrives_once_and_in_order(make: MakeChannel) -> None:
    channel = make(ROOM)
    subscription = channel.subscribe("group", "one")
    channel.publish(messages([1, 2]))
    channel.publish(messages([3, 4, 5]))
    found = _taken(subscription, 3) + _taken(subscription)
    assert [item.message for item in found] == messages(range(1, 6))
    assert {item.attempt for item in found} == {1}
    assert len({item.tag for item in found}) == 5
    subscription.acknowledge(found)
    assert subscription.take(ROOM, 0.0) == []


def a_group_gets_what_is_published_after_it_joined(make: MakeChannel) -> None:
    channel = make(ROOM)
    channel.publish(messages([1]))
    subscription = channel.subscribe("group", "one")
    channel.publish(messages([2]))
    assert _positions(_taken(subscription)) == [2]


def every_group_gets_every_message_and_one_member_of_each(make: MakeChannel) -> None:
    channel = make(ROOM)
    one, other = (channel.subscribe("shared", name) for name in ("one", "other"))
    alone = channel.subscribe("alone", "one")
    channel.publish(messages(range(1, 11)))
    first, second = _taken(one, 4), _taken(other)
    assert sorted(_positions(first + second)) == list(range(1, 11))
    assert len(first) == 4
    assert _positions(_taken(alone)) == list(range(1, 11))


def what_a_member_that_left_did_not_acknowledge_comes_first(make: MakeChannel) -> None:
    channel = make(ROOM)
    one, other = (channel.subscribe("group", name) for name in ("one", "other"))
    channel.publish(messages(range(1, 7)))
    found = _taken(one, 4)
    one.acknowledge(found[1:2])
    one.close()
    one.close()
    assert one.take(ROOM, 0.0) == []
    again = _taken(other)
    assert _positions(again) == [1, 3, 4, 5, 6]
    assert [item.attempt for item in again] == [2, 2, 2, 1, 1]


def a_member_that_starts_again_gets_what_it_had_taken(make: MakeChannel) -> None:
    channel = make(ROOM)
    dead = channel.subscribe("group", "one")
    channel.publish(messages([1, 2, 3]))
    left = _taken(dead, 2)
    again = channel.subscribe("group", "one")
    dead.acknowledge(left)
    found = _taken(again)
    assert _positions(found) == [1, 2, 3]
    assert [item.attempt for item in found] == [2, 2, 1]
    channel.publish(messages([4]))
    assert dead.take(ROOM, 0.0) == []
    assert _positions(_taken(again)) == [4]


def what_is_refused_is_delivered_again_before_the_rest(make: MakeChannel) -> None:
    channel = make(ROOM)
    subscription = channel.subscribe("group", "one")
    channel.publish(messages(range(1, 6)))
    found = _taken(subscription, 3)
    subscription.refuse(found[:2])
    again = _taken(subscription)
    assert _positions(again) == [1, 2, 4, 5]
    assert [item.attempt for item in again] == [2, 2, 1, 1]


def acknowledging_twice_or_something_unknown_does_nothing(make: MakeChannel) -> None:
    channel = make(ROOM)
    subscription = channel.subscribe("group", "one")
    channel.publish(messages([1, 2]))
    (found,) = subscription.take(1, 0.05)
    subscription.acknowledge([found, found])
    subscription.refuse([found])
    assert _positions(_taken(subscription)) == [2]


def a_full_queue_refuses_all_of_what_is_published_and_loses_nothing(make: MakeChannel) -> None:
    channel = make(3)
    subscription = channel.subscribe("group", "one")
    channel.publish(messages([1, 2]))
    try:
        channel.publish(messages([3, 4]))
    except Unavailable:
        pass
    else:
        raise AssertionError("a fourth message found room in a queue of three")
    found = _taken(subscription)
    assert _positions(found) == [1, 2]
    subscription.acknowledge(found)
    channel.publish(messages([3, 4]))
    assert _positions(_taken(subscription)) == [3, 4]


def after_a_drop_nothing_is_left(make: MakeChannel) -> None:
    channel = make(ROOM)
    former = channel.subscribe("group", "one")
    channel.publish(messages([1]))
    channel.drop()
    assert former.take(ROOM, 0.0) == []
    assert channel.subscribe("group", "one").take(ROOM, 0.0) == []


PROMISES: tuple[Callable[[MakeChannel], None], ...] = (
    what_is_published_arrives_once_and_in_order,
    a_group_gets_what_is_published_after_it_joined,
    every_group_gets_every_message_and_one_member_of_each,
    what_a_member_that_left_did_not_acknowledge_comes_first,
    a_member_that_starts_again_gets_what_it_had_taken,
    what_is_refused_is_delivered_again_before_the_rest,
    acknowledging_twice_or_something_unknown_does_nothing,
    a_full_queue_refuses_all_of_what_is_published_and_loses_nothing,
    after_a_drop_nothing_is_left,
)


def channel_contract(make: MakeChannel) -> Callable[..., None]:
    """A pytest test of every promise, over the empty channels of a given capacity that `make` makes."""
    return parametrized(PROMISES, lambda promise, _: promise(make), lambda promise: promise.__name__)
