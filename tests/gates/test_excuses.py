"""Excuses: all conditions, with uploaded reports. A job may pass only if nothing is in doubt."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.gates.excusing import BASELINE, FAILING, JOB, Jobs, junit
from tests.report_api import serving_reports_with_ingester

pytestmark = pytest.mark.slow


@pytest.fixture
async def jobs(database_url: str, tmp_path: Path) -> AsyncIterator[Jobs]:
    async with serving_reports_with_ingester(database_url, tmp_path) as reports:
        yield Jobs(reports)


async def test_quarantined_failures_are_excused_and_stored_once(jobs: Jobs) -> None:
    await jobs.store_baseline(**JOB)
    quarantine = await jobs.quarantine()
    receipt = await jobs.upload(FAILING, **JOB, final="false")
    status, excuse = await jobs.post([receipt], failures=1)
    (failing,) = (await jobs.api.get("/v1/results", {"run_id": "run_1", "status": "failed"}))["data"]
    assert status == 201
    assert excuse == {
        "id": excuse["id"], "run_id": "run_1", "revision": 1, "part": "unit", "variant": {}, "shard": None,
        "receipts": [receipt], "failures": 1, "allow_missing_cases": False, "baseline_run_id": "main_1",
        "excused": True, "results": [{"id": failing["id"], "quarantine_id": quarantine}], "reasons": [],
        "created_by": excuse["created_by"], "created_by_name": "test", "created_at": excuse["created_at"],
    }  # fmt: skip
    assert await jobs.post([receipt, receipt], failures=1) == (200, excuse)
    other = await jobs.post([receipt])
    assert (other[0], other[1]["id"] != excuse["id"]) == (201, True)
    actions = [row["action"] for row in await jobs.api.store.pool.fetch("SELECT action FROM audit_trail")]
    assert actions.count("POST /v1/runs/run_1/excuses") == 2
    assert (await jobs.api.get("/v1/runs/run_1"))["status"] == "failed"


async def test_concurrent_requests_store_one_excuse(jobs: Jobs) -> None:
    await jobs.store_baseline()
    await jobs.quarantine()
    receipt = await jobs.upload(FAILING)
    found = await asyncio.gather(*(jobs.post([receipt]) for _ in range(10)))
    assert sorted(status for status, _ in found) == [200] * 9 + [201]
    assert await jobs.api.store.pool.fetchval("SELECT count(*) FROM excuses") == 1


@pytest.mark.parametrize(
    ("report", "text"),
    [
        (b'<testsuite name="shop" tests="4" failures="1">%s</testsuite>' % junit(FAILING)[23:-12], "declares 4"),
        (junit(FAILING, b='<unheard-of/>'), "unknown elements"),
        (junit(FAILING, a='<failure message="&#27;[31mno"/>'), "doesn't permit"),
        (junit({**FAILING, "n" * 1_001: "passed"}), "truncated"),
        (b'{"results": [{"suite": "shop", "name": "a", "status": "failed"}, {"suite": "shop"}]}', "name"),
    ],
)  # fmt: skip
async def test_report_that_is_not_stored_as_it_is_refuses(jobs: Jobs, report: bytes, text: str) -> None:
    await jobs.store_baseline(FAILING)
    await jobs.quarantine()
    receipt = await jobs.upload(report)
    (reason, *others) = (await jobs.excuse(receipt, allow_missing_cases=True))["reasons"]
    assert reason["condition"] == "reports"
    assert text in reason["text"]
    assert {other["condition"] for other in others} <= {"reports"}


async def test_long_details_of_a_failure_are_no_doubt(jobs: Jobs) -> None:
    await jobs.store_baseline()
    await jobs.quarantine()
    receipt = await jobs.upload(junit(FAILING, a=f"<failure message='no'>{'x' * 200_000}</failure>"))
    assert (await jobs.api.get(f"/v1/receipts/{receipt}"))["problems"]
    assert (await jobs.excuse(receipt))["excused"]


@pytest.mark.parametrize("status", ["queued", "processing"])
async def test_unfinished_report_refuses(jobs: Jobs, status: str) -> None:
    await jobs.store_baseline()
    await jobs.quarantine()
    finished, other = await jobs.upload(FAILING, **JOB), await jobs.upload({"d": "passed"}, **JOB)
    await jobs.api.store.pool.execute(
        "UPDATE receipts SET status = $1, due_at = 'infinity' WHERE receipt_id = $2", status, other
    )
    reason = (await jobs.excuse(finished, other, allow_missing_cases=True))["reasons"][0]
    assert reason == {"condition": "reports", "text": f"the report {other} isn't processed yet; wait for its receipt"}


async def test_canceled_run_and_stated_errors_refuse(jobs: Jobs) -> None:
    await jobs.quarantine()
    for status in ("canceled", "error"):
        results = '[{"suite": "shop", "name": "a", "status": "failed"}]'
        body = f'{{"run": {{"run_id": "x", "status": "{status}"}}, "results": {results}}}'.encode()
        receipt = await jobs.upload(body, status, **JOB)
        texts = [
            each["text"] for each in (await jobs.excuse(receipt, run_id=status, allow_missing_cases=True))["reasons"]
        ]
        assert texts == ["a report of the job states an error or a cancellation that isn't a result"]


PYTEST = b'<testsuite name="pytest">%s</testsuite>'
OUTSIDE = {
    "collection": PYTEST % b'<testcase name="tests.test_x"><error message="collection failure">E</error></testcase>',
    "internal": PYTEST % b'<testcase classname="pytest" name="internal"><error message="internal error"/></testcase>',
    "teardown": PYTEST % b'<testcase classname="t" name="test_x"><error message="failed on teardown with no"/>'
    b'</testcase>',
    "call and teardown": PYTEST % (
        b'<testcase classname="t" name="test_x"><failure message="no">E</failure></testcase>'
        b'<testcase classname="t" name="test_x"><error message="failed on teardown with no">E</error></testcase>'
    ),
    "worker": PYTEST % (
        b'<testcase classname="t" name="test_x">'
    b'<failure message="worker \'gw0\' crashed while running \'t.py::test_x\'"/>'
        b"</testcase>"
    ),
    "suite": b'<testsuite name="shop"><testcase name="a"/><error message="no"/></testsuite>',
    "class": b'<testsuite name="shop.CartTest"><testcase name="" classname="shop.CartTest"><error/></testcase>'
    b'</testsuite>',
    "mocha": b'<testsuite name="cart"><testcase name="cart &quot;before each&quot; hook for &quot;adds&quot;">'
    b'<failure/></testcase></testsuite>',
    "gradle": b'<testsuite name="shop.CartTest"><testcase name="initializationError" classname="shop.CartTest">'
    b'<failure/></testcase></testsuite>',
    "go": b'<testsuite name="shop"><testcase name="TestMain" classname="shop"><failure/></testcase></testsuite>',
    "unittest": b'<testsuite name="s"><testcase name="setUpClass (shop.CartTest)" classname="shop"><error/>'
    b'</testcase></testsuite>',
    "node": b'<testsuites><testcase name="test/cart.test.js" classname="test"><failure/></testcase></testsuites>',
    "testng": b'<testng-results total="1" failed="0" skipped="0"><suite name="s"><test name="t">'
    b'<class name="shop.Cart">'
    b'<test-method is-config="true" status="FAIL" name="setUp" signature="setUp()"/>'
    b'<test-method status="PASS" name="adds" signature="adds()"/></class></test></suite></testng-results>',
    "mochawesome": b'{"stats": {"tests": 1, "failures": 0}, "results": [{"title": "", "fullFile": "a.js", "file":'
    b' "a.js",'
    b' "tests": [{"title": "adds", "fullTitle": "adds", "state": "passed"}], "suites": [], "beforeHooks":'
    b' [], "afterHooks":'
    b' [{"title": "cleans up", "fullTitle": "cleans up", "state": "failed", "fail": true, "err":'
    b' {"message": "no"}}]}]}',
    "robot": b'<testsuite name="Pay"><testcase name="Pays" classname="Pay"><failure message="Parent suite setup failed:'
    b'&#10;no database"/></testcase></testsuite>',
    "go test": b'{"Action":"start","Package":"shop"}\n{"Action":"output","Package":"shop","Output":"FAIL\\n"}\n'
    b'{"Action":"fail","Package":"shop","Elapsed":1}\n',
    "pytest-json": b'{"created": 1780000000.0, "duration": 1.0, "exitcode": 2, "root": "/w", "environment": {},'
    b' "summary":'
    b' {"total": 0, "collected": 0}, "collectors": [{"nodeid": "tests/test_x.py", "outcome": "failed", "result": [],'
    b' "longrepr": "E"}], "tests": []}',
    "xunit": b'<assemblies><assembly name="shop.dll" total="0" errors="1"><errors>'
    b'<error type="test-class-cleanup" name="shop">'
    b'<failure exception-type="E"><message>no</message></failure></error></errors></assembly></assemblies>',
}  # fmt: skip


@pytest.mark.parametrize("name", OUTSIDE)
async def test_failure_outside_of_a_test_refuses_although_it_is_quarantined(jobs: Jobs, name: str) -> None:
    receipt = await jobs.upload(OUTSIDE[name])
    failing = (await jobs.api.get("/v1/results", {"run_id": "run_1"}))["data"]
    failing = [each for each in failing if each["status"] in ("failed", "error")]
    assert len(failing) == 1
    await jobs.quarantine(name=None, suite=None, case=failing[0]["case"])  # type: ignore[arg-type]
    excuse = await jobs.excuse(receipt, allow_missing_cases=True)
    refused = [reason for reason in excuse["reasons"] if reason["condition"] != "reports"]
    assert [reason["condition"] for reason in refused] == ["outside_tests"]
    assert len(excuse["results"]) == 1


async def test_only_a_quarantine_that_names_the_test_exactly_excuses(jobs: Jobs) -> None:
    await jobs.store_baseline()
    receipt = await jobs.upload(FAILING)
    for fields in (
        {"name": "*"}, {"name": "a*"}, {"name": "?"}, {"suite": None}, {"suite": "*"}, {"suite": "sho?"},
        {"name": "A"}, {"variant": {"os": "linux"}}, {"project_id": "blog"}, {"name": "b"},
    ):  # fmt: skip
        await jobs.quarantine(**fields)
    (reason,) = (await jobs.excuse(receipt))["reasons"]
    text = "no active quarantine names these failing tests exactly: shop > a"
    assert reason == {"condition": "quarantines", "text": text}
    exact = await jobs.quarantine()
    await jobs.quarantine()
    excuse = await jobs.excuse(receipt)
    assert (excuse["excused"], excuse["results"][0]["quarantine_id"]) == (True, exact)


async def test_name_with_a_wildcard_is_no_exact_name(jobs: Jobs) -> None:
    await jobs.quarantine("a?")
    receipt = await jobs.upload({"a?": "failed"})
    assert await jobs.conditions(receipt, allow_missing_cases=True) == ["quarantines"]


async def test_failures_that_a_job_declares_and_lacks_refuse(jobs: Jobs) -> None:
    await jobs.quarantine()
    receipt = await jobs.upload(FAILING, **JOB, final="false")
    change = "UPDATE runs SET shard_versions = jsonb_set(shard_versions, $1, 'true')"
    await jobs.upload({"d": "passed"}, part="other", attempt="1")
    await jobs.api.store.pool.execute(change, ["10002", "1"])
    assert (await jobs.excuse(receipt, allow_missing_cases=True))["excused"]
    await jobs.api.store.pool.execute(change, ["10001", "1"])
    assert await jobs.conditions(receipt, allow_missing_cases=True) == ["reports"]


async def test_variant_of_the_quarantine_must_be_that_of_the_result(jobs: Jobs) -> None:
    await jobs.store_baseline(variant="os:linux")
    receipt = await jobs.upload(FAILING, variant="os:linux")
    for variant in ({}, {"os": "mac"}, {"os": "linux", "arch": "arm"}):
        await jobs.quarantine(variant=variant)
    assert await jobs.conditions(receipt) == ["quarantines"]
    await jobs.quarantine(variant={"os": "linux"})
    assert (await jobs.excuse(receipt))["excused"]


async def test_quarantine_of_a_case_excuses_until_it_ends_or_expires(jobs: Jobs) -> None:
    await jobs.store_baseline()
    receipt = await jobs.upload(FAILING)
    case = (await jobs.api.get("/v1/results", {"run_id": "run_1", "status": "failed"}))["data"][0]["case"]
    named = {"suite": "shop", "name": "a", "variant": {}}
    first = await jobs.quarantine(name=None, suite=None, case=case)  # type: ignore[arg-type]
    assert (await jobs.api.get(f"/v1/quarantines/{first}"))["named_case"] == named
    assert [each["named_case"] for each in (await jobs.api.get("/v1/quarantines"))["data"]] == [named]
    excused = await jobs.excuse(receipt)
    assert excused["excused"]
    await jobs.api.store.pool.execute("UPDATE quarantines SET expires_at = now()")
    refused = await jobs.excuse(receipt)
    assert (refused["excused"], refused["results"]) == (False, [])
    second = await jobs.quarantine(name=None, suite=None, case=case)  # type: ignore[arg-type]
    assert (await jobs.excuse(receipt))["results"][0]["quarantine_id"] == second
    await jobs.api.send("DELETE", f"/v1/quarantines/{second}")
    assert await jobs.excuse(receipt) == refused


async def test_text_of_a_fork_excuses_only_by_its_case(jobs: Jobs) -> None:
    await jobs.store_baseline()
    receipt = await jobs.upload(FAILING)
    await jobs.quarantine()
    await jobs.api.store.pool.execute("UPDATE cases SET promoted = true, case_id = 'stated' WHERE name = 'a'")
    assert await jobs.conditions(receipt) == ["quarantines"]
    case = (await jobs.api.get("/v1/results", {"run_id": "run_1", "status": "failed"}))["data"][0]["case"]
    await jobs.quarantine(name=None, suite=None, case=case)  # type: ignore[arg-type]
    assert (await jobs.excuse(receipt))["excused"]


@pytest.mark.parametrize("results", [{"a": "failed", "b": "passed"}, {"a": "failed", "b": "passed", "c": "skipped"}])
async def test_case_that_the_baseline_executed_must_be_executed(jobs: Jobs, results: dict[str, str]) -> None:
    await jobs.store_baseline({**BASELINE, "skips": "skipped"}, **JOB)
    await jobs.quarantine()
    receipt = await jobs.upload(results, **JOB)
    (reason,) = (await jobs.excuse(receipt))["reasons"]
    text = "the job executed these tests in run main_1, but not now: shop > c"
    assert reason == {"condition": "missing_cases", "text": text}
    assert (await jobs.excuse(receipt, allow_missing_cases=True))["excused"]


async def test_case_that_only_another_job_executes_is_missing(jobs: Jobs) -> None:
    await jobs.store_baseline(**JOB)
    await jobs.quarantine()
    receipt = await jobs.upload({"a": "failed", "b": "passed"}, **JOB, final="false")
    await jobs.upload({"c": "passed"}, part="other", attempt="1")
    assert await jobs.conditions(receipt) == ["missing_cases"]


async def test_job_is_compared_with_its_own_run_if_each_job_has_one(jobs: Jobs) -> None:
    await jobs.quarantine()
    await jobs.store_baseline(**JOB)
    await jobs.upload({"other": "passed"}, "main_2", part="other", completed_at="2026-05-01T02:00:00Z")
    receipt = await jobs.upload(FAILING, **JOB)
    excuse = await jobs.excuse(receipt)
    assert (excuse["excused"], excuse["baseline_run_id"]) == (True, "main_1")
    fewer = await jobs.upload({"a": "failed"}, "run_2", **JOB)
    _, refused = await jobs.post([fewer], "run_2")
    assert [reason["condition"] for reason in refused["reasons"]] == ["missing_cases"]


async def test_without_a_baseline_of_the_job_nothing_is_excused(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    await jobs.quarantine()
    receipt = await jobs.upload(FAILING, **JOB)
    texts: list[str] = []
    for step in (None, {"part": "other"}, JOB):
        if step:
            await jobs.upload(BASELINE, f"main_{len(texts)}", completed_at=f"2026-05-0{len(texts)}T01:00:00Z", **step)
        texts += [reason["text"] for reason in (await jobs.excuse(receipt))["reasons"]]
    assert texts == ["no complete run among the newest ones of the base branch has results of this job"] * 2
    monkeypatch.setattr("service.gates.excuse_part.MAX_COMPARED_RESULTS", 2)
    (reason,) = (await jobs.excuse(receipt))["reasons"]
    assert reason["text"] == "the run or its baseline has 3 results; at most 2 are compared"
    assert (await jobs.excuse(receipt, allow_missing_cases=True))["excused"]


async def test_stated_number_must_equal_the_failing_results(jobs: Jobs) -> None:
    await jobs.store_baseline()
    await jobs.quarantine()
    receipt, passed = await jobs.upload(FAILING, **JOB), await jobs.upload(BASELINE, "run_2", **JOB)
    for failures, expected in ((0, ["failures"]), (1, []), (2, ["failures"]), (None, [])):
        found = await jobs.conditions(receipt, failures=failures, allow_missing_cases=True)
        assert found == expected, failures
    assert await jobs.conditions(passed, run_id="run_2", allow_missing_cases=True) == ["failures"]


async def test_failures_of_another_job_do_not_count(jobs: Jobs) -> None:
    """Both jobs execute `a` and `b`. The worse result of each is that of the run."""
    await jobs.quarantine()
    for part in ("api", "ui"):
        await jobs.upload(
            BASELINE,
            "main_1",
            completed_at="2026-05-01T01:00:00Z",
            part=part,
            attempt="1",
            final=str(part == "ui").lower(),
        )
    api = await jobs.upload({"a": "failed", "b": "passed", "c": "passed"}, part="api", attempt="1", final="false")
    ui = await jobs.upload({"a": "error", "b": "failed", "c": "passed"}, part="ui", attempt="1")
    assert (await jobs.excuse(api, failures=1))["excused"]
    assert await jobs.conditions(ui, failures=2) == ["quarantines"]
    await jobs.quarantine("b")
    assert (await jobs.excuse(ui, failures=2))["excused"]
    _, error = await jobs.post([api, ui])
    assert error["error"]["param"] == "receipts"


async def test_rerun_of_a_job_counts_alone(jobs: Jobs) -> None:
    await jobs.store_baseline(**JOB)
    await jobs.quarantine()
    first = await jobs.upload({"a": "failed", "b": "failed", "c": "passed"}, **JOB)
    assert await jobs.conditions(first) == ["quarantines"]
    second = await jobs.upload(FAILING, **{**JOB, "attempt": "2"})
    assert (await jobs.excuse(second, failures=1))["excused"]
    reason = (await jobs.excuse(first))["reasons"][0]
    text = f"the report {first} isn't known to be of the newest attempt of the job"
    assert reason == {"condition": "reports", "text": text}


async def test_partial_rerun_keeps_the_other_failures(jobs: Jobs) -> None:
    await jobs.store_baseline(**JOB)
    await jobs.quarantine()
    await jobs.upload({"a": "failed", "b": "failed", "c": "passed"}, **JOB)
    second = await jobs.upload({"a": "failed"}, **{**JOB, "attempt": "2"})
    assert await jobs.conditions(second) == ["quarantines", "missing_cases"]
    assert await jobs.conditions(second, allow_missing_cases=True, failures=1) == ["quarantines", "failures"]


@pytest.mark.parametrize("params", [JOB, {"part": "unit"}, {}])
async def test_other_uploads_of_the_same_job_are_a_doubt(jobs: Jobs, params: Any) -> None:
    """Another job of a matrix can have executed the tests that this one didn't, or have replaced its failures."""
    await jobs.store_baseline(**params)
    await jobs.quarantine()
    stopped = await jobs.upload({"a": "failed", "b": "failed"}, **params, final="false")
    await asyncio.sleep(1.1)  # of two results in one second, the worse one counts
    complete = await jobs.upload(FAILING, **params)
    for receipt, other in ((stopped, complete), (complete, stopped)):
        reason = (await jobs.excuse(receipt))["reasons"][0]
        text = f"the upload {other} is of the same job; give each command and job its own --part or --variant"
        assert reason == {"condition": "reports", "text": text}
    reason = (await jobs.excuse(stopped, complete))["reasons"][0]
    assert reason == {"condition": "reports", "text": "several of the reports contain the same tests"}


