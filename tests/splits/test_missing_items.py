"""Missing items: the items of splits that no job executed block the gate, which names them."""

import json
from collections.abc import AsyncIterator, Sequence
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Any

import pydantic
import pytest
from aiohttp import FormData

from service.comparison.contract import RunComparison
from service.database.database import as_organization
from service.database.statements import statements
from service.gates.contract import Decision
from service.splits.contract import SplitsOfRun
from service.splits.model import plan_parts, select_by_name
from service.splits.store import write_document
from tests.report_api import Reports, serving_reports_with_ingester
from tests.statements import record_statements

COMPARISON = pydantic.TypeAdapter(RunComparison)
DECISION = pydantic.TypeAdapter(Decision)
SPLITS = pydantic.TypeAdapter(SplitsOfRun)
FILES = ("a.py", "b.py", "c.py", "d.py")
PIPELINE = "github-1"
RUN = "github-1:shop"


@pytest.fixture
async def reports(database_url: str, tmp_path: Path) -> AsyncIterator[Reports]:
    async with serving_reports_with_ingester(database_url, tmp_path) as opened:
        yield opened


def report_of(files: Sequence[str], names: Sequence[str] = ("one", "two")) -> str:
    """Return a report with tests of these files, of which each takes 0.5 s."""
    cases = "".join(
        f"<testcase classname='{file}' name='{name}' file='{file}' time='0.5'/>" for file in files for name in names
    )
    return f"<testsuite name='unit'>{cases}<testcase name='always' time='0'/></testsuite>"


def assignment(items: Sequence[str], index: int = 1, **fields: Any) -> dict[str, Any]:
    stated = {
        "format": 1, "key": "unit", "project_id": "shop", "pipeline": PIPELINE, "unit": "file", "total": 2,
        "index": index, "items": list(items),
    }  # fmt: skip
    return stated | fields


def form_of(report: str | None, *assignments: Any) -> FormData:
    form = FormData()
    if report is not None:
        form.add_field("report", report, filename="junit.xml", content_type="text/xml")
    for number, stated in enumerate(assignments):
        content = stated if isinstance(stated, bytes) else json.dumps(stated).encode()
        form.add_field("split", BytesIO(content), filename=f"{number}.json", content_type="application/json")
    return form


async def put_plan(reports: Reports, total: int = 2, items: Sequence[str] = FILES, **fields: Any) -> list[list[str]]:
    """Store a plan, and return its parts."""
    plan = plan_parts(items, {}, total)
    parts = [{"index": n, "items": part, "predicted_ms": None} for n, part in enumerate(plan.parts, 1)]
    document: dict[str, Any] = {"unit": "file", "total": total, "variant": {}, "path_prefix": ""} | fields
    ref = {"project_id": "shop", "key": "unit", "pipeline": PIPELINE, "run_id": ""}
    ref.update({name: document.pop(name) for name in ref.keys() & document.keys()})
    statement = (
        "INSERT INTO splits (org_id, project_id, key, pipeline, run_id, document, digest, created_by)"
        " VALUES ($1, $2, $3, $4, $5, $6, '', 'key_1')"
    )
    stored = write_document({**document, "parts": parts, "unknown_items": 0, "gain_ms": 0})
    async with as_organization(reports.api.resources.pool, reports.api.org_id) as connection:
        await connection.execute(statement, reports.api.org_id, *ref.values(), stored)
    return [list(part) for part in plan.parts]


async def execute(
    reports: Reports, items: Sequence[str], index: int = 1, run_id: str = RUN, part: str | None = None,
    files: Sequence[str] | None = None, stated: dict[str, Any] | None = None, **params: str,
) -> Any:  # fmt: skip
    """Send the report of a job, whose assignment has these items, and return the receipt."""
    fields = {"pipeline": run_id.partition(":")[0], "branch": "main", "part": part or f"unit {index}", **params}
    form = form_of(
        report_of(items if files is None else files), assignment(**{"items": items, "index": index, **(stated or {})})
    )
    receipt = await reports.ingest(form, run_id, fields)
    assert receipt["status"] == "stored", receipt
    return receipt


async def compare(reports: Reports, run_id: str = RUN) -> Any:
    comparison = await reports.api.get(f"/v1/runs/{run_id}/comparison")
    COMPARISON.validate_python(comparison)
    return comparison


