"""Tests of the delays between retries."""

from itertools import islice, repeat

from service.domain.backoff import Backoff, limited


def test_delays_double_up_to_the_longest() -> None:
    assert list(islice(Backoff(0.5, 3.0, jitter=0), 5)) == [0.5, 1.0, 2.0, 3.0, 3.0]


def test_jitter_limits_the_variation() -> None:
    delays = [next(Backoff(1.0, 10.0, jitter=0.2)) for _ in range(1_000)]
    assert 0.8 <= min(delays) < 0.9
    assert 1.1 < max(delays) <= 1.2


def test_reset_restarts_with_the_first_delay() -> None:
    backoff = Backoff(1.0, 10.0, jitter=0)
    assert list(islice(backoff, 3)) == [1.0, 2.0, 4.0]
    backoff.reset()
    assert next(backoff) == 1.0


def test_limited_delays_end_after_the_total() -> None:
    assert list(limited(repeat(2.0), 5)) == [2.0, 2.0, 1.0]
    assert list(limited(repeat(2.0), 0)) == []
