"""The evidence for a change is stated in words."""

from typing import Any

import pytest

from service.comparison.model import full_name
from tests.client.changed_runs import BASELINE, changed, run_changes

ON_MAIN: dict[str, Any] = {"failing_since_run_id": None, "last_passed_run_id": None}


@pytest.mark.parametrize(
    ("evidence", "text"),
    [
        ({"runs": 3, "failed": 0, "flaky": 0}, "passed in all 3 runs on main"),
        ({"runs": 1, "failed": 0, "flaky": 0}, "passed in its only run on main"),
        ({"runs": 0, "failed": 0, "flaky": 0}, "not executed in the compared runs on main"),
        (
            {"runs": 3, "failed": 3, "flaky": 0, "failing_since_run_id": "run 810"},
            "failed in all 3 runs on main, failing since run run 810",
        ),
        ({"runs": 5, "failed": 1, "flaky": 2}, "failed in 1 and was flaky in 2 of 5 runs on main"),
        ({"runs": 5, "failed": 0, "flaky": 1}, "was flaky in 1 of 5 runs on main"),
        (
            {"runs": 5, "failed": 3, "flaky": 0, "failing_since_run_id": "812"},
            "failed in 3 of 5 runs on main, failing since run 812",
        ),
    ],
)
def test_evidence_is_described(evidence: dict[str, Any], text: str) -> None:
    result = changed(evidence=ON_MAIN | evidence)
    assert run_changes(result).evidence(result) == text


def test_evidence_without_a_branch_names_none() -> None:
    result = changed()
    assert run_changes(result, baseline=BASELINE | {"branch": None}).evidence(result) == "passed in all 3 runs"


def test_without_a_baseline_there_is_no_evidence() -> None:
    result = changed()
    changes = run_changes(result, baseline=None)
    assert changes.evidence(result) is None
    not_compared = "not compared: there is no earlier complete run on the base branch"
    assert changes.describe_baseline() == f"{not_compared}, so gates count all failures as new"
    assert run_changes(baseline=None).describe_baseline() == not_compared


def test_failure_that_was_not_searched_and_flaky_result_have_no_evidence() -> None:
    flaky = {name: value for name, value in changed().items() if name not in ("change", "evidence", "quarantine_id")}
    assert [run_changes().evidence(result) for result in (changed(evidence=None), flaky)] == [None, None]


def test_baseline_is_described() -> None:
    assert run_changes().describe_baseline() == "compared with run run-812 on main at commit c0ffee0123"


@pytest.mark.parametrize(
    ("optional", "text"),
    [
        ({"owner": None, "ticket_url": None}, "quarantined until 2026-12-01: gateway is down"),
        (
            {"owner": "team-web", "ticket_url": "https://t/1"},
            "quarantined until 2026-12-01: gateway is down, owner team-web, https://t/1",
        ),
    ],
)
def test_quarantine_is_the_evidence_of_a_quarantined_failure(optional: dict[str, Any], text: str) -> None:
    result = changed(change="quarantined", quarantine_id="qua_1")
    quarantine = {"reason": "gateway is down", "expires_at": "2026-12-01T08:00:00.000Z"} | optional
    assert run_changes(result, quarantines={"qua_1": quarantine}).evidence(result) == text


def test_groups_are_ordered_by_change_and_count_results_that_are_not_shown() -> None:
    changes = run_changes(changed("a", "known_failure"), changed("b"), changed("c", "quarantined"), changed("d"))
    changes.comparison["counts"]["new_failure"] = 7
    changes.run["counts"]["flaky"] = 1
    assert [(group.title, group.total, [item["name"] for item in group.results]) for group in changes.groups()] == [
        ("New failures", 7, ["b", "d"]),
        ("Known failures", 1, ["a"]),
        ("Quarantined failures", 1, ["c"]),
        ("Flaky results, passed after a failed attempt", 1, []),
    ]


def test_full_name_contains_suite_and_variant() -> None:
    assert full_name(changed(variant={"os": "linux", "py": "3.12"})) == "shop > pays [os: linux, py: 3.12]"
    assert full_name(changed(suite="")) == "pays"