async def missing(reports: Reports, run_id: str = RUN) -> list[tuple[str, str]] | None:
    """Return the missing items with their reasons, or None if the run has no split."""
    comparison = await compare(reports, run_id)
    if comparison["missing_items"] is None:
        return None
    assert comparison["missing_items"] == len(comparison["missing_items_sample"])
    return [(item["item"], item["reason"]) for item in comparison["missing_items_sample"]]


async def test_item_that_no_upload_states_is_missing(reports: Reports) -> None:
    first, second = await put_plan(reports)
    await execute(reports, first)
    assert await missing(reports) == [(item, "no_upload") for item in second]
    await execute(reports, second, 2)
    assert await missing(reports) == []


async def decide(reports: Reports, **policy: Any) -> Any:
    """Return the decision of a policy without a gate."""
    response = await reports.api.send(
        "POST", f"/v1/runs/{RUN}/decisions", json={"policy": {"max_failures": 0, **policy}}
    )
    assert response.status == 200, await response.text()
    decision = await response.json()
    DECISION.validate_python(decision)
    return decision


def rule(decision: Any) -> Any:
    return next((each for each in decision["rules"] if each["rule"] == "max_missing_items"), None)


async def baseline(reports: Reports, files: Sequence[str] = FILES, **params: str) -> None:
    """Store a run of main with results of these files, without a split."""
    receipt = await reports.ingest(report_of(files), "github-0:shop", {"branch": "main", "part": "unit", **params})
    assert receipt["status"] == "stored"


async def test_run_of_a_killed_job_is_blocked_by_default_and_its_items_are_named(reports: Reports) -> None:
    first, second = await put_plan(reports)
    await execute(reports, first)
    decision = await decide(reports)
    assert decision["decision"] == "blocked"
    assert rule(decision) == {"rule": "max_missing_items", "limit": 0, "value": 2, "passed": False}
    assert decision["missing_items_sample"] == [
        {"key": "unit", "item": item, "index": 2, "reason": "no_upload"} for item in second
    ]
    assert (await decide(reports, max_missing_items=2))["decision"] == "passed"
    assert (await decide(reports, max_missing_items=1))["decision"] == "blocked"


async def test_stored_decision_of_a_gate_has_the_missing_items(reports: Reports) -> None:
    first, second = await put_plan(reports)
    await execute(reports, first)
    put = await reports.api.send("PUT", "/v1/gates/release", json={"policy": {"max_missing_items": 1}})
    assert (put.status, (await put.json())["policy"]["max_missing_items"]) == (201, 1)
    path, body = f"/v1/runs/{RUN}/decisions", {"gate": "release"}
    blocked = await (await reports.api.send("POST", path, json=body)).json()
    assert (blocked["decision"], blocked["missing_items"]) == ("blocked", 2)
    assert await reports.api.get(f"/v1/decisions/{blocked['id']}") == blocked
    await execute(reports, second, 2)
    passed = await (await reports.api.send("POST", path, json=body)).json()
    assert (passed["decision"], passed["missing_items"]) == ("passed", 0)


async def test_rule_is_not_evaluated_without_a_split(reports: Reports) -> None:
    await baseline(reports)
    await reports.ingest(report_of(FILES), RUN, {"pipeline": PIPELINE, "branch": "main", "part": "unit"})
    decision = await decide(reports, max_missing_items=0)
    assert (rule(decision), decision["decision"]) == (None, "passed")
    assert (decision["missing_items"], decision["missing_items_sample"]) == (None, [])


async def test_retried_job_executes_its_items(reports: Reports) -> None:
    await baseline(reports)
    first, second = await put_plan(reports)
    await execute(reports, first)
    await execute(reports, second[:1], 2, stated={"items": second}, attempt="1")  # the other file can't be loaded
    assert await missing(reports) == [(second[1], "no_results")]
    await execute(reports, second, 2, attempt="2")
    assert await missing(reports) == []


async def test_rejected_upload_does_not_count_until_it_is_repaired(reports: Reports) -> None:
    first, second = await put_plan(reports)
    await execute(reports, first)
    params = {"pipeline": PIPELINE, "part": "unit 2"}
    receipt = await reports.ingest(form_of("<testsuite", assignment(second, 2)), RUN, params)
    assert receipt["status"] == "rejected"
    assert await missing(reports) == [(item, "no_upload") for item in second]
    await execute(reports, second, 2)
    assert await missing(reports) == []


