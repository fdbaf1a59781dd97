"""Tests of the demo history: its runs, and the texts and outcomes of its results."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from service.dev.first_data import read_reports
from service.dev.history import (
    FIRST_PULL_REQUEST_RUN,
    INCOMPLETE_RUN,
    MAIN_RUNS,
    PULL_REQUEST_RUN,
    history,
    read_recorded,
    run_id_of,
)
from service.failures.fingerprints import fingerprint
from service.ingest.contract import RUN_COMPLETED_EVENT, ResultIn, RunIn

NOW = datetime(2026, 5, 20, 12, tzinfo=UTC)
Runs = list[tuple[RunIn, list[ResultIn]]]


@pytest.fixture(scope="module")
def sample() -> list[ResultIn]:
    return [result for results in read_reports().values() for result in results]


@pytest.fixture(scope="module")
def runs(sample: list[ResultIn]) -> Runs:
    return list(history(sample, NOW))


def test_history_depends_only_on_the_sample_and_the_time(sample: list[ResultIn], runs: Runs) -> None:
    assert list(history(sample, NOW)) == runs


def test_runs_are_valid_labeled_as_demo_data_and_spread_over_days(runs: Runs) -> None:
    times = [run["completed_at"] or NOW for run, _ in runs]
    assert times == sorted(times)
    assert times[-1] < NOW
    assert NOW - times[0] > timedelta(days=12)
    for run, results in runs:
        data = {"organization": "demo", "run": run, "results": results}
        event = {"specversion": "1.0", "type": "run.completed", "source": "/demo", "id": "1", "data": data}
        RUN_COMPLETED_EVENT.validate_python(event)
        assert (run["labels"] or {})["data"] == "demo"


def test_every_recorded_row_has_an_outcome_for_each_run_and_matches_a_case(runs: Runs) -> None:
    rows, failures = read_recorded()
    cases = {
        (f"{result['file']}".removesuffix(".py").replace("/", "."), result["name"])
        for _, results in runs
        for result in results
    }
    for row in rows:
        assert len(row.outcomes) == INCOMPLETE_RUN, row
        assert set(row.outcomes) <= set(".FEfC-"), row
        assert row.failure in {*failures, "sample", ""}, row
        assert any(f"{module}.{name}".startswith(row.case) for module, name in cases), row
    assert {row.failure for row in rows} - {"sample", ""} == set(failures)


def test_added_and_removed_cases_are_in_no_other_runs(runs: Runs) -> None:
    names = [{result["name"] for result in results} for _, results in runs]
    added, removed = (
        names[PULL_REQUEST_RUN - 1] - names[MAIN_RUNS - 1],
        names[MAIN_RUNS - 1] - names[PULL_REQUEST_RUN - 1],
    )
    assert (len(added), len(removed)) == (1, 1)


def test_runs_have_two_variants_and_results_of_every_kind(runs: Runs) -> None:
    results = [result for _, run_results in runs for result in run_results]
    assert {str(result["variant"]) for result in results} == {"{'python': '3.11'}", "{'python': '3.13'}"}
    assert set(Counter(result["status"] for result in results)) == {"passed", "failed", "error", "skipped", "canceled"}
    assert any(result.get("attempts") for result in results)


def test_failures_form_several_groups_of_more_than_one_result(runs: Runs) -> None:
    groups: Counter[int] = Counter()
    for _, results in runs:
        for result in results:
            if result["status"] in ("failed", "error") and (failure := result.get("failure")):
                texts = failure.get("type"), failure.get("message"), failure.get("details")
                groups[fingerprint("demo", result.get("suite") or "", *texts)] += 1
    assert len(groups) >= 8
    assert sum(count > 1 for count in groups.values()) >= 8


def test_last_runs_are_two_of_a_pull_request_and_an_incomplete_run(runs: Runs) -> None:
    by_id = {run["run_id"]: run for run, _ in runs}
    assert len(by_id) == INCOMPLETE_RUN
    assert by_id[run_id_of(PULL_REQUEST_RUN)]["base_branch"] == "main"
    assert by_id[run_id_of(FIRST_PULL_REQUEST_RUN)]["title"] == by_id[run_id_of(PULL_REQUEST_RUN)]["title"]
    assert by_id[run_id_of(INCOMPLETE_RUN)]["expected_shards"] == 2
    assert by_id[run_id_of(MAIN_RUNS)]["branch"] == "main"
