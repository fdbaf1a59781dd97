"""EXPLAIN: no filter and no combination of filters reads a complete table, in either plan mode."""

import re
from typing import Any
from uuid import UUID

import orjson
import pytest

from service.cases import store as cases_store
from service.database.statements import Statement, compose
from service.domain.filters import ResultFilter, RunFilter
from service.domain.ids import CaseKey, Fingerprint
from service.gates import store as gates_store
from service.receipts import store as receipts_store
from service.receipts.store import ReceiptFilter
from service.results import queries as results_queries
from service.runs.candidates import runs_statement
from tests.database.composed import (
    SINGLE_ROWS,
    all_composed,
    comparisons,
    composed_lists,
    decision_pages,
    failure_groups,
    names_of_list,
    stats,
)
from tests.database.large import plan_nodes

pytestmark = pytest.mark.one_server

EMPTY = {f"artifacts_2026_{month:02}" for month in range(1, 6)}
# PostgreSQL shortens the name of the index.
BY_STATUS = "result_details_2026_02_org_id_status_run_key_case_key_finge_idx"  # codespell:ignore finge - see above
BY_STATUS_OF_ANY_MONTH = BY_STATUS.replace("02", r"0\d", 1)
BY_GROUP = "failure_group_minutes_by_group"
MODES = ("force_generic_plan", "force_custom_plan")
DRIVERS = [
    (ResultFilter(run_id="r"), "runs_run_id_unique"),
    (ResultFilter(branch="b"), "runs_by_branch"),
    (ResultFilter(environment="e"), "runs_by_environment"),
    (ResultFilter(pipeline="github-1"), "runs_by_pipeline"),
    (ResultFilter(project_id="p", branch="b", pull_request="7"), "runs_by_pull_request"),
    (ResultFilter(project_id="p", branch="b", author="a"), "runs_by_author"),
    (ResultFilter(project_id="p"), "runs_by_project"),
    (ResultFilter(project_id="p", branch="b"), "runs_by_project_and_branch"),
    (ResultFilter(project_id="p", statuses=("f",)), "runs_with_failed"),
    (ResultFilter(project_id="p", statuses=("e",)), "runs_with_error"),
    (ResultFilter(commit_sha="c0ffee1"), "runs_by_commit"),
    (ResultFilter(project_id="p", flaky=True), "runs_with_flaky"),
    (ResultFilter(flaky=True), "result_details_2026_02_org_id_run_key_case_key_idx"),
    (ResultFilter(run_id="r", suite="s"), "cases_by_suite"),
    (ResultFilter(owner="owner 1"), "case_owners_by_owner"),
    (ResultFilter(run_id="r", owner="owner 1"), "case_owners_by_owner"),
    (ResultFilter(owner="owner 1", statuses=("f",)), BY_STATUS),
    (ResultFilter(project_id="p", owner="owner 1", statuses=("f",)), BY_STATUS),
    (ResultFilter(statuses=("e", "f")), BY_STATUS),
    (ResultFilter(statuses=("f",), min_duration_ms=5), BY_STATUS),
    (ResultFilter(project_id="p", statuses=("f",), min_duration_ms=5), BY_STATUS),
    (ResultFilter(flaky=True, min_duration_ms=5), "result_details_2026_02_org_id_run_key_case_key_idx"),
    (ResultFilter(case_key=CaseKey(1), statuses=("f",)), "result_details_2026_02_org_id_case_key_run_key_idx"),
    (ResultFilter(fingerprint=Fingerprint(7)), BY_STATUS),
    (ResultFilter(fingerprint=Fingerprint(7), branch="b"), BY_STATUS),
    (ResultFilter(fingerprint=Fingerprint(7), run_id="r"), BY_STATUS),
    (ResultFilter(fingerprint=Fingerprint(7)), BY_GROUP),
    (ResultFilter(), "results_2026_02_pkey"),
    (ResultFilter(), "runs_untrusted"),
    (ResultFilter(statuses=("e", "f")), "runs_untrusted"),
    (ResultFilter(flaky=True), "runs_untrusted"),
    (ResultFilter(trusted="false"), "runs_untrusted"),
    (ResultFilter(project_id="p", trusted="false"), "runs_untrusted"),
    (ResultFilter(project_id="p", branch="b", pull_request="7", trusted="false"), "runs_by_pull_request"),
]
VALUES: dict[str, object] = {
    "org_id": 1, "before_run": UUID("019c8a5a-0000-0000-0000-000000000000"), "before_case": 7, "page": 100,
    "first_key": UUID("019ba000-0000-0000-0000-000000000000"), "statuses": ["f"], "run_id": "run_77",
    "run_key": UUID("019c8a5a-0000-0000-0000-000000000000"), "project_id": "p1", "environment": "env1", "branch": "b1",
    "flaky": None, "any_status": False, "commit_sha": "c0ffee1", "commits": ["c0ffee1"], "pull_request": "7",
    "pipeline": "github-1", "author": "author 1", "days": 30,
    "labels": None, "trusted": True, "min_duration_ms": None, "variants": None, "words": ["a", "b"],
    "case_key": 41, "case_id": "tc_1", "suite": "suite 1", "link_base": "http://x", "after_run_level": False,
    "after_key": 0, "artifact_key": 0, "after_suite": 0, "after_case": 0, "runs": 50,
    "baseline_key": UUID("019c8a5a-0000-0000-0000-000000000001"), "run_keys": ["019c8a5a-0000-0000-0000-000000000000"],
    "case_keys": ["41", "61"], "pairs": ["p-"], "ranks": ["5"], "after_rank": 0, "length": "1 day",
    "fingerprint": 7, "ranked": 20, "newest_from": UUID(int=2**128 - 1), "group_by": "branch", "max_runs": 20_000,
    "before": "dec_g", "suggestions": 20, "gate": "gate 1", "decision": "passed",
    "changed_after": 7, "first_run": UUID(int=0), "last_run": UUID("019c8a5a-0000-0000-0000-000000000000"),
    "lists_runs": False, "run_budget": 1_000, "row_budget": 3_000, "rows": 101, "max_commits": 21, "has_details": True,
    "filters_cases": True,
    "oldest_run": UUID(int=0), "newest_run": UUID("019c8a5a-0000-0000-0000-000000000000"),
    "range_results": 60_000, "after": "", "only": "p1", "org_ids": ["1"], "run_ids": ["run_1"], "project_ids": ["p1"],
    "revisions": ["1"], "patterns": ["%a%"], "is_ascii": True, "requires_result": True, "candidates": 150,
    "users": ["team-a"], "suite_hashes": ["7"], "receipt_id": "rcp_1", "name": "case 1", "variant": "{}",
    "states": ["broken"], "owner": "owner 1", "names": ["suite 1"], "first": "2026-05-01", "last": "2026-05-30",
    "interval": "day", "is_month": False,
}  # fmt: skip


