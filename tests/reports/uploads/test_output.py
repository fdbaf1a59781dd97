"""The output of results that didn't pass: as log artifacts, in one object per upload."""

import json
import re
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import fromstring

import pytest
import zstandard
from aiohttp import FormData

from service.retention import files
from service.retention.files import delete_orphaned_files, delete_queued_files
from service.settings import Settings
from service.storage import Storage
from tests.buckets import new_bucket
from tests.report_api import PASSING, Reports, new_ingester, running_ingester, serving_reports_with_ingester
from tests.reports.manifests import CORPUS, OWN
from tests.served import serve

needs_corpus = pytest.mark.skipif(not CORPUS.exists(), reason="the corpus is missing")
FAILED = "<testsuite name='shop'><testcase name='pays'><failure/><system-out>{}</system-out></testcase></testsuite>"
ERROR = FAILED.replace("failure", "error")
PAGE = b64encode(b"<script>alert(1)</script>").decode()
EMBEDDING = {"name": "page", "mime_type": "text/html", "data": PAGE}
RECEIPT = re.compile("^rcp_[0-9a-f]{32}-")


@pytest.fixture
async def reports(database_url: str, tmp_path: Path) -> AsyncIterator[Reports]:
    async with serving_reports_with_ingester(database_url, tmp_path) as opened:
        yield opened


async def result_of(reports: Reports, name: str) -> Any:
    [found] = [item for item in (await reports.api.get("/v1/results"))["data"] if item["name"] == name]
    return found


async def logs(reports: Reports, name: str = "pays") -> dict[str, Any]:
    """Return the log artifacts of a result."""
    return await logs_of(reports, await result_of(reports, name))


async def logs_of(reports: Reports, found: Any) -> dict[str, Any]:
    return await logs_at(reports, f"/v1/results/{found['id']}/artifacts")


async def logs_at(reports: Reports, path: str) -> dict[str, Any]:
    """Return the log artifacts of a list by name, without the ID of the receipt."""
    listed = (await reports.api.get(path))["data"]
    return {RECEIPT.sub("", item["name"]): item for item in listed if item["kind"] == "log"}


async def texts_of_run(reports: Reports, run_id: str = "run_1") -> dict[str, str]:
    """Return the outputs of suites."""
    found = await logs_at(reports, f"/v1/runs/{run_id}/artifacts")
    return {name: await text_of(reports, artifact) for name, artifact in found.items() if name != "output.txt"}


async def text_of(reports: Reports, artifact: Any) -> str:
    response = await reports.api.send("GET", f"/v1/artifacts/{artifact['id']}")
    body = await response.read()
    assert (response.status, response.headers["Content-Length"], len(body)) == (200, str(len(body)), artifact["size"])
    return body.decode()


async def texts(reports: Reports, name: str = "pays") -> dict[str, str]:
    return {log: await text_of(reports, artifact) for log, artifact in (await logs(reports, name)).items()}


async def outputs(reports: Reports) -> list[str]:
    """Return the paths of the stored objects with output."""
    paths = [path async for batch in reports.storage.list_all("inbox") for path in batch]
    return [path for path in paths if "output-" in path]


async def age(reports: Reports) -> None:
    """Let a later report be a correction: times of events are seconds."""
    for table in ("results", "shard_results"):
        await reports.api.store.pool.execute(f"UPDATE {table} SET event_time_offset_s = event_time_offset_s - 60")


XmlOutput = tuple[str, str, str, str, str]  # file, name of the result, artifact, path of the element, a known phrase
XML: list[XmlOutput] = [
    (
        "gen-behave-tags.help.xml", "Shows current tag-expression without any tags", "system-out.txt",
        "testcase[@status='failed']/system-out", "Scenario: Shows current tag-expression without any tags",
    ),
    (
        "surefire-retry-ctrf.xml", "testFlakyFeature", "attempt-1-system-out.txt",
        "testcase/rerunFailure/system-out", "Run 2 output: Retrying testFlakyFeature...",
    ),
    (
        "surefire-retry-ctrf.xml", "testFlakyFeature", "attempt-2-system-err.txt",
        "testcase/rerunError/system-err", "Run 3 error: java.lang.NullPointerException at line 45",
    ),
    (
        "surefire-retry-ctrf.xml", "testFlakyFeature", "system-out.txt",
        "testcase/system-out", "Run 1 output: Starting testFlakyFeature...",
    ),
]  # fmt: skip


