"""The tools explain a run, its results, cases, and failure groups."""

import re
from pathlib import Path
from typing import Any, Final

import pytest

from service.client.http import ClientError
from service.comparison import contract as comparison_contract
from service.mcp.documents import MAX_CHARACTERS
from service.mcp.tools import TOOLS
from tests.case_states import insert_states
from tests.mcp.calls import all_rows, call
from tests.mcp.runs import COMMIT, at, failing, ingest_change
from tests.owners import set_owners
from tests.run_events import result, run_event
from tests.served import Api


async def test_there_are_few_tools_and_each_describes_its_arguments() -> None:
    assert len(TOOLS) <= 10
    for tool in TOOLS.values():
        assert tool.description.endswith(".")
        properties = tool.arguments.model_json_schema()["properties"]
        assert all("description" in schema for schema in properties.values()), properties


def test_documentation_lists_every_tool_and_the_limit() -> None:
    page = (Path(__file__).parents[2] / "docs" / "mcp.md").read_text()
    assert re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE) == list(TOOLS)
    assert f"at most {MAX_CHARACTERS:,} characters" in page


async def test_newest_run_of_a_commit_branch_or_pull_request(api: Api) -> None:
    await ingest_change(api)
    for filters in ({"commit_sha": COMMIT[:7]}, {"branch": "fix"}, {"pull_request": "7"}, {"limit": 1}, {"limit": "1"}):
        found = await call(api, "find_runs", **filters)
        run = found["runs"][0]
        assert (run["status"], run["complete"], run["counts"]["failed"]) == ("failed", True, 2)
        assert run["untrusted"] == {
            "run_id": "pr_7", "project_id": "shop", "branch": "fix", "base_branch": "main", "commit_sha": COMMIT,
            "pull_request": "7", "labels": {"team": "web"},
        }  # fmt: skip
        assert (found["continue_with"] is None) == ("limit" not in filters)


async def test_runs_continue_without_a_gap(api: Api) -> None:
    await ingest_change(api)
    runs = await all_rows(api, "find_runs", "runs", limit=2)
    assert [run["untrusted"]["run_id"] for run in runs] == ["pr_7", "main_2", "main_1", "main_0"]


async def test_run_is_explained_with_new_failures_first(api: Api) -> None:
    await ingest_change(api)
    explained = await call(api, "explain_run", run_id="pr_7")
    assert (explained["decision"], explained["warnings"]) == (None, [])
    assert explained["comparison"]["baseline"]["untrusted"] == {"run_id": "main_2", "branch": "main"}
    assert explained["comparison"]["counts"]["new_failure"] == 1
    new, known = explained["results"]
    assert (new["change"], new["evidence"]) == (
        "new_failure",
        {"runs": 3, "failed": 0, "flaky": 0, "failure_rate": 0.0141},
    )
    assert new["untrusted"] == {
        "suite": "auth.login", "name": "pays", "failure_summary": "customer 7 has no money",
        "last_passed_run_id": "main_2",
    }  # fmt: skip
    assert (known["change"], known["untrusted"]["failing_since_run_id"]) == ("known_failure", "main_0")