async def explain(connection: Any, statement: Statement, mode: str, **changed: object) -> Any:
    values = VALUES | changed
    await connection.execute(f"SET plan_cache_mode = {mode}")
    await connection.execute(f"PREPARE explained AS {statement.text}")
    arguments = ", ".join(literal(values[name]) for name in statement.names)
    plan = orjson.loads(await connection.fetchval(f"EXPLAIN (FORMAT JSON) EXECUTE explained ({arguments})"))
    await connection.execute("DEALLOCATE explained")
    return plan_nodes(plan[0]["Plan"])


def literal(value: Any) -> str:
    if isinstance(value, list):
        return "'{" + ",".join(value) + "}'"
    if value is None:
        return "NULL"
    return str(value) if isinstance(value, int) else f"'{value}'"


def statements_of_list(filter_: ResultFilter) -> list[Statement]:
    """Return the statements of a page: the one that finds the runs, if any, and the one that finds the results."""
    found = [compose(name) for name in names_of_list(filter_)]
    if results_queries.direct_search(filter_) is None:
        found.append(runs_statement(filter_, by_commit=bool(filter_.commit_sha)))
    return found


def tables_read_completely(nodes: Any) -> set[str]:
    """Return the tables that a plan reads without an index or with an index whose order it can't use."""
    return {node["Relation Name"] for node in nodes if node["Node Type"] in ("Seq Scan", "Bitmap Heap Scan")}


async def test_no_list_reads_a_complete_table(connection: Any) -> None:
    lists = composed_lists()
    assert len(lists) > 30
    for statement in lists:
        for mode in MODES:
            assert tables_read_completely(await explain(connection, statement, mode)) == set(), (mode, statement.name)


async def test_the_best_index_drives_the_list(connection: Any) -> None:
    for filter_, index in DRIVERS:
        for mode in MODES:
            plans = [await explain(connection, statement, mode) for statement in statements_of_list(filter_)]
            assert index in {node.get("Index Name") for plan in plans for node in plan}, (mode, filter_)