XML_OF_SUITES = [
    (
        "bazel-test-summary.xml", "1-dummy/path/to/project/and/failing_test_target-system-out.txt",
        "1 failed, 5 warnings in 43.45s",
    ),
    ("gojr-008.xml", "1-package/parallel-system-out.txt", "exit status 1"),
]  # fmt: skip


@needs_corpus
@pytest.mark.parametrize(("file", "name", "log", "path", "phrase"), XML, ids=[f"{each[0]}-{each[2]}" for each in XML])
async def test_log_is_exactly_the_text_in_the_report(
    reports: Reports, file: str, name: str, log: str, path: str, phrase: str
) -> None:
    report = (CORPUS / file).read_bytes()
    await reports.ingest(report)

    found = await texts(reports, name)
    element = fromstring(report).find(path)
    assert element is not None
    assert found[log] == element.text
    assert phrase in found[log]


@needs_corpus
@pytest.mark.parametrize(("file", "name", "phrase"), XML_OF_SUITES, ids=[file for file, *_ in XML_OF_SUITES])
async def test_output_of_a_suite_is_exactly_the_text_in_the_report(
    reports: Reports, file: str, name: str, phrase: str
) -> None:
    report = (CORPUS / file).read_bytes()
    await reports.ingest(report)

    element = fromstring(report).find(".//testsuite/system-out")
    assert element is not None
    found = (await texts_of_run(reports))[name]
    assert (found == element.text, phrase in found) == (True, True)


@needs_corpus
async def test_output_of_junit_is_exactly_the_text_in_the_report(reports: Reports) -> None:
    report = (CORPUS / "nextest-mikepenz.xml").read_bytes()
    await reports.ingest(report)

    [failing] = (await reports.api.get("/v1/results", {"status": "failed"}))["data"]
    found = (await reports.api.get(f"/v1/results/{failing['id']}/artifacts"))["data"]
    [log] = [item for item in found if item["name"] == "system-out.txt"]
    [case] = [case for case in fromstring(report).iter("testcase") if case.find("failure") is not None]
    assert await text_of(reports, log) == case.findtext("system-out")


@needs_corpus
async def test_output_of_ctrf_is_exactly_the_text_in_the_report(reports: Reports) -> None:
    await reports.ingest((CORPUS / "ctrf-spec-comprehensive.json").read_bytes())

    assert await texts(reports, "admin dashboard loads") == {
        "stdout.txt": "Loading admin dashboard\nChecking authentication",
        "stderr.txt": "Warning: Slow network detected\nError: Timeout waiting for .dashboard-metrics",
        "steps.txt": "passed: Navigate to dashboard\nfailed: Wait for metrics",
        "snippet.txt": "const metrics = await page.locator('.dashboard-metrics');\n"
        "await expect(metrics).toBeVisible();",
    }
    assert await texts(reports, "user can login") == {}


def cucumber(status: str, *embeddings: Any) -> str:
    """Return a report of Cucumber with a scenario and the files that it contains."""
    step = {"keyword": "Given ", "name": "a cart", "result": {"status": status}, "embeddings": embeddings}
    return json.dumps([{"keyword": "Feature", "name": "Cart", "elements": [{"name": "pays", "steps": [step]}]}])


async def names_of(reports: Reports, name: str) -> set[str]:
    """Return the names of the artifacts of a result."""
    found = (await reports.api.get(f"/v1/results/{(await result_of(reports, name))['id']}/artifacts"))["data"]
    return {item["name"] for item in found}


async def embedded_files(reports: Reports) -> list[str]:
    """Return the paths of the stored objects with the files that reports contain."""
    return [path async for batch in reports.storage.list_all("inbox") for path in batch if "/embedded-" in path]