async def test_several_reports_of_one_job_are_excused_together(jobs: Jobs) -> None:
    await jobs.store_baseline({**BASELINE, "d": "passed"})
    await jobs.quarantine()
    first, second = await jobs.upload(FAILING, final="false"), await jobs.upload({"d": "passed"})
    assert (await jobs.excuse(first, second, failures=1))["excused"]


async def test_request_is_checked(jobs: Jobs) -> None:
    await jobs.store_baseline()
    receipt = await jobs.upload(FAILING)
    (elsewhere,) = [each["id"] for each in (await jobs.api.get("/v1/receipts", {"run_id": "main_1"}))["data"]]
    absent = "rcp_" + "0" * 32
    for other in (absent, elsewhere):
        status, body = await jobs.post([receipt, other])
        assert (status, body["error"]["message"]) == (404, f"receipt '{other}' not found")
    for fields, param in (
        ({"receipts": []}, "receipts"), ({"receipts": [absent] * 51}, "receipts"), ({"receipts": ["a"]}, "receipts"),
        ({"failures": -1}, "failures"), ({"failures": "1"}, "failures"),
        ({"allow_missing_cases": 1}, "allow_missing_cases"), ({"other": 1}, "other"),
    ):  # fmt: skip
        body = {"receipts": [receipt], **fields}
        response = await jobs.api.send("POST", "/v1/runs/run_1/excuses", json=body)
        assert (response.status, (await response.json())["error"]["param"]) == (400, param)
    assert (await jobs.post([receipt], "absent"))[0] == 404
    viewer = (await jobs.api.make_key("viewer")).key
    bound = (await jobs.api.make_key("uploader", project_id="blog")).key
    _, foreign = await jobs.api.make_organization("other")
    assert [(await jobs.post([receipt], key=key))[0] for key in (viewer, bound, foreign)] == [403, 404, 404]
    await jobs.api.store.pool.execute("UPDATE runs SET trusted = false WHERE run_id = 'run_1'")
    assert (await jobs.post([receipt]))[0] == 409
    await jobs.api.store.pool.execute("UPDATE runs SET trusted = true, results_expired = true WHERE run_id = 'run_1'")
    assert (await jobs.post([receipt]))[0] == 410
    assert await jobs.api.store.pool.fetchval("SELECT count(*) FROM excuses") == 0


