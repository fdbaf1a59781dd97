"""The retry schedule of webhook deliveries, as the design and the settings define it."""

import pytest

from service.settings import InvalidSettings, read_settings
from service.webhooks.model import DeliveryPolicy

HOUR_S = 3600


def test_retries_follow_the_published_schedule() -> None:
    policy = DeliveryPolicy(jitter=0)
    delays_s = [policy.retry_delay_s(attempts) for attempts in range(1, policy.max_attempts + 1)]
    hours = [2, 5, 10, 14, 20, 24]
    assert delays_s == [5, 300, 1800, *(hour * HOUR_S for hour in hours), None]


def test_delays_vary_by_the_jitter() -> None:
    delays_s = [DeliveryPolicy().retry_delay_s(2) or 0 for _ in range(1_000)]
    assert 240 <= min(delays_s) < 260
    assert 340 < max(delays_s) <= 360


def test_retry_after_extends_a_delay_up_to_its_limit() -> None:
    policy = DeliveryPolicy(jitter=0)
    assert policy.retry_delay_s(1, 1) == 5
    assert policy.retry_delay_s(1, 60) == 60
    assert policy.retry_delay_s(1, 1e9) == 24 * HOUR_S


def test_lease_ends_after_an_attempt_that_started_as_late_as_possible() -> None:
    policy = DeliveryPolicy(attempt_timeout_s=40)
    assert policy.lease.total_seconds() > policy.longest_wait_s + 40


def test_schedule_can_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESULTS_WEBHOOK_RETRY_DELAYS_S", "1, 2.5,60")
    monkeypatch.setenv("RESULTS_WEBHOOK_BREAKER_FAILURES", "7")
    policy = read_settings().delivery_policy
    assert policy.retry_delays_s == (1, 2.5, 60)
    assert policy.max_attempts == 4
    assert policy.breaker_failures == 7


def test_settings_default_to_the_policy() -> None:
    assert read_settings().delivery_policy == DeliveryPolicy()


@pytest.mark.parametrize("value", ["5;300", "five", "-1", "nan", "inf", "1,", ",".join("1" * 51)])
def test_invalid_schedule_names_the_setting(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("RESULTS_WEBHOOK_RETRY_DELAYS_S", value)
    with pytest.raises(InvalidSettings, match=r"^RESULTS_WEBHOOK_RETRY_DELAYS_S: must be 1 to 50 delays in seconds"):
        read_settings()
