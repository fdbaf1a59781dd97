"""The number of concurrent attempts and of leased deliveries of each endpoint."""

from typing import NamedTuple

import pytest

from service.domain.ids import OrgId
from service.webhooks.endpoint_limiter import EndpointLimiter

FAST, SLOW = (OrgId(1), "fast"), (OrgId(1), "slow")
FAST_S, SLOW_S = 0.01, 2.0
INITIAL, LARGEST, MAX_PENDING = 4, 50, 1_000
UNUSED_S = 60  # after which an endpoint is forgotten


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


def test_more_deliveries_are_leased_in_advance_for_a_faster_endpoint() -> None:
    assert warmed_up((FAST, FAST_S)).capacities(0)[FAST] == MAX_PENDING
    assert warmed_up((SLOW, SLOW_S)).capacities(0)[SLOW] == 0  # 50 in flight of 50, and 13 can wait
    assert not warmed_up((SLOW, SLOW_S)).has_capacity(SLOW)


def test_busy_endpoints_share_the_leased_deliveries_that_wait() -> None:
    capacities = warmed_up((FAST, FAST_S), ((OrgId(2), "fast"), FAST_S)).capacities(0)
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


def finish_all(limiter: EndpointLimiter[Delivery], now: float, *, succeeded: bool) -> None:
    """End the attempts of a limiter whose one endpoint has the largest window in flight."""
    for _ in range(LARGEST):
        limiter.finish(FAST, now, FAST_S, succeeded=succeeded)


@pytest.mark.parametrize("succeeded", [True, False])
def test_endpoint_without_attempts_for_a_minute_is_forgotten(succeeded: bool) -> None:
    limiter = warmed_up((FAST, FAST_S))
    finish_all(limiter, now=100, succeeded=succeeded)
    assert set(limiter.capacities(100 + UNUSED_S - 1)) == {FAST}
    assert limiter.capacities(100 + UNUSED_S) == {}


def test_endpoint_whose_deliveries_were_all_released_is_forgotten() -> None:
    limiter = EndpointLimiter[Delivery](INITIAL, LARGEST, MAX_PENDING)
    assert limiter.add(FAST, [Delivery(start_by=10)], now=20).attempt == []
    assert limiter.capacities(20 + UNUSED_S) == {}


def test_endpoint_with_an_attempt_in_progress_is_not_forgotten() -> None:
    limiter = EndpointLimiter[Delivery](INITIAL, LARGEST, MAX_PENDING)
    limiter.add(FAST, [Delivery()], now=0)
    assert limiter.capacities(10 * UNUSED_S) == {FAST: INITIAL - 1}
