"""Subscriptions of the consumers of one queue in one process: one while the queue is isolated, all afterwards."""

import asyncio
from typing import Any

from consumers.isolation import PREFETCH, Isolation, Subscription

LATER_S = 60.0  # after the isolation


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Consumer:
    """A consumer of one queue."""

    def __init__(self, isolation: Isolation, queue: str) -> None:
        self._isolation = isolation
        self._queue = queue
        self.changed = asyncio.Event()

    def try_subscribe(self) -> Subscription | None:
        self.changed.clear()
        return self._isolation.try_subscribe(self._queue, 2, self.changed)

    def subscribe(self) -> Subscription:
        subscription = self.try_subscribe()
        assert subscription is not None
        return subscription


def new_isolation(clock: Clock) -> Isolation:
    suspects: Any = None  # not used by subscriptions
    return Isolation(suspects, clock)


def test_all_consumers_subscribe_after_the_first_message() -> None:
    isolation = new_isolation(Clock())
    first, second = Consumer(isolation, "events"), Consumer(isolation, "large")
    isolated = first.subscribe()
    assert (isolated.is_isolated, isolated.prefetch_count) == (True, 1)
    assert second.try_subscribe() is None
    isolation.observe(1, suspect=False)
    assert first.changed.is_set()
    assert not isolation.is_current(isolated)
    isolation.unsubscribe(isolated)
    assert second.changed.is_set()
    assert [(each.is_isolated, each.prefetch_count) for each in (first.subscribe(), second.subscribe())] == [
        (False, 2 * PREFETCH)
    ] * 2


def test_isolation_ends_without_another_message() -> None:
    clock = Clock()
    isolation = new_isolation(clock)
    isolation.observe(1, suspect=True)
    subscription = Consumer(isolation, "events").subscribe()
    assert isolation.is_current(subscription)
    clock.now_s += isolation.remaining_s(subscription)
    assert 0 < clock.now_s < LATER_S
    assert not isolation.is_current(subscription)


def test_isolated_consumer_waits_until_all_others_have_unsubscribed() -> None:
    isolation = new_isolation(Clock())
    isolation.observe(1, suspect=False)
    normal, other = Consumer(isolation, "events"), Consumer(isolation, "large")
    subscription = normal.subscribe()
    isolation.observe(1, suspect=True)
    assert normal.changed.is_set()
    assert not isolation.is_current(subscription)
    assert other.try_subscribe() is None
    isolation.unsubscribe(subscription)
    assert other.changed.is_set()
    assert other.subscribe().is_isolated


def test_consumers_of_two_queues_take_turns_while_both_are_isolated() -> None:
    clock = Clock()
    isolation = new_isolation(clock)
    first, second = Consumer(isolation, "events"), Consumer(isolation, "large")
    subscription = first.subscribe()
    clock.now_s = LATER_S
    assert isolation.is_current(subscription), "no consumer of another queue waits"
    assert second.try_subscribe() is None
    assert first.changed.is_set()
    assert not isolation.is_current(subscription)
    isolation.unsubscribe(subscription)
    assert first.try_subscribe() is None, "the other one waits longer"
    turn = second.subscribe()
    assert isolation.is_current(turn)
    clock.now_s += isolation.remaining_s(turn)
    assert not isolation.is_current(turn)


def test_queue_that_became_empty_takes_no_turn() -> None:
    """Another process handles the only large message while this process waits for the turn of the large queue."""
    isolation = new_isolation(Clock())
    events, large = Consumer(isolation, "events"), Consumer(isolation, "large")
    subscription = events.subscribe()
    assert large.try_subscribe() is None
    isolation.stop_waiting("large")
    isolation.unsubscribe(subscription)
    assert events.subscribe().is_isolated


def test_subscription_of_an_earlier_connection_does_not_count() -> None:
    isolation = new_isolation(Clock())
    earlier = Consumer(isolation, "events").subscribe()
    isolation.restart()
    assert Consumer(isolation, "events").subscribe().is_isolated
    isolation.unsubscribe(earlier)
    assert Consumer(isolation, "large").try_subscribe() is None
