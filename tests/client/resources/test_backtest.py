"""The command `backtest`."""

import json

from tests.client.resources.running import CommandLine
from tests.comparison.stored_pull_requests import of_run, store_history


async def test_both_rules_judge_the_stored_failures(command_line: CommandLine) -> None:
    await store_history(command_line.api)
    assert json.loads(await command_line.run("backtest", "--project", "shop", "--json")) == {
        "runs": 3,
        "not_compared": 1,
        "changed": [
            {"before": "flaky_failure", "now": "new_failure", "failures": 2},
            {"before": "new_failure", "now": "flaky_failure", "failures": 1},
        ],
        "rules": {
            "version_2": {
                "new_failures": 2, "flaky_failures": 2, "known_failures": 0, "blocked_runs": 2,
                "blocked_pull_requests": 1, "excused_failures": 1, "excused_real": 1, "excused_unverified": 0,
            },
            "current": {
                "new_failures": 3, "flaky_failures": 1, "known_failures": 0, "blocked_runs": 2,
                "blocked_pull_requests": 1, "excused_failures": 1, "excused_real": 0, "excused_unverified": 0,
            },
        },
        "pull_requests_that_would_pass": ["pr_2_1"],
        "pull_requests_that_would_be_blocked": ["pr_1_2"],
    }  # fmt: skip


async def test_table_and_days(command_line: CommandLine) -> None:
    await store_history(command_line.api)
    assert (await command_line.run("backtest", "--project", "shop")).splitlines() == [
        "failing runs of pull requests: 3 compared, 1 not compared",
        "                              0.10       now",
        "new failures                     2         3",
        "flaky failures                   2         1",
        "known failures                   0         0",
        "blocked runs                     2         2",
        "blocked pull requests            1         1",
        "excused failures                 1         1",
        "excused, were real               1         0",
        "excused, unverified              0         0",
        "flaky_failure before, new_failure now: 2",
        "new_failure before, flaky_failure now: 1",
        "pull requests by their last run: 1 would pass now, and 1 would be blocked now",
    ]
    assert (await command_line.invoke("backtest", "--project", "blog")).exit_code == 1
    await command_line.api.store.ingest(of_run("main_62", 24 * 20, {"steady": "p"}))
    text = await command_line.run("backtest", "--project", "shop", "--days", "5")
    assert text.startswith("failing runs of pull requests: 0 compared")


async def test_outage_after_a_pull_request_verifies_nothing(command_line: CommandLine) -> None:
    await store_history(command_line.api)
    cases = dict.fromkeys(["repaired", *(f"other {number}" for number in range(20))], "f")
    await command_line.api.store.ingest(of_run("outage", 62, cases, completed_at="2026-05-03T14:30:00Z"))
    document = json.loads(await command_line.run("backtest", "--project", "shop", "--json"))
    rules = document["rules"]["version_2"]
    assert (rules["excused_failures"], rules["excused_real"], rules["excused_unverified"]) == (1, 0, 1)