@pytest.mark.parametrize("status", ["passed", "failed"])
async def test_file_in_a_report_is_a_download_of_its_result(reports: Reports, status: str) -> None:
    image = {"name": "cart.png", "mime_type": "image/png", "data": b64encode(b"\x89PNG").decode()}
    await reports.ingest(cucumber(status, image, EMBEDDING))

    found = (await reports.api.get(f"/v1/results/{(await result_of(reports, 'pays'))['id']}/artifacts"))["data"]
    by_name = {item["name"]: item for item in found if item["name"] != "steps.txt"}
    assert {name: (item["kind"], item["content_type"]) for name, item in by_name.items()} == {
        "cart.png": ("screenshot", "image/png"), "page.html": ("report", "text/html"),
    }  # fmt: skip
    page = await reports.api.send("GET", f"/v1/artifacts/{by_name['page.html']['id']}")
    assert await page.read() == b64decode(PAGE)
    assert page.headers["Content-Disposition"].startswith("attachment;")
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    image_part = await reports.api.send("GET", f"/v1/artifacts/{by_name['cart.png']['id']}", Range="bytes=1-3")
    assert (image_part.status, await image_part.read()) == (206, b"PNG")


async def test_object_with_the_files_of_a_report_is_in_no_list_and_is_deleted_with_its_run(reports: Reports) -> None:
    await reports.ingest(cucumber("passed", EMBEDDING))

    assert len(await embedded_files(reports)) == 1
    listed = (await reports.api.get("/v1/runs/run_1/artifacts"))["data"]
    assert {item["kind"] for item in listed} == {"report"}
    assert (await reports.api.send("DELETE", "/v1/runs/run_1")).status == 204
    await delete_queued_files(reports.api.store.pool, reports.storage)
    assert await embedded_files(reports) == []


async def test_file_of_a_client_replaces_no_file_that_the_service_wrote(reports: Reports) -> None:
    receipt = await reports.ingest(cucumber("failed", EMBEDDING))

    names = [f"{receipt['id']}{suffix}" for suffix in ("", "-output.txt", "-embedded")]
    for name in names:
        sent = await reports.api.http.put(
            f"/v1/runs/run_1/artifacts/{name}", data=b"x", headers={"Authorization": f"Bearer {reports.api.key}"}
        )
        assert (sent.status, (await sent.json())["kind"] == "embedded") == (201, False)
    listed = (await reports.api.get("/v1/runs/run_1/artifacts"))["data"]
    assert sorted(item["name"] for item in listed) == sorted([*names, *names[:2]])
    assert len(await embedded_files(reports)) == 1