async def test_repeated_key_returns_the_first_response(jobs: Jobs) -> None:
    await jobs.store_baseline()
    receipt = await jobs.upload(FAILING)
    path, body = "/v1/runs/run_1/excuses", {"receipts": [receipt]}
    first = await jobs.api.send("POST", path, json=body, Idempotency_Key="one")
    await jobs.quarantine()
    again = await jobs.api.send("POST", path, json=body, Idempotency_Key="one")
    assert (again.status, await again.json()) == (first.status, await first.json())
    assert (await jobs.excuse(receipt))["excused"]


async def test_more_failures_than_the_limit_are_not_excused(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.gates.excuse_part.MAX_EXCUSED", 1)
    await jobs.store_baseline()
    for name in "ab":
        await jobs.quarantine(name)
    receipt = await jobs.upload({"a": "failed", "b": "failed", "c": "passed"})
    excuse = await jobs.excuse(receipt)
    assert ([each["condition"] for each in excuse["reasons"]], len(excuse["results"])) == (["quarantines"], 1)


@pytest.mark.slow
async def test_50_000_results_are_excused_in_seconds(jobs: Jobs) -> None:
    large = {f"case {number}": "passed" for number in range(50_000)}
    await jobs.store_baseline(large)
    failing = [f"case {number}" for number in range(400)]
    for name in failing:
        await jobs.quarantine(name)
    receipt = await jobs.upload(large | dict.fromkeys(failing, "failed"))
    async with asyncio.timeout(10):
        excuse = await jobs.excuse(receipt, failures=400)
    assert (excuse["excused"], len(excuse["results"])) == (True, 400)
    missing = await jobs.upload(dict.fromkeys(failing, "failed"), "run_2")
    (reason,) = (await jobs.excuse(missing, run_id="run_2"))["reasons"]
    assert reason["text"].endswith("; and 49,597 more")