async def test_untrusted_runs_are_looked_up(connection: Any) -> None:
    """Strangers can store 14,000 runs in each public project. Otherwise, each list would hash all of them."""
    statements = [statement for statement in all_composed().values() if "FROM runs untrusted" in statement.text]
    for statement in statements:
        await connection.execute("SET plan_cache_mode = force_generic_plan")
        await connection.execute(f"PREPARE explained AS {statement.text}")
        arguments = ", ".join(literal(VALUES[name]) for name in statement.names)
        plan = await connection.fetch(f"EXPLAIN EXECUTE explained ({arguments})")
        await connection.execute("DEALLOCATE explained")
        lines = [line.strip() for (line,) in plan]
        lookups = [lines[index + 1] for index, line in enumerate(lines) if "using runs_untrusted" in line]
        assert lookups, statement.name
        assert all("run_key = " in line for line in lookups), (statement.name, lookups)
        hashes_states = "in_states" in statement.name
        assert hashes_states or not any("hashed SubPlan" in line for line in lines), statement.name
    assert len(statements) > 10


async def test_comparison_reads_ranges_of_indexes(connection: Any) -> None:
    for name, index in {
        "window_of_run": "runs_by_project_and_branch",
        "failing_results": BY_STATUS_OF_ANY_MONTH,
        "results_in_window": r"results_2026_0\d_pkey",
        "merged_results": r"results_2026_0\d_pkey",
    }.items():
        statement = next(statement for statement in comparisons() if statement.name == name)
        for mode in MODES:
            nodes = await explain(connection, statement, mode)
            assert any(re.fullmatch(index, str(node.get("Index Name"))) for node in nodes), (mode, name)


async def test_failure_groups_read_ranges_of_indexes(connection: Any) -> None:
    for name, index in {
        "failure_groups_of_run": "runs_run_id_unique",
        "failure_groups_of_branch": "runs_by_project_and_branch",
        "failure_groups_of_project": "runs_with_failed",
        "one_failure_group": BY_GROUP,
    }.items():
        statement = next(statement for statement in failure_groups() if name in statement.name)
        for mode in MODES:
            nodes = await explain(connection, statement, mode)
            indexes = {str(node.get("Index Name")) for node in nodes}
            assert any(re.fullmatch(index, found) for found in indexes), (mode, name)
            for pattern in (BY_GROUP, BY_STATUS_OF_ANY_MONTH):
                assert any(re.fullmatch(pattern, found) for found in indexes), (mode, name)


async def test_statements_open_only_the_months_of_their_range(connection: Any) -> None:
    """Each month that remains after the start of the execution costs time, even if it isn't read.

    The range of a failure group is searched in all months. The first failure of a listed group can be before the range.
    """
    limited = [statement for statement in all_composed().values() if {"first_key", "before_run"} <= {*statement.names}]
    for statement in limited:
        if statement.name == "failure_group_range":
            continue
        await connection.execute(f"SET ROLE {'results_worker' if statement.name == 'roll_up' else 'results_api'}")
        nodes = await explain(connection, statement, MODES[0])
        months = {table[-7:] for node in nodes if "_2026_" in (table := node.get("Relation Name", ""))}
        assert months <= {"2026_01", "2026_02"}, statement.name
    assert len(limited) > 30


async def test_statistics_about_runs_read_ranges_of_one_index(connection: Any) -> None:
    """The other scan reads the oldest run of the range, which shows whether the range has more runs."""
    for mode in MODES:
        for statement in stats():
            scans = [node for node in await explain(connection, statement, mode) if "Relation Name" in node]
            index = "runs_by_project" if "project" in statement.name else "runs_pkey"
            assert [(node["Relation Name"], node["Index Name"]) for node in scans] == [("runs", index)] * 2, mode
            assert {node["Scan Direction"] for node in scans} == {"Backward", "Forward"}, mode


async def test_rankings_read_ranges_of_indexes(connection: Any) -> None:
    for name, index in {
        "ranked_by_failures": BY_STATUS_OF_ANY_MONTH,
        "ranked_by_flaky": r"result_details_2026_0\d_org_id_run_key_case_key_idx",
        "ranked_by_duration": r"results_2026_0\d_pkey",
    }.items():
        for mode in MODES:
            for branch, runs in (("b1", "runs_by_project_and_branch"), (None, "runs_by_project")):
                nodes = await explain(connection, compose(name), mode, branch=branch)
                indexes = {str(node.get("Index Name")) for node in nodes}
                assert runs in indexes, (mode, name)
                assert any(re.fullmatch(index, found) for found in indexes), (mode, name)