async def test_equal_report_that_was_accepted_before_gets_the_assignment(reports: Reports) -> None:
    first, second = await put_plan(reports)
    await execute(reports, first)
    params, report = {"pipeline": PIPELINE, "branch": "main", "part": "unit 2"}, report_of(second)
    before = await reports.ingest(form_of(report), RUN, params)
    assert await missing(reports) == [(item, "no_upload") for item in second]
    after = await reports.ingest(form_of(report, assignment(second, 2)), RUN, params)
    assert (after["id"], await missing(reports)) == (before["id"], [])
    await reports.ingest(form_of(report, assignment([], 2)), RUN, params)  # the first assignment of a receipt counts
    assert await missing(reports) == []


async def test_deselected_tests_of_an_executed_file_are_not_missing(reports: Reports) -> None:
    await baseline(reports)
    first, second = await put_plan(reports)
    form = form_of(report_of(first, ["one"]), assignment(first))
    await reports.ingest(form, RUN, {"pipeline": PIPELINE, "branch": "main", "part": "unit 1"})
    await execute(reports, second, 2)
    assert await missing(reports) == []


async def test_item_without_results_is_missing_only_if_the_baseline_has_results(reports: Reports) -> None:
    await baseline(reports, FILES[:3])  # d.py is new, and has no tests
    first, second = await put_plan(reports)
    assert (first, second) == (["a.py", "c.py"], ["b.py", "d.py"])
    await execute(reports, first, files=["a.py"])
    await execute(reports, second, 2, files=["b.py"])
    assert await missing(reports) == [("c.py", "no_results")]


async def test_item_without_expected_results_is_missing_until_another_upload_executes_it(reports: Reports) -> None:
    first, second = await put_plan(reports)
    await execute(reports, first, files=["a.py"], stated={"expects_results": True})
    await execute(reports, second, 2, files=["b.py"])
    assert await missing(reports) == [("c.py", "no_results")]
    await execute(reports, first, files=["c.py"], part="retry", stated={"expects_results": True})
    assert await missing(reports) == []


async def test_items_split_by_name_are_missing_without_a_plan(reports: Reports) -> None:
    parts = {index: select_by_name(FILES, 2, index) for index in (1, 2)}
    assert all(parts.values())
    await execute(reports, parts[1], stated={"all_items": FILES})
    assert await missing(reports) == [(item, "no_upload") for item in parts[2]]
    assert (await compare(reports))["missing_items_sample"][0]["index"] is None
    (split,) = (await reports.api.get(f"/v1/runs/{RUN}/splits"))["data"]
    assert (split["by_name"], [part["items"] for part in split["parts"]]) == (True, [len(parts[1]), len(parts[2])])
    await execute(reports, parts[2], 2, stated={"all_items": FILES})
    assert await missing(reports) == []


async def test_job_that_splits_by_name_beside_a_plan_loses_nothing_silently(reports: Reports) -> None:
    first, _ = await put_plan(reports)
    second = select_by_name([*FILES, "new.py"], 2, 2)
    await execute(reports, first)
    await execute(reports, second, 2, stated={"all_items": [*FILES, "new.py"]})
    lost = sorted({*FILES, "new.py"} - {*first, *second})
    assert lost
    assert await missing(reports) == [(item, "no_upload") for item in lost]


async def test_splits_of_one_pipeline_have_their_own_keys_and_variants(reports: Reports) -> None:
    await baseline(reports, variant="os:windows")
    for key, variant in (("linux", {"os": "linux"}), ("windows", {"os": "windows"})):
        await put_plan(reports, key=key, variant=variant)
    for index, items in enumerate((["a.py", "c.py"], ["b.py", "d.py"]), 1):
        stated = {"key": "linux", "variant": {"os": "linux"}}
        await execute(reports, items, index, stated=stated, part=f"linux {index}", variant="os:linux")
    comparison = await compare(reports)
    assert {item["key"] for item in comparison["missing_items_sample"]} == {"windows"}
    assert comparison["missing_items"] == 4
    stated = {"key": "windows", "variant": {"os": "windows"}, "items": FILES}
    await execute(reports, ["a.py"], stated=stated, part="windows 1", variant="os:windows")
    assert await missing(reports) == [(item, "no_results") for item in FILES[1:]]  # results of linux don't count


