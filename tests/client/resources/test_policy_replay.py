"""The option `--auto-quarantine` of `backtest`: the replay of a policy does what the policy does."""

import json
import random
from collections.abc import Iterator
from typing import Any

import pytest

from service.comparison import replay_states
from service.events.operations import number_events
from service.states.update_states import StateUpdater
from tests.client.resources.running import CommandLine
from tests.comparison.stored_pull_requests import of_run, pull_request

ACTIVE = "SELECT case_key FROM quarantines WHERE ended_at IS NULL"
COUNTS = (
    "SELECT count(*) AS quarantined, count(*) FILTER (WHERE ended_at IS NOT NULL) AS ended FROM quarantines"
    " WHERE created_by = 'policy'"
)


async def backtest(command_line: CommandLine, policy: str, *arguments: str) -> dict[str, int]:
    options = ("--project", "shop", "--auto-quarantine", policy, "--json", *arguments)
    counts: dict[str, int] = json.loads(await command_line.run("backtest", *options))["auto_quarantine"]
    return counts


def random_runs() -> Iterator[dict[str, Any]]:
    """Yield runs in two environments: 2 flaky cases that break in one, 2 that stop to be flaky, and 12 healthy ones."""
    chance = random.Random(8)
    for number in range(1, 121):
        environment = "a" if chance.random() < 0.7 else "b"
        letters = ["F" if chance.random() < 0.25 and (case < 2 or number < 40) else "p" for case in range(4)]
        if environment == "a" and 50 <= number < 80:
            letters[:2] = "ff"
        cases = {f"case {case}": letter for case, letter in enumerate([*letters, *"p" * 12])}
        yield of_run(f"main_{number}", number, cases, environment=environment)


@pytest.mark.parametrize("max_share", [pytest.param(0.5, marks=pytest.mark.slow), 0.2])
async def test_replay_does_what_the_policy_did(
    command_line: CommandLine, monkeypatch: pytest.MonkeyPatch, max_share: float
) -> None:
    api = command_line.api
    monkeypatch.setattr(replay_states, "MAX_PAGE_S", 0)  # one run per page
    policy = {"max_share": max_share, "days": 90, "release_after_runs": 10}
    largest, updater = 0, StateUpdater(api.store.pool)
    for number, event in enumerate(random_runs()):
        await api.store.ingest(event)
        if number == 0:
            assert (await api.send("PATCH", "/v1/projects/shop", json={"auto_quarantine": policy})).status == 200
        await number_events(api.store.pool)
        await updater.update()
        largest = max(largest, len(await api.store.pool.fetch(ACTIVE)))
    (did,) = await api.store.pool.fetch(COUNTS)
    counts = await backtest(command_line, f"max_share={max_share},days=90,release_after_runs=10")
    assert counts["limit"] == int(max_share * 16)
    assert (counts["quarantined"], counts["largest_number_at_once"]) == (did["quarantined"], largest)
    assert counts["ended_broken"] + counts["released_healthy"] == did["ended"]
    assert counts["ended_broken"] >= 1
    assert counts["released_healthy"] >= 1
    options = (f"max_share={max_share},days=90,release_after_runs=10", "--days", "1")
    assert (await backtest(command_line, *options))["ended_broken"] == 0  # since run 96


async def test_failures_of_pull_requests_and_days(command_line: CommandLine) -> None:
    api = command_line.api
    main = [
        of_run(
            f"main_{number}", number + 40 * (number > 60), {"rare": "F" if number in (5, 30) else "p", "steady": "p"}
        )
        for number in range(1, 201)
    ]
    await api.store.ingest(
        *main,
        pull_request(1, 1, 20, {"rare": "f", "steady": "p"}),  # not quarantined yet
        pull_request(2, 1, 61, {"rare": "f", "steady": "p"}),
        pull_request(3, 1, 61, {"rare": "f", "steady": "p"}),
        pull_request(3, 2, 62, {"rare": "f", "steady": "f"}),
        pull_request(4, 1, 170, {"rare": "f", "steady": "p"}),  # new, because the newest 100 runs passed
    )
    await number_events(api.store.pool)
    await StateUpdater(api.store.pool).update()
    policy = "max_share=0.5,days=14,release_after_runs=500"
    assert await backtest(command_line, policy) == {
        "limit": 1, "quarantined": 1, "largest_number_at_once": 1, "ended_broken": 0, "released_healthy": 0,
        "excused_failures": 4, "pull_requests_that_would_pass": 2,
    }  # fmt: skip
    assert (await backtest(command_line, policy, "--days", "3"))["excused_failures"] == 1
    assert (await backtest(command_line, "max_share=0.4,days=14,release_after_runs=500"))["quarantined"] == 0
    expiring = "max_share=0.5,days=1,release_after_runs=500"  # no run renews it during 41 hours
    assert (await backtest(command_line, expiring))["quarantined"] == 2
    text = await command_line.run("backtest", "--project", "shop", "--auto-quarantine", policy)
    assert text.splitlines()[-7:] == [
        "automatic quarantine, limit: 1",
        "automatic quarantine, quarantined: 1",
        "automatic quarantine, largest number at once: 1",
        "automatic quarantine, ended broken: 0",
        "automatic quarantine, released healthy: 0",
        "automatic quarantine, excused failures: 4",
        "automatic quarantine, pull requests that would pass: 2",
    ]


@pytest.mark.parametrize("policy", ["", "days=14", "max_share=0.05,days=0,release_after_runs=5", "max_share,days=1"])
async def test_invalid_policy(command_line: CommandLine, policy: str) -> None:
    called = await command_line.invoke("backtest", "--project", "shop", "--auto-quarantine", policy)
    assert (called.exit_code, "must be such as max_share=0.05" in called.stderr) == (2, True)
