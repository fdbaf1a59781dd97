"""The number of concurrent attempts and of claimed deliveries of each endpoint."""

from typing import NamedTuple

from service.domain.endpoint_limiter import EndpointLimiter
from service.domain.ids import OrgId

FAST, SLOW = (OrgId(1), "fast"), (OrgId(1), "slow")
FAST_S, SLOW_S = 0.01, 2.0
INITIAL, LARGEST, MAX_PENDING = 4, 50, 1_000


class Delivery(NamedTuple):
    start_by: float = 100.0


def warmed_up(*endpoints: tuple[tuple[OrgId, str], float]) -> EndpointLimiter[Delivery]:
    """Return a limiter whose endpoints have the largest window, each with its duration of an attempt."""
    limiter = EndpointLimiter[Delivery](INITIAL, LARGEST, MAX_PENDING)
    for endpoint, duration_s in endpoints:
        limiter.add(endpoint, [Delivery()] * (LARGEST * 2), 0)
        for _ in range(LARGEST):
            limiter.finish(endpoint, 0, duration_s, succeeded=True)
    return limiter


def test_more_deliveries_are_claimed_in_advance_for_a_faster_endpoint() -> None:
    assert warmed_up((FAST, FAST_S)).capacities()[FAST] == MAX_PENDING
    assert warmed_up((SLOW, SLOW_S)).capacities()[SLOW] == 0  # 50 in flight of 50, and 13 can wait
    assert not warmed_up((SLOW, SLOW_S)).has_capacity(SLOW)


def test_busy_endpoints_share_the_claimed_deliveries_that_wait() -> None:
    capacities = warmed_up((FAST, FAST_S), ((OrgId(2), "fast"), FAST_S)).capacities()
    assert set(capacities.values()) == {MAX_PENDING // 2}


def test_delivery_that_waited_for_most_of_its_lease_is_released_instead_of_attempted() -> None:
    limiter = EndpointLimiter[Delivery](1, LARGEST, MAX_PENDING)
    old, new = Delivery(start_by=10), Delivery(start_by=20)
    assert limiter.add(FAST, [Delivery(), old, new], 5).attempt == [Delivery()]
    following = limiter.finish(FAST, 15, FAST_S, succeeded=True)
    assert (following.attempt, following.release) == ([new], [old])


def test_only_repeated_failures_release_the_deliveries_that_wait() -> None:
    limiter = warmed_up((FAST, FAST_S))
    limiter.add(FAST, [Delivery()] * MAX_PENDING, 0)
    assert limiter.finish(FAST, 0, FAST_S, succeeded=False).release == []
    released = [limiter.finish(FAST, 0, FAST_S, succeeded=False).release for _ in range(3)]
    assert list(map(len, released)) == [0, 0, MAX_PENDING]