async def test_equal_keys_of_two_variants_without_the_server_are_two_splits(reports: Reports) -> None:
    stated = {"all_items": FILES, "total": 1}
    await execute(reports, FILES, stated={**stated, "variant": {"os": "linux"}}, variant="os:linux", part="linux")
    lost = {"all_items": FILES, "variant": {"os": "windows"}}
    await execute(reports, ["a.py"], stated=lost, variant="os:windows", part="windows")
    assert await missing(reports) == [(item, "no_upload") for item in FILES[1:]]


async def test_cases_are_items(reports: Reports) -> None:
    await baseline(reports)
    items = ["unit > a.py > one", "unit > a.py > two", "unit > b.py > one"]
    await put_plan(reports, 1, items, unit="case")
    form = form_of(report_of(["a.py"], ["one"]), assignment(items[:2], unit="case"))
    await reports.ingest(form, RUN, {"pipeline": PIPELINE, "branch": "main", "part": "unit"})
    assert await missing(reports) == [("unit > a.py > two", "no_results"), ("unit > b.py > one", "no_upload")]


async def test_files_are_relative_to_the_folder_of_the_split(reports: Reports) -> None:
    await baseline(reports, ["web/a.py", "a.py"])
    await put_plan(reports, 1, ["./a.py"], path_prefix="web")
    await execute(reports, ["./a.py"], files=["a.py"], stated={"path_prefix": "web"})
    assert await missing(reports) == [("./a.py", "no_results")]
    await execute(reports, ["./a.py"], files=["web/a.py"], stated={"path_prefix": "web"}, part="unit 2")
    assert await missing(reports) == []


async def test_results_of_other_runs_of_the_pipeline_and_project_count(reports: Reports) -> None:
    await baseline(reports)
    await put_plan(reports, 1)
    await execute(reports, FILES, files=["a.py"])
    assert await missing(reports) == [(item, "no_results") for item in FILES[1:]]
    params = {"branch": "main", "pipeline": PIPELINE}
    await reports.ingest(report_of(FILES[1:]), "second", params)
    assert await missing(reports) == []
    assert await missing(reports, "second") == []


async def test_splits_without_a_pipeline_belong_to_their_run(reports: Reports) -> None:
    await put_plan(reports, pipeline="", run_id="nightly-1")
    stated: dict[str, Any] = {"pipeline": None, "run_id": "nightly-1"}
    form = form_of(report_of(["a.py"]), assignment(["a.py", "c.py"], **stated))
    await reports.ingest(form, "nightly-1", {"branch": "main", "part": "unit 1"})
    await reports.ingest(report_of(FILES), "nightly-2", {"branch": "main", "part": "unit 1"})
    assert await missing(reports, "nightly-1") == [("b.py", "no_upload"), ("d.py", "no_upload")]
    assert await missing(reports, "nightly-2") is None


async def test_upload_that_states_another_pipeline_than_its_run_has_its_splits(reports: Reports) -> None:
    _, second = await put_plan(reports, pipeline="other-9")
    form = form_of(report_of(["a.py"]), assignment(["a.py", "c.py"], pipeline="other-9"))
    await reports.ingest(form, RUN, {"branch": "main", "part": "unit 1"})
    assert await missing(reports) == [(item, "no_upload") for item in second]


async def test_too_many_splits_are_unknown_and_block(reports: Reports) -> None:
    for number in range(21):
        await put_plan(reports, 1, ["a.py"], key=f"key {number}")
    await execute(reports, ["a.py"])
    assert await missing(reports) is None
    assert rule(await decide(reports)) == {"rule": "max_missing_items", "limit": 0, "value": None, "passed": False}
    assert (await reports.api.error(f"/v1/runs/{RUN}/splits", 409))["code"] == "conflict"