async def test_unhealthy_cases_drive_the_list_of_their_states(connection: Any) -> None:
    choice = {"cases_in_any_state": "cases_in_states"}
    for statement in (compose("search_of_cases", **choice), cases_store.page_statement("next_cases", **choice)):
        for mode in MODES:
            nodes = await explain(connection, statement, mode)
            read = {node.get("Index Name") for node in nodes if node.get("Relation Name") in ("cases", "case_states")}
            assert read == {"case_states_by_project", "cases_pkey"}, (mode, statement.name)


async def test_the_best_index_drives_the_list_of_decisions(connection: Any) -> None:
    indexes = {"decisions_by_run", "decisions_by_gate", "decisions_by_project", "decisions_pkey"}
    for mode in MODES:
        plans = [await explain(connection, statement, mode) for statement in decision_pages()]
        found = {name for plan in plans for node in plan if (name := node.get("Index Name"))}
        found -= {"organizations_pkey"}  # organizations has few rows, and is read once
        found = {
            name for name in found if not re.match(r"(api_keys|publishers|people)_", name)
        }  # find the names of waivers
        assert found == indexes, mode


async def test_the_best_index_drives_the_list_of_receipts(connection: Any) -> None:
    for filter_, index in {
        ReceiptFilter(run_id="run_77"): "receipts_by_run",
        ReceiptFilter(pipeline="github-1"): "receipts_by_pipeline",
        ReceiptFilter(pipeline="github-1", project_id="p1"): "receipts_by_pipeline",
        ReceiptFilter(event_id="event 1"): "receipts_by_event",
        ReceiptFilter(): "receipts_pkey",
    }.items():
        for mode in MODES:
            values = {**filter_._asdict(), "before": "rcp_g"}
            nodes = await explain(connection, receipts_store.page_statement(filter_), mode, **values)
            of_receipts = [node.get("Index Name") for node in nodes if node.get("Relation Name") == "receipts"]
            assert of_receipts == [index], (mode, filter_)


async def test_decisions_of_runs_are_found_by_their_runs(connection: Any) -> None:
    for mode in MODES:
        nodes = await explain(connection, gates_store.statement(), mode)
        assert tables_read_completely(nodes) == set()
        assert {name for node in nodes if (name := node.get("Index Name"))} == {"decisions_by_run"}, mode


async def test_single_rows_are_found_by_their_keys(connection: Any) -> None:
    for name in SINGLE_ROWS:
        # Only ingest reads producers.
        await connection.execute(f"SET ROLE {'results_worker' if name == 'server_state' else 'results_api'}")
        for mode in MODES:
            assert tables_read_completely(await explain(connection, compose(name), mode)) <= EMPTY, name
    for mode in MODES:
        nodes = await explain(connection, compose("commits"), mode)
        assert tables_read_completely(nodes) == set()
        assert {node.get("Index Name") for node in nodes} >= {"runs_by_commit"}


async def test_one_result_is_read_in_one_month(connection: Any) -> None:
    """Each month that remains after the start of the execution costs time, even if it isn't read."""
    for mode in MODES:
        nodes = await explain(connection, compose("one_result"), mode, first_key=VALUES["run_key"])
        tables = {node["Relation Name"] for node in nodes if "_2026_" in node.get("Relation Name", "")}
        assert tables == {"results_2026_02", "result_details_2026_02", "shard_results_2026_02"}, mode


async def test_changed_runs_of_an_export_are_found_by_their_ids(connection: Any) -> None:
    for mode in MODES:
        nodes = await explain(connection, compose("changed_run_keys"), mode)
        assert {node.get("Index Name") for node in nodes if node.get("Relation Name") == "runs"} == {
            "runs_run_id_unique"
        }


async def test_check_detects_a_sequential_scan(connection: Any) -> None:
    await connection.execute("SET enable_indexscan = off; SET enable_bitmapscan = off")
    nodes = await explain(connection, runs_statement(RunFilter(project_id="shop"), by_commit=False), MODES[0])
    assert tables_read_completely(nodes) >= {"runs"}