async def test_files_of_a_report_survive_while_another_part_decides(
    reports: Reports, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_MIN_AGE", timedelta(0))
    monkeypatch.setattr(files, "_COMMIT_S", 0.0)
    await reports.ingest(cucumber("failed", EMBEDDING), params={"shard": "1/2"})
    await reports.ingest(cucumber("broken"), params={"shard": "2/2"})
    assert await names_of(reports, "pays") == {"steps.txt"}
    await delete_orphaned_files(reports.api.store.pool, reports.storage)
    await age(reports)
    await reports.ingest(cucumber("passed"), params={"shard": "2/2"})
    await delete_queued_files(reports.api.store.pool, reports.storage)

    assert await names_of(reports, "pays") == {"steps.txt", "page.html"}
    found = (await reports.api.get(f"/v1/results/{(await result_of(reports, 'pays'))['id']}/artifacts"))["data"]
    [page] = [item for item in found if item["name"] == "page.html"]
    assert await text_of(reports, page) == "<script>alert(1)</script>"


async def test_report_that_is_rejected_leaves_no_files(reports: Reports) -> None:
    await reports.ingest(PASSING)
    sent = await reports.api.http.post(
        "/v1/runs/run_1/report", data=cucumber("passed", EMBEDDING).encode(), params={"project_id": "blog"},
        headers={"Authorization": f"Bearer {reports.api.key}"},
    )  # fmt: skip
    receipt = await reports.wait_until_finished(await sent.json())
    assert (receipt["status"], await embedded_files(reports)) == ("rejected", [])


FORMATS = [
    (
        "playwright.json", "writes an attachment",
        {"attempt-1-stdout.txt": "prints a receipt\n", "stdout.txt": "prints a receipt\n"},
    ),
    (
        "go-test.jsonl", "TestTotals/two_items",
        {"output.txt": "    cart_test.go:21: total is 0, not 3\n--- FAIL: TestTotals/two_items (0.00s)\n"},
    ),
    (
        "mstest.trx", "AppliesDiscount",
        {"stdout.txt": "applies a discount", "messages.txt": "not a part of the failure\n"},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("file", "name", "expected"), FORMATS, ids=[file for file, *_ in FORMATS])
async def test_output_of_other_formats_is_the_text_in_the_report(
    reports: Reports, file: str, name: str, expected: dict[str, str]
) -> None:
    await reports.ingest((OWN / file).read_bytes())

    for found in (item for item in (await reports.api.get("/v1/results"))["data"] if item["name"] == name):
        stored = {log: artifact for log, artifact in (await logs_of(reports, found)).items() if artifact["size"]}
        assert {log: await text_of(reports, artifact) for log, artifact in stored.items()} == expected
    assert len(await outputs(reports)) == 1


async def test_log_has_the_headers_of_a_file_and_supports_ranges(reports: Reports) -> None:
    await reports.ingest(FAILED.format("0123456789"))

    log = (await logs(reports))["system-out.txt"]
    assert (log["kind"], log["content_type"], log["size"]) == ("log", "text/plain; charset=utf-8", 10)
    response = await reports.api.send("GET", f"/v1/artifacts/{log['id']}")
    assert response.headers["ETag"] == f'"{log["sha256"]}"'
    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert 'filename="system-out.txt"' in response.headers["Content-Disposition"]
    for requested, expected in (("bytes=2-4", b"234"), ("bytes=-3", b"789"), ("bytes=7-99", b"789")):
        part = await reports.api.send("GET", f"/v1/artifacts/{log['id']}", Range=requested)
        assert (part.status, await part.read()) == (206, expected)
    assert part.headers["Content-Range"] == "bytes 7-9/10"
    assert (await reports.api.send("GET", f"/v1/artifacts/{log['id']}", Range="bytes=10-")).status == 416


async def test_log_in_s3_is_sent_without_a_redirect(database_url: str, s3_url: str) -> None:
    bucket = new_bucket(s3_url)
    async with serve(database_url, artifacts_url=bucket, artifacts_redirect=True) as api:
        reports = Reports(api, Storage(bucket))
        async with running_ingester(reports, new_ingester(Settings(artifacts_url=bucket), api.store.pool)):
            await reports.ingest(FAILED.format("no stock"))
        log = (await logs(reports))["system-out.txt"]
        response = await api.http.get(
            f"/v1/artifacts/{log['id']}", headers={"Authorization": f"Bearer {api.key}"}, allow_redirects=False
        )
        assert (response.status, await response.read()) == (200, b"no stock")


async def test_all_output_of_an_upload_is_one_object(reports: Reports) -> None:
    form = FormData()
    for name in ("first", "second"):
        body = f"<testsuite name='{name}'><testcase name='{name}'><error/><system-err>{name}</system-err></testcase>"
        body += f"<system-out>suite {name}</system-out></testsuite>"
        form.add_field("report", body, filename=f"{name}.xml", content_type="application/xml")
    await reports.ingest(form)

    assert len(await outputs(reports)) == 1
    for name in ("first", "second"):
        assert await texts(reports, name) == {"system-err.txt": name}
    assert await texts_of_run(reports) == {
        "1-first-system-out.txt": "suite first", "2-second-system-out.txt": "suite second",
    }  # fmt: skip


async def test_output_belongs_to_the_result_that_wrote_it(reports: Reports) -> None:
    report = (
        "<testsuite name='shop'><testcase name='pays'><failure/><system-out>of pays</system-out></testcase>"
        "<testcase name='ships'/><testcase name='refunds'><error/></testcase><system-out>of shop</system-out>"
        "</testsuite>"
    )
    await reports.ingest(report)

    assert await texts(reports, "pays") == {"system-out.txt": "of pays"}
    for silent in ("ships", "refunds"):
        found = await result_of(reports, silent)
        assert (await reports.api.get(f"/v1/results/{found['id']}/artifacts"))["data"] == []
    assert await texts_of_run(reports) == {"1-shop-system-out.txt": "of shop"}
    listed = await reports.api.list_all("/v1/runs/run_1/artifacts", {"limit": "1"})
    names = sorted(RECEIPT.sub("", item["name"]) for item in listed)
    assert [name.partition("rcp_")[0] for name in names] == ["1-shop-system-out.txt", "output.txt", ""]
    assert {item["kind"] for item in listed} == {"log", "report"}


async def test_output_of_the_same_suite_in_several_uploads_is_stored(reports: Reports) -> None:
    report = "<testsuite name='shop'><testcase name='{0}'><error/></testcase><system-out>{0}</system-out></testsuite>"
    for shard in ("1", "2"):
        await reports.ingest(report.format(shard), params={"shard": f"{shard}/2"})

    listed = (await reports.api.get("/v1/runs/run_1/artifacts"))["data"]
    suites = [item for item in listed if item["name"].endswith("-1-shop-system-out.txt")]
    assert sorted([await text_of(reports, item) for item in suites]) == ["1", "2"]


def junit_report(count: int) -> str:
    case = "<testcase name='{0}'><failure/><system-out>output {0}</system-out></testcase>"
    return f"<testsuite name='shop'>{''.join(case.format(number) for number in range(count))}</testsuite>"


def ctrf_report(count: int) -> str:
    tests = [{"name": f"{number}", "status": "failed", "stdout": [f"output {number}"]} for number in range(count)]
    return json.dumps({"results": {"tests": tests}})


def playwright_report(count: int) -> str:
    specs = [
        {"title": f"{number}", "tests": [{"results": [{"status": "failed", "stdout": [{"text": f"output {number}"}]}]}]}
        for number in range(count)
    ]
    return json.dumps({"config": {"configFile": ""}, "suites": [{"title": "shop", "specs": specs}]})


def go_report(count: int) -> str:
    events = [
        {"Action": action, "Package": "shop", "Test": f"{number}", "Output": f"output {number}"}
        for number in range(count) for action in ("run", "output", "fail")
    ]  # fmt: skip
    return "\n".join(map(json.dumps, events))


def trx_report(count: int) -> str:
    result = (
        "<UnitTestResult testName='{0}' outcome='Failed'><Output><StdOut>output {0}</StdOut></Output></UnitTestResult>"
    )
    results = "".join(result.format(number) for number in range(count))
    return f"<TestRun><Results>{results}</Results></TestRun>"


@pytest.mark.slow
@pytest.mark.parametrize("new_report", [junit_report, ctrf_report, playwright_report, go_report, trx_report])
async def test_report_with_many_failures_writes_one_object(reports: Reports, new_report: Callable[[int], str]) -> None:
    await reports.ingest(zstandard.compress(new_report(10_000).encode()))

    paths = [path async for batch in reports.storage.list_all("") for path in batch if not path.startswith(".")]
    assert sorted("output-" in path for path in paths) == [False, True]  # the report and the output
    stored = await reports.api.store.pool.fetchval("SELECT count(*) FROM artifacts WHERE byte_offset IS NOT NULL")
    assert stored == 10_000
    [failed] = (await reports.api.get("/v1/results", {"limit": "1"}))["data"]
    found = (await reports.api.get(f"/v1/results/{failed['id']}/artifacts"))["data"]
    assert await text_of(reports, found[0]) == f"output {failed['name']}"


@pytest.mark.slow
async def test_output_that_is_too_large_is_noted_in_the_receipt(reports: Reports) -> None:
    case = f"<testcase name='a'><failure/><system-out>{'x' * 300_000}</system-out></testcase>"
    report = zstandard.compress(f"<testsuite name='shop'>{case * 300}</testsuite>".encode())
    receipt = await reports.ingest(report)

    reasons = [problem["reason"] for problem in receipt["problems"]]
    assert [reason.partition(" MiB")[0] for reason in reasons] == ["output: 44 outputs were not stored; at most 64"]
    assert (receipt["status"], receipt["results"]) == ("stored", 300)


async def test_correction_replaces_the_log(reports: Reports) -> None:
    await reports.ingest(FAILED.format("first"))
    await age(reports)
    await reports.ingest(FAILED.format("second"))
    assert await texts(reports) == {"system-out.txt": "second"}
    await age(reports)
    await reports.ingest(PASSING)
    assert await texts(reports) == {}
    assert len(await outputs(reports)) == 2


async def test_log_of_an_earlier_report_is_not_replaced_by_an_older_one(reports: Reports) -> None:
    await reports.ingest(ERROR.format("error"))
    await age(reports)
    await reports.ingest(FAILED.format("newest"))
    await reports.api.store.pool.execute("UPDATE results SET event_time_offset_s = event_time_offset_s + 600")
    await reports.ingest(ERROR.format("late"))
    assert await texts(reports) == {"system-out.txt": "newest"}


async def test_log_of_the_deciding_shard_is_listed(reports: Reports) -> None:
    await reports.ingest(FAILED.format("of shard 1"), params={"shard": "1/2"})
    await reports.ingest(ERROR.format("of shard 2"), params={"shard": "2/2"})
    assert await texts(reports) == {"system-out.txt": "of shard 2"}
    await age(reports)
    await reports.ingest(PASSING, params={"shard": "2/2"})
    assert await texts(reports) == {"system-out.txt": "of shard 1"}


async def test_uploaded_file_replaces_a_log_and_survives_a_correction(reports: Reports) -> None:
    await reports.ingest(FAILED.format("of the report"))
    found = await result_of(reports, "pays")
    path = f"/v1/results/{found['id']}/artifacts/system-out.txt"
    sent = await reports.api.http.put(path, data=b"uploaded", headers={"Authorization": f"Bearer {reports.api.key}"})
    assert sent.status == 201
    await delete_queued_files(reports.api.store.pool, reports.storage)
    assert len(await outputs(reports)) == 1
    await age(reports)
    await reports.ingest(FAILED.format("newer"))
    assert await texts(reports) == {"system-out.txt": "uploaded"}


async def test_attachments_in_output_are_still_listed(reports: Reports) -> None:
    output = "shot\n[[ATTACHMENT|shots/pay.png]]\n[[ATTACHMENT|logs/system-out.txt]]"
    await reports.ingest(FAILED.format(output))

    found = (await reports.api.get(f"/v1/results/{(await result_of(reports, 'pays'))['id']}/artifacts"))["data"]
    by_name = {item["name"]: item for item in found}
    assert (by_name["pay.png"]["uri"], by_name["system-out.txt"]["uri"]) == ("shots/pay.png", "logs/system-out.txt")
    assert await text_of(reports, by_name["report-system-out.txt"]) == output


async def test_objects_are_deleted_with_their_run(reports: Reports) -> None:
    await reports.ingest(FAILED.format("replaced by a correction"))
    await age(reports)
    await reports.ingest(FAILED.format("no stock"))
    assert len(await outputs(reports)) == 2
    assert (await reports.api.send("DELETE", "/v1/runs/run_1")).status == 204
    await delete_queued_files(reports.api.store.pool, reports.storage)
    assert await outputs(reports) == []


async def test_rejected_report_leaves_no_object(reports: Reports) -> None:
    await reports.ingest(PASSING)
    sent = await reports.api.http.post(
        "/v1/runs/run_1/report", data=FAILED.format("other project").encode(), params={"project_id": "blog"},
        headers={"Authorization": f"Bearer {reports.api.key}"},
    )  # fmt: skip
    receipt = await reports.wait_until_finished(await sent.json())
    assert receipt["status"] == "rejected"
    assert await outputs(reports) == []


@pytest.mark.parametrize(
    ("report", "kind"), [(FAILED.format("no stock"), "output"), (cucumber("passed", EMBEDDING), "embedded")]
)
async def test_cleanup_deletes_only_objects_that_no_run_uses(
    reports: Reports, report: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_MIN_AGE", timedelta(0))
    monkeypatch.setattr(files, "_COMMIT_S", 0.0)
    await reports.ingest(report)
    find = outputs if kind == "output" else embedded_files
    [used] = await find(reports)
    crashed = f"{used.rpartition('/')[0]}/{kind}-{'0' * 32}"
    async with reports.storage.open_writer(crashed) as file:
        await file.write(b"of a crashed worker")

    await reports.api.store.pool.execute("UPDATE receipts SET status = 'processing', lease_until = 'infinity'")
    await delete_orphaned_files(reports.api.store.pool, reports.storage)
    assert set(await find(reports)) == {crashed, used}
    await reports.api.store.pool.execute("UPDATE receipts SET status = 'stored'")
    await delete_orphaned_files(reports.api.store.pool, reports.storage)
    assert await find(reports) == [used]
    # A rejected report that is sent again has the same receipt and a new folder.
    await reports.api.store.pool.execute(
        "UPDATE receipts SET upload = jsonb_set(upload, '{reports,0,path}', '\"inbox/1/rcp_again/0\"')"
    )
    await delete_orphaned_files(reports.api.store.pool, reports.storage)
    assert await find(reports) == [used]