async def test_splits_of_a_run_have_durations_and_receipts(reports: Reports) -> None:
    first, second = await put_plan(reports)
    receipt = await execute(reports, first, files=["a.py"])
    found = await reports.api.get(f"/v1/runs/{RUN}/splits")
    SPLITS.validate_python(found)
    (split,) = found["data"]
    parts = split.pop("parts")
    assert split == {
        "key": "unit", "unit": "file", "total": 2, "variant": {}, "path_prefix": "", "by_name": False,
        "missing_items": [{"key": "unit", "item": item, "index": 2, "reason": "no_upload"} for item in second],
    }  # fmt: skip
    assert parts == [
        {"index": 1, "items": 2, "predicted_ms": None, "duration_ms": 1_000, "receipts": [receipt["id"]]},
        {"index": 2, "items": 2, "predicted_ms": None, "duration_ms": None, "receipts": []},
    ]


async def test_splits_of_other_projects_and_organizations_are_not_found(reports: Reports) -> None:
    await put_plan(reports, project_id="other")
    other, key = await reports.api.make_organization("other")
    acme, reports.api.org_id = reports.api.org_id, other
    await put_plan(reports)
    reports.api.org_id = acme
    await reports.ingest(report_of(["a.py"]), RUN, {"pipeline": PIPELINE, "branch": "main", "part": "unit 1"})
    form = form_of(report_of(["b.py"]), assignment(FILES))
    sent = await reports.post(form, "github-1:other", {"pipeline": PIPELINE, "branch": "main"}, key)
    assert sent.status == 202
    assert await missing(reports) is None
    assert (await reports.api.get(f"/v1/runs/{RUN}/splits"))["data"] == []
    await reports.api.error(f"/v1/runs/{RUN}/splits", 404, key=key)


async def test_unfinished_session_of_pytest_is_blocked_by_default(reports: Reports) -> None:
    """The run has an error that no result explains, such as the end of the session by a signal."""
    report = (
        '<testsuites><testsuite name="pytest" errors="1" failures="0" tests="1">'
        '<testcase classname="tests" name="one" file="a.py" time="0.1"/></testsuite></testsuites>'
    )
    receipt = await reports.ingest(report, RUN, {"pipeline": PIPELINE, "branch": "main"})
    assert receipt["status"] == "stored"
    assert (await decide(reports))["decision"] == "blocked"


@pytest.mark.parametrize("seed", range(6))
async def test_missing_items_equal_those_of_a_brute_force_search(reports: Reports, seed: int) -> None:
    """Random plans, splits by name, lost jobs, rejected uploads, and lost results, in the words of the definition."""
    random = Random(seed)
    items = [f"{letter}.py" for letter in "abcdefgh"]
    had_results = sorted(random.sample(items, 5))
    await baseline(reports, had_results)
    total, has_plan = random.randint(1, 4), random.random() < 0.7
    parts = await put_plan(reports, total, items) if has_plan else []
    known = set(items) if has_plan else set()
    assigned, executed = set[str](), set[str]()
    for index in range(1, total + 1):
        by_name = not has_plan or random.random() < 0.4
        own = select_by_name(items, total, index) if by_name else parts[index - 1]
        fate = random.choice(("stored", "stored", "rejected", "killed"))
        if fate == "killed":
            continue
        with_results = [item for item in own if random.random() < 0.7]
        stated = {"total": total, "all_items": items if by_name else None}
        report = "<testsuite" if fate == "rejected" else report_of(with_results)
        params = {"pipeline": PIPELINE, "branch": "main", "part": f"unit {index}"}
        receipt = await reports.ingest(form_of(report, assignment(own, index, **stated)), RUN, params)
        assert receipt["status"] == fate
        if fate == "stored":
            known |= set(items) if by_name else set()
            assigned |= set(own)
            executed |= set(with_results)
    await reports.ingest(report_of([]), RUN, {"pipeline": PIPELINE, "branch": "main", "part": "other"})
    lost = [(item, "no_upload") for item in known - assigned]
    lost += [(item, "no_results") for item in assigned & set(had_results) - executed]
    assert await missing(reports) == (sorted(lost) if known else None)


async def test_run_without_a_split_needs_one_statement(reports: Reports, monkeypatch: pytest.MonkeyPatch) -> None:
    await baseline(reports)
    await reports.ingest(report_of(FILES), RUN, {"pipeline": PIPELINE, "branch": "main", "part": "unit"})
    executed = record_statements(monkeypatch)
    assert await missing(reports) is None
    assert sum("split_assignments" in statement for statement in executed) == 1
    queries = statements("splits", "queries").values()
    assert sum(statement in queries for statement in executed) == 1
