"""`backtest`: the failures of stored pull requests, judged by the rules of version 2 and by the current ones."""

import json
from typing import Any

from tests.administration.test_command_line import in_process
from tests.run_events import result, run_event
from tests.served import Api

STATUSES = {"p": "passed", "f": "failed"}


def of_run(run_id: str, hour: int, cases: dict[str, str], **fields: Any) -> dict[str, Any]:
    """Return a run with a result of each case: `p` passed, `f` failed, `F` passed on a retry, and `.` none."""
    attempts = [{"status": "failed"}, {"status": "passed"}]
    results = [
        result(name, **({"attempts": attempts} if letter == "F" else {"status": STATUSES[letter]}))
        for name, letter in cases.items()
        if letter != "."
    ]
    completed_at = f"2026-05-{1 + hour // 24:02}T{hour % 24:02}:00:00Z"
    return run_event(run_id, results, **{"branch": "main", "completed_at": completed_at} | fields)


def pull_request(number: int, attempt: int, hour: int, cases: dict[str, str]) -> dict[str, Any]:
    topic = {"branch": f"topic_{number}", "base_branch": "main", "pull_request": str(number)}
    return of_run(f"pr_{number}_{attempt}", hour, cases, **topic)


async def store_history(api: Api) -> None:
    """Store 60 runs of main: `repaired` was broken until run 48, `rare` failed twice, and `steady` never."""
    main = [
        of_run(f"main_{number}", number, {
            "repaired": "f" if 41 <= number <= 48 else "p",
            "rare": "F" if number in (5, 30) else "p",
            "steady": "p",
        })
        for number in range(1, 61)
    ]  # fmt: skip
    await api.store.ingest(
        *main,
        pull_request(1, 1, 61, {"repaired": "f", "rare": "p", "steady": "f"}),
        pull_request(1, 2, 62, {"repaired": "f", "rare": "p", "steady": "p"}),
        pull_request(2, 1, 62, {"repaired": "p", "rare": "f", "steady": "p"}),
        pull_request(3, 1, 62, {"repaired": "p", "rare": "p", "steady": "p"}),
        of_run("elsewhere", 62, {"rare": "f"}, branch="topic", base_branch="none", pull_request="4"),
        of_run("main_61", 63, {"repaired": "f", "rare": "p", "steady": "p"}),
    )


async def backtest(database_url: str, *arguments: str) -> tuple[int, str, str]:
    return await in_process(database_url, "backtest", "--organization", "acme", *arguments)


async def test_both_rules_judge_the_stored_failures(api: Api, database_url: str) -> None:
    await store_history(api)
    code, out, err = await backtest(database_url, "--json")
    assert code == 0, (out, err)
    assert json.loads(out) == {
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


async def test_table_of_a_project_and_of_days(api: Api, database_url: str) -> None:
    await store_history(api)
    code, out, err = await backtest(database_url, "--project", "shop")
    assert code == 0, (out, err)
    assert out.splitlines() == [
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
    assert (await backtest(database_url, "--project", "blog"))[0] == 1
    await api.store.ingest(of_run("main_62", 24 * 20, {"steady": "p"}))
    assert (await backtest(database_url, "--days", "5"))[1].startswith("failing runs of pull requests: 0 compared")


async def test_outage_after_a_pull_request_verifies_nothing(api: Api, database_url: str) -> None:
    await store_history(api)
    cases = dict.fromkeys(["repaired", *(f"other {number}" for number in range(20))], "f")
    await api.store.ingest(of_run("outage", 62, cases, completed_at="2026-05-03T14:30:00Z"))
    _, out, _ = await backtest(database_url, "--json")
    rules = json.loads(out)["rules"]["version_2"]
    assert (rules["excused_failures"], rules["excused_real"], rules["excused_unverified"]) == (1, 0, 1)