async def test_run_of_an_earlier_version_of_the_service_is_explained(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """It stated fewer fields of the evidence."""
    await ingest_change(api)
    earlier = {"runs": 3, "failed": 0, "flaky": 0, "failing_since_run_id": None, "last_passed_run_id": "main_2"}
    monkeypatch.setattr(comparison_contract, "_write_evidence", lambda evidence: earlier)
    explained = await call(api, "explain_run", run_id="pr_7")
    assert explained["results"][0]["evidence"] == {"runs": 3, "failed": 0, "flaky": 0, "failure_rate": None}


async def test_run_is_explained_with_its_decision_and_quarantines(api: Api) -> None:
    await ingest_change(api)
    await api.send("PUT", "/v1/gates/release", json={"policy": {"max_failures": 0}})
    body = {"project_id": "shop", "name": "refunds", "reason": "unstable gateway"}
    quarantine = await (await api.send("POST", "/v1/quarantines", json=body)).json()
    await api.send("POST", "/v1/runs/pr_7/decisions", json={"gate": "release"})
    explained = await call(api, "explain_run", run_id="pr_7")
    decision = explained["decision"]
    assert (decision["decision"], decision["is_about_current_revision"]) == ("blocked", True)
    assert decision["failed_rules"] == [{"rule": "max_failures", "limit": 0, "value": 1, "passed": False}]
    assert decision["untrusted"] == {"gate": "release", "baseline_run_id": "main_2", "created_by_name": "test"}
    assert [item["change"] for item in explained["results"]] == ["new_failure", "quarantined"]
    (shown,) = explained["quarantines"]
    await api.send("POST", f"/v1/decisions/{decision['id']}/waiver", json={"reason": "hotfix"})
    waived = (await call(api, "explain_run", run_id="pr_7"))["decision"]
    assert waived["waiver"]["untrusted"] == {"reason": "hotfix", "created_by_name": "test"}
    texts = {"reason": "unstable gateway", "created_by_name": "test"}
    assert (shown["id"], shown["untrusted"]) == (quarantine["id"], texts)


async def test_run_without_stored_results_is_explained_without_a_comparison(api: Api) -> None:
    await ingest_change(api)
    await api.store.pool.execute("UPDATE runs SET results_expired = true WHERE org_id = 1 AND run_id = 'pr_7'")
    explained = await call(api, "explain_run", run_id="pr_7")
    assert explained["run"]["results_expired"] is True
    assert (explained["comparison"], explained["results"], explained["continue_with"]) == (None, [], None)


async def test_replaced_failures_are_a_warning(api: Api) -> None:
    await api.store.ingest(run_event(results=[failing()]))
    await api.store.ingest(run_event(results=[result("pays")], time="2026-05-20T12:00:01Z"))
    explained = await call(api, "explain_run", run_id="run_1")
    assert explained["warnings"][0].startswith("later reports of this run replaced failing results: 1.")
    viewer = (await api.make_key("viewer")).key
    assert (await call(api, "explain_run", viewer, run_id="run_1"))["warnings"] == []


async def test_other_changes_are_listed_on_request(api: Api) -> None:
    await ingest_change(api)
    explained = await call(api, "explain_run", run_id="pr_7", change=["added"])
    assert [item["untrusted"]["name"] for item in explained["results"]] == ["logs in"]


async def test_what_a_run_lacks_is_stated_first(api: Api) -> None:
    for job in ("api", "ui", "worker"):
        event = run_event("main_1", [result(f"{job} test")], completed_at=at(1), branch="main", part=job, attempt=1)
        await api.store.ingest(event)
    await api.store.ingest(
        run_event("pr_7", [result("api test")], completed_at=at(2), branch="main", part="api", attempt=1, final=False)
    )
    explained = await call(api, "explain_run", run_id="pr_7", change=["removed"], limit=1)
    assert explained["comparison"]["counts"]["not_yet_received"] == 2
    assert "removed" not in str(explained)
    further = await call(api, "explain_run", run_id="pr_7", change=["removed"], limit=1, **explained["continue_with"])
    assert [row["change"] for row in (*explained["results"], *further["results"])] == ["not_yet_received"] * 2
    explained = await call(api, "explain_run", run_id="pr_7")
    assert next(iter(explained)) == "missing"
    assert explained["missing"] == {
        "statements": ["2 of 3 jobs sent no results", "The run isn't complete: further results can arrive"],
        "untrusted": {"jobs": "ui; worker"},
    }
    run = (await call(api, "find_runs", limit=1))["runs"][0]
    assert next(iter(run)) == "missing"
    assert run["missing"] == ["The run isn't complete: further results can arrive"]
    assert (await call(api, "explain_run", run_id="main_1"))["missing"] == {"statements": []}


async def test_failures_of_a_first_run_are_not_called_new(api: Api) -> None:
    await api.store.ingest(run_event(results=[failing(), result("logs in")]))
    explained = await call(api, "explain_run", run_id="run_1")
    assert explained["comparison"]["counts"] == {"not_compared": 1, "quarantined": 0}
    assert [item["change"] for item in explained["results"]] == ["not_compared"]
    assert "new_failure" not in str(explained)


@pytest.mark.parametrize("is_trusted", [True, False])
async def test_rerun_that_passes_is_named_as_flaky(api: Api, *, is_trusted: bool) -> None:
    for attempt, each in ((5, failing()), (6, result("pays"))):
        await api.store.ingest(run_event("run_1", [each], part="unit", attempt=attempt))
    await api.store.pool.execute("UPDATE runs SET trusted = $1", is_trusted)
    (flaky,) = (await call(api, "explain_run", run_id="run_1"))["flaky_results"]
    assert flaky["untrusted"] == {"name": "pays"}
    document = await call(api, "get_result", result_id=flaky["result_id"])
    assert document["flaky_because"] == "failed in attempt 1 of the CI job, passed in attempt 2"
    assert document["untrusted"]["part"] == "unit"
    attempts = [(each["attempt"], each["job_attempt"], each["status"]) for each in document["attempt_details"]]
    assert attempts == [(1, 1, "failed"), (2, 2, "passed")]


async def test_values_with_one_meaning_are_converted(api: Api) -> None:
    await ingest_change(api)
    for name, arguments in (
        ("find_runs", {"pull_request": 7, "limit": "1", "branch": None, "starting_after": None}),
        ("find_runs", {"pull_request": "7", "limit": 1.0, "status": "failed"}),
    ):
        assert [run["untrusted"]["run_id"] for run in (await call(api, name, **arguments))["runs"]] == ["pr_7"]
    for change in ("added", ["added"], '["added"]', "added, removed"):
        explained = await call(api, "explain_run", run_id="pr_7", change=change, limit="5")
        assert [item["change"] for item in explained["results"]] == ["added"]


async def test_recorded_policy_of_flags_is_shown(api: Api) -> None:
    await ingest_change(api)
    body = {"policy": {"max_new_failures": 0}, "record": True}
    assert (await api.send("POST", "/v1/runs/pr_7/decisions", json=body)).status == 201
    decision = (await call(api, "explain_run", run_id="pr_7"))["decision"]
    assert decision["policy_of_flags"]["max_new_failures"] == 0
    assert "gate" not in decision["untrusted"]


async def test_failures_of_a_run_continue_without_a_gap(api: Api) -> None:
    names = [f"case {number}" for number in range(30)]
    await api.store.ingest(run_event(results=[failing(name) for name in names]))
    results = await all_rows(api, "explain_run", "results", run_id="run_1", limit=25)
    assert sorted(item["untrusted"]["name"] for item in results) == sorted(names)


async def test_history_of_a_case(api: Api) -> None:
    await ingest_change(api)
    (new, _) = (await call(api, "explain_run", run_id="pr_7"))["results"]
    history = await call(api, "get_case_history", case=new["case"], limit=2)
    case = history["case"]
    assert (case["executed"], case["failed"], case["failure_rate"]) == (4, 1, 0.25)
    assert case["untrusted"]["name"] == "pays"
    assert [item["status"] for item in history["results"]] == ["failed", "passed"]
    assert [item["untrusted"]["run_id"] for item in history["results"]] == ["pr_7", "main_2"]
    further = await call(api, "get_case_history", case=new["case"], **history["continue_with"])
    assert "case" not in further
    assert len(further["results"]) == 2
    of_main = await call(api, "get_case_history", case=new["case"], branch="main")
    assert len(of_main["results"]) == 3


async def test_failure_groups_and_one_group(api: Api) -> None:
    await ingest_change(api)
    (group,) = (await call(api, "list_failure_groups", run_id="pr_7"))["failure_groups"]
    assert (group["results"], group["cases"], group["untrusted"]["type"]) == (2, 2, "PaymentError")
    (of_project,) = (await call(api, "list_failure_groups", **{"project_id": "shop", "from": at(1), "to": at(2)}))[
        "failure_groups"
    ]
    assert of_project["results"] == 1
    shown = await call(api, "get_failure_group", failure_id=group["failure_id"], limit=2)
    assert (shown["failure_group"]["results"], shown["failure_group"]["is_partial"]) == (5, False)
    assert {item["untrusted"]["run_id"] for item in shown["results"]} == {"pr_7"}
    assert shown["continue_with"] is not None


async def test_cases_are_ranked(api: Api) -> None:
    await ingest_change(api)
    failures = await call(api, "rank_cases", project_id="shop", sort="failures")
    assert [(case["untrusted"]["name"], case["failed"]) for case in failures["cases"]] == [("refunds", 4), ("pays", 1)]
    slow = await call(api, "rank_cases", project_id="shop", sort="duration", limit=1)
    assert (len(slow["cases"]), slow["truncated"], slow["continue_with"]) == (1, False, None)
    assert slow["cases"][0]["executed"] == 1  # of the newest run, and neither a rate nor a mean
    assert {name for name in slow["cases"][0] if "rate" in name or "duration" in name} == {"duration_ms"}


async def test_cases_have_states_that_filter_a_ranking(api: Api) -> None:
    await ingest_change(api)
    await insert_states(api.store.pool, "broken", "linux", "c.name = 'refunds'")
    [broken] = (await call(api, "rank_cases", project_id="shop", sort="failures", state="broken,flaky"))["cases"]
    assert broken["state"]["value"] == "broken"
    texts = broken["state"]["untrusted"]
    assert (texts["environment"], texts["since_run_id"]) == ("linux", "main_0")
    shown = (await call(api, "get_case_history", case=broken["case"]))["case"]
    assert shown["state"] == broken["state"]
    [healthy] = (await call(api, "rank_cases", project_id="shop", sort="failures", state=["healthy"]))["cases"]
    assert (healthy["untrusted"]["name"], healthy["state"]) == ("pays", {"value": "healthy", "untrusted": {}})


async def test_cases_and_failure_groups_have_owners_that_filter_them(api: Api) -> None:
    await ingest_change(api)
    await set_owners(api.store.pool, {"c.name = 'refunds'": ["@acme/web", "core"]})
    [owned] = (await call(api, "rank_cases", project_id="shop", sort="failures", owner="core"))["cases"]
    assert (owned["untrusted"]["name"], owned["untrusted"]["owners"]) == ("refunds", "@acme/web, core")
    shown = (await call(api, "get_case_history", case=owned["case"]))["case"]
    assert shown["untrusted"]["owners"] == "@acme/web, core"
    groups = (await call(api, "list_failure_groups", project_id="shop"))["failure_groups"]
    of_owner = (await call(api, "list_failure_groups", project_id="shop", owner="core"))["failure_groups"]
    assert [group["untrusted"]["owners"] for group in of_owner] == ["@acme/web, core"]
    assert of_owner == groups
    assert (await call(api, "list_failure_groups", project_id="shop", owner="acme"))["failure_groups"] == []


INVALID_CALLS: Final[tuple[tuple[str, dict[str, Any], str], ...]] = (
    ("explain_run", {"run_id": "absent"}, "^run_id: run 'absent' not found"),
    ("explain_run", {}, "^run_id: is required"),
    ("explain_run", {"run_id": "a", "change": ["worse"]}, "^change.0: must be 'new_failure'"),
    ("explain_run", {"run_id": "a", "runid": "b"}, "^runid: is not supported"),
    ("find_runs", {"limit": 26}, "^limit: must be at most 25"),
    ("find_runs", {"commit_sha": "main"}, "^commit_sha: must be the first 7 to 64 hex digits"),
    ("find_runs", {"starting_after": "x"}, "^starting_after: "),
    ("get_result", {"result_id": "res_1/../../runs"}, "^result_id: result 'res_1/../../runs' not found"),
    ("list_run_artifacts", {"run_id": "absent"}, "^run_id: run 'absent' not found"),
    ("read_log", {"artifact_id": "art_1"}, "^artifact_id: artifact 'art_1' not found"),
    ("get_case_history", {"case": "case_1"}, "^case: case 'case_1' not found"),
    ("get_failure_group", {"failure_id": "fp1_1"}, "^failure_id: "),
    ("list_failure_groups", {}, "run_id"),
    ("list_failure_groups", {"project_id": "shop", "from": "yesterday"}, "^from: must be a date"),
    ("rank_cases", {"sort": "flaky"}, "^project_id: is required"),
    ("rank_cases", {"sort": "flaky", "state": "bad"}, "^state.0: must be 'healthy', 'flaky' or 'broken'"),
    (
        "rank_cases",
        {"project_id": "shop", "sort": "age"},
        "^sort: must be 'failures', 'flaky', 'duration' or 'total_duration'",
    ),
)


async def test_error_names_the_argument(api: Api) -> None:
    for name, arguments, message in INVALID_CALLS:
        with pytest.raises(ClientError, match=message):
            await call(api, name, **arguments)


async def test_error_of_a_rejected_key_is_clear(api: Api) -> None:
    with pytest.raises(ClientError, match="401"):
        await call(api, "find_runs", "zof_wrong")
