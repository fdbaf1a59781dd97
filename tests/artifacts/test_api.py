"""Upload, list, download, and replacement of artifacts over HTTP."""

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
import pytest_asyncio

from service.retention.files import delete_queued_files
from tests.buckets import new_bucket
from tests.report_api import PASSING, Reports
from tests.report_api import serving_reports as serving
from tests.report_api import serving_reports_with_ingester as serving_with_ingester
from tests.run_events import result, run_event
from tests.served import Params, list_of, serve

BYTES = bytes(range(256)) * 40


@asynccontextmanager
async def serving_with_a_run(database_url: str, folder: Path) -> AsyncIterator[Reports]:
    async with serving(database_url, folder, artifact_max_bytes=20_000) as opened:
        reference = {"kind": "screenshot", "name": "pay.png", "uri": "s3://shots/pay.png"}
        await opened.api.store.ingest(run_event("run_1", [result(artifacts=[reference])]))
        yield opened


@pytest.fixture
async def reports(database_url: str, tmp_path: Path) -> AsyncIterator[Reports]:
    async with serving_with_a_run(database_url, tmp_path) as opened:
        yield opened


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def refusing(shared_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Reports]:
    """The API for the tests that send only invalid artifacts."""
    async with serving_with_a_run(shared_database_url, tmp_path_factory.mktemp("api")) as opened:
        yield opened


async def result_id(reports: Reports) -> str:
    return str((await reports.api.get("/v1/results"))["data"][0]["id"])


async def put(
    reports: Reports, name: str, body: Any = BYTES, status: int = 201, query: str = "", **headers: str
) -> Any:
    sent = {"Authorization": f"Bearer {reports.api.key}"}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    path = f"/v1/results/{await result_id(reports)}/artifacts/{quote(name, safe='')}{query}"
    response = await reports.api.http.put(path, data=body, headers=sent)
    found = await response.json()
    assert response.status == status, found
    return found


async def files(reports: Reports) -> list[Path]:
    folder = reports.storage._folder
    return [path for path in folder.rglob("*") if path.is_file()] if folder else []


async def test_uploaded_artifact_is_listed_and_downloaded(reports: Reports) -> None:
    sent = await put(reports, "shots/pay é.png", Content_Type="image/png")

    assert (sent["kind"], sent["name"], sent["size"]) == ("screenshot", "shots/pay é.png", len(BYTES))
    assert sent["sha256"] == sha256(BYTES).hexdigest()
    assert sent in await reports.artifacts()
    path = sent["url"].partition("/v1/")[2]
    response = await reports.api.send("GET", f"/v1/{path}")
    assert await response.read() == BYTES
    assert response.headers["ETag"] == f'"{sent["sha256"]}"'
    part = await reports.api.send("GET", f"/v1/{path}", Range="bytes=10-19")
    assert (part.status, await part.read()) == (206, BYTES[10:20])


async def test_html_artifact_is_sent_as_an_attachment(reports: Reports) -> None:
    sent = await put(reports, "evil.html", b"<script>", Content_Type="text/html")
    response = await reports.api.send("GET", f"/v1/artifacts/{sent['id']}")
    assert response.headers["Content-Disposition"].startswith("attachment")
    assert response.headers["X-Content-Type-Options"] == "nosniff"


async def test_file_replaces_a_reference_and_survives_a_correction(reports: Reports) -> None:
    before = {artifact["name"]: artifact for artifact in await reports.artifacts()}
    assert before["pay.png"]["url"] is None
    await put(reports, "pay.png")
    await reports.api.store.ingest(run_event("run_1", [result(status="failed")], time="2026-05-20T13:00:00Z"))
    [artifact] = await reports.artifacts()
    assert (artifact["kind"], artifact["size"]) == ("screenshot", len(BYTES))


async def test_replaced_file_is_deleted(reports: Reports) -> None:
    first = await put(reports, "a.log", b"one")
    second = await put(reports, "a.log", b"two", query="?kind=other")
    assert first["id"] == second["id"]
    await delete_queued_files(reports.api.store.pool, reports.storage)
    assert [path.read_bytes() for path in await files(reports)] == [b"two"]


@pytest.mark.parametrize("name", ["../a", "a/../b", "/etc/passwd", "a\0b", "\\a", "..\\a", "a\nb", "x" * 1001])
async def test_invalid_artifact_name_returns_400(refusing: Reports, name: str) -> None:
    error = (await put(refusing, name, status=400))["error"]
    assert error["param"] == "name"
    assert await files(refusing) == []


async def test_sha256_mismatch_returns_400(reports: Reports) -> None:
    await put(reports, "a.log", query=f"?sha256={sha256(BYTES).hexdigest()}")
    error = (await put(reports, "b.log", status=400, query=f"?sha256={'0' * 64}"))["error"]
    assert error["param"] == "sha256"
    assert len(await files(reports)) == 1


async def test_too_large_and_compressed_artifacts_are_rejected(reports: Reports) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(30):
            yield b"x" * 1_000

    assert (await put(reports, "a", io.BytesIO(b"x" * 20_001), 413))["error"]["code"] == "too_large"
    assert (await put(reports, "a", chunks(), 413))["error"]["code"] == "too_large"
    await put(reports, "a", b"", 415, Content_Encoding="gzip")
    assert await files(reports) == []


async def test_artifacts_are_isolated_by_organization_and_project(reports: Reports) -> None:
    sent = await put(reports, "a.log")
    _, other_key = await reports.api.make_organization("other")
    bound = (await reports.api.make_key("uploader", project_id="another")).key
    for key in (other_key, bound):
        await reports.api.error(f"/v1/artifacts/{sent['id']}", 404, key=key)
        path = f"/v1/results/{await result_id(reports)}/artifacts/b.log"
        response = await reports.api.http.put(path, data=b"x", headers={"Authorization": f"Bearer {key}"})
        assert response.status == 404
    await reports.api.error("/v1/artifacts/art_1", 404)


async def test_upload_to_an_expired_result_returns_404(reports: Reports) -> None:
    await reports.api.store.pool.execute("UPDATE runs SET results_expired = true")
    await put(reports, "log.txt", status=404)
    assert await files(reports) == []


async def test_file_is_deleted_if_its_result_expires_during_the_upload(reports: Reports) -> None:
    async def slowly() -> AsyncIterator[bytes]:
        yield BYTES
        await asyncio.sleep(0.3)
        await reports.api.store.pool.execute("UPDATE runs SET results_expired = true")
        yield BYTES[:10]

    await put(reports, "log.txt", slowly(), status=404)
    assert await files(reports) == []


async def test_reference_without_a_file_returns_404(reports: Reports) -> None:
    [reference] = await reports.artifacts()
    await reports.api.error(f"/v1/artifacts/{reference['id']}", 404)


async def test_same_idempotency_key_stores_one_file(reports: Reports) -> None:
    for _ in range(2):
        await put(reports, "a.log", Idempotency_Key="ci-1")
    assert len(await files(reports)) == 1


async def test_file_in_s3_returns_a_redirect_if_enabled(database_url: str, s3_url: str) -> None:
    async with serve(database_url, artifacts_url=new_bucket(s3_url), artifacts_redirect=True) as api:
        await api.store.ingest(run_event("run_1", [result()]))
        reports = Reports(api, None)  # type: ignore[arg-type]  # the test doesn't use it
        sent = await put(reports, "a.log", Content_Type="text/plain")
        response = await api.http.get(
            f"/v1/artifacts/{sent['id']}", headers={"Authorization": f"Bearer {api.key}"}, allow_redirects=False
        )
    assert response.status == 307
    assert response.headers["Location"].startswith(s3_url)


@pytest.mark.parametrize("name", ["page.html", "\N{SNOWMAN}" * 300 + '"a".html'])
async def test_browser_saves_html_from_s3_instead_of_showing_it(database_url: str, s3_url: str, name: str) -> None:
    async with serve(database_url, artifacts_url=new_bucket(s3_url), artifacts_redirect=True) as api:
        await api.store.ingest(run_event("run_1", [result()]))
        sent = await put(Reports(api, None), name, Content_Type="text/html")  # type: ignore[arg-type]
        response = await api.http.get(f"/v1/artifacts/{sent['id']}", headers={"Authorization": f"Bearer {api.key}"})
        assert str(response.url).startswith(s3_url)
        assert response.headers["Content-Disposition"].startswith("attachment; filename=")
        assert response.headers["Content-Disposition"].endswith(quote(name[-10:]))


async def put_in_run(
    reports: Reports, name: str, body: bytes = BYTES, status: int = 201, params: Params = (), run_id: str = "run_1",
    key: str | None = None,
) -> Any:  # fmt: skip
    headers = {"Authorization": f"Bearer {key or reports.api.key}"}
    path = f"/v1/runs/{run_id}/artifacts/{quote(name, safe='')}"
    response = await reports.api.http.put(path, data=body, headers=headers, params=list_of(params))
    found = await response.json()
    assert response.status == status, found
    return found


async def names_of_result(reports: Reports) -> list[str]:
    page = await reports.api.get(f"/v1/results/{await result_id(reports)}/artifacts")
    return [artifact["name"] for artifact in page["data"]]


async def test_file_of_a_run_is_listed_with_the_run(reports: Reports) -> None:
    sent = await put_in_run(reports, "coverage/index.html")
    assert (sent["name"], sent["case"], sent["receipt_id"]) == ("coverage/index.html", None, None)
    assert sent in (await reports.api.get("/v1/runs/run_1/artifacts"))["data"]
    assert await names_of_result(reports) == ["pay.png"]


async def test_case_or_suite_and_name_attribute_a_file_to_a_result(reports: Reports) -> None:
    result_ = (await reports.api.get("/v1/results"))["data"][0]
    by_case = await put_in_run(reports, "pay.png", params={"case": result_["case"]})
    assert (by_case["case"], by_case["uri"]) == (result_["case"], "s3://shots/pay.png")
    named = {"suite": result_["suite"], "name": result_["name"]}
    assert (await put_in_run(reports, "b.log", params={**named, "attempt": "2"}))["name"] == "attempt-2-b.log"
    assert await names_of_result(reports) == ["attempt-2-b.log", "pay.png"]
    assert (await reports.api.get("/v1/runs/run_1/artifacts"))["data"] == []


async def test_same_bytes_change_nothing(reports: Reports) -> None:
    first = await put_in_run(reports, "a.log")
    entries = await reports.api.store.pool.fetchval("SELECT count(*) FROM audit_trail")
    assert await put_in_run(reports, "a.log", status=200) == first
    assert await reports.api.store.pool.fetchval("SELECT count(*) FROM audit_trail") == entries
    assert len(await files(reports)) == 1


async def test_concurrent_uploads_of_a_file_leave_one(reports: Reports) -> None:
    await asyncio.gather(*(put_in_run(reports, "a.log", str(number).encode()) for number in range(10)))
    await delete_queued_files(reports.api.store.pool, reports.storage)
    assert len(await files(reports)) == 1


async def test_variant_distinguishes_results_with_the_same_name(reports: Reports) -> None:
    systems = [result(variant={"os": name}) for name in ("linux", "mac")]
    await reports.api.store.ingest(run_event("run_2", [*systems, result(variant={"os": "mac", "node": "22"})]))
    named = {"suite": result()["suite"], "name": result()["name"]}

    async def put_in(variant: list[str], status: int) -> Any:
        params = [*named.items(), *(("variant", pair) for pair in variant)]
        return await put_in_run(reports, "a.log", status=status, params=params, run_id="run_2")

    assert "3 results have this suite and name" in (await put_in([], 409))["error"]["message"]
    cases = {(await put_in(variant, 201))["case"] for variant in (["os:linux"], ["os:mac"], ["node:22"])}
    assert len(cases) == 3
    assert "no result with the suite" in (await put_in(["os:windows"], 404))["error"]["message"]


@pytest.mark.parametrize(
    ("params", "status", "text"),
    [
        ({"case": "case_" + "0" * 16}, 404, "case: the run has no result of 'case_0000000000000000'"),
        ({"case": "pay"}, 404, "case: the run has no result of 'pay'"),
        ({"suite": "shop.Cart"}, 400, "name: is required"),
        ({"name": "pays"}, 400, "suite: is required"),
        ({"variant": "os:linux"}, 400, "name: is required"),
        ({"attempt": "1"}, 400, "attempt: needs case, or suite and name"),
        ({"case": "case_" + "0" * 16, "name": "pays"}, 400, "name: must not be combined with case"),
        ({"receipt_id": "rcp_" + "0" * 32}, 404, "receipt_id: receipt 'rcp_"),
    ],
)
async def test_unknown_or_incomplete_owner_is_an_error(
    refusing: Reports, params: dict[str, str], status: int, text: str
) -> None:
    error = (await put_in_run(refusing, "a.log", status=status, params=params))["error"]
    assert text in error["message"]
    assert status == 404 or error["param"] == text.partition(":")[0]
    assert await files(refusing) == []


async def test_file_of_an_unknown_or_foreign_run_returns_404(reports: Reports) -> None:
    error = (await put_in_run(reports, "a.log", status=404, run_id="run_7"))["error"]
    assert "run 'run_7' not found" in error["message"]
    assert "Upload a report of the run first" in error["message"]
    _, other_key = await reports.api.make_organization("other")
    bound = (await reports.api.make_key("uploader", project_id="another")).key
    for key in (other_key, bound):
        await put_in_run(reports, "a.log", status=404, key=key)
        await reports.api.error("/v1/runs/run_1/artifacts", 404, key=key)
    await put_in_run(reports, "../a", status=400)
    viewer = (await reports.api.make_key("viewer")).key
    await put_in_run(reports, "a.log", status=403, key=viewer)


async def test_limits_per_key_and_day(database_url: str, tmp_path: Path) -> None:
    limits = {"artifact_files_per_day": 2, "artifact_bytes_per_day": 3_000}
    async with serving(database_url, tmp_path, **limits) as limited:
        await limited.api.store.ingest(run_event("run_1", [result()]))
        await put_in_run(limited, "a", b"a" * 1_500)
        await put_in_run(limited, "a", b"a" * 1_500, status=200)
        error = (await put_in_run(limited, "b", b"b" * 1_501, status=429))["error"]
        limit = "the artifacts of a key or trusted publisher can have at most 3000 bytes"
        assert f"RESULTS_ARTIFACT_BYTES_PER_DAY: {limit}" in error["message"]
        assert "after 00:00 UTC" in error["message"]
        await put_in_run(limited, "b", b"b" * 1_500)
        path = "/v1/runs/run_1/artifacts/c"
        response = await limited.api.http.put(path, headers={"Authorization": f"Bearer {limited.api.key}"})
        assert response.status == 429
        assert 0 < int(response.headers["Retry-After"]) <= 24 * 3600
        assert "RESULTS_ARTIFACT_FILES_PER_DAY" in (await response.json())["error"]["message"]
        assert len(await files(limited)) == 2
        other = (await limited.api.make_key("uploader")).key
        await put_in_run(limited, "c", b"", key=other)


async def test_file_without_a_stated_length_counts(database_url: str, tmp_path: Path) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"x" * 101

    async with serving(database_url, tmp_path, artifact_bytes_per_day=100) as limited:
        await limited.api.store.ingest(run_event("run_1", [result()]))
        assert (await put(limited, "a", chunks(), 429))["error"]["code"] == "rate_limit_exceeded"
        assert await files(limited) == []
        assert await limited.artifacts() == []


async def test_file_without_a_receipt_replaces_the_only_reference(database_url: str, tmp_path: Path) -> None:
    report = b"<testsuite><testcase name='pays'><system-out>[[ATTACHMENT|%s/a.png]]</system-out></testcase></testsuite>"
    async with serving_with_ingester(database_url, tmp_path) as uploads:
        await uploads.ingest(report % b"1", params={"part": "e2e", "attempt": "1"})
        sent = await put(uploads, "a.png", BYTES)
        assert (sent["uri"], await names_of_result(uploads)) == ("1/a.png", ["a.png"])
        second = await uploads.ingest(report % b"2", params={"part": "e2e", "attempt": "2"})
        assert await names_of_result(uploads) == ["a.png", "a.png"]
        error = (await put(uploads, "a.png", BYTES, 409))["error"]
        assert error["message"] == "receipt_id: 2 reports name the file 'a.png' here; state the receipt of one of them"
        params = {"case": sent["case"], "receipt_id": second["id"]}
        filled = await put_in_run(uploads, "a.png", b"2", params=params)
        assert (filled["uri"], filled["receipt_id"]) == ("2/a.png", second["id"])
        unknown = params | {"receipt_id": f"rcp_{'0' * 32}"}
        error = (await put_in_run(uploads, "a.png", status=404, params=unknown))["error"]
        assert "names no file 'a.png' here" in error["message"]


async def test_file_of_a_run_replaces_no_file_of_another_report(database_url: str, tmp_path: Path) -> None:
    async with serving_with_ingester(database_url, tmp_path) as uploads:
        receipts = [(await uploads.ingest(PASSING, params={"shard": shard}))["id"] for shard in "12"]
        first, second = [
            await put_in_run(uploads, "server.log", receipt.encode(), params={"receipt_id": receipt})
            for receipt in receipts
        ]
        report = next(each for each in await uploads.artifacts() if each["kind"] == "report")
        attached = await put_in_run(uploads, report["name"], params={"receipt_id": receipts[0]})
        listed = (await uploads.api.get("/v1/runs/run_1/artifacts"))["data"]
        assert {first["id"], second["id"], report["id"], attached["id"]} <= {each["id"] for each in listed}
        for receipt, artifact in zip(receipts, (first, second), strict=True):
            of_report = (await uploads.api.get("/v1/runs/run_1/artifacts", {"receipt_id": receipt}))["data"]
            assert artifact in of_report


async def test_a_key_learns_nothing_about_receipts_of_other_projects(database_url: str, tmp_path: Path) -> None:
    async with serving_with_ingester(database_url, tmp_path) as uploads:
        own = await uploads.ingest(PASSING)
        await uploads.api.store.ingest(run_event("run_2", project_id="blog"))
        (foreign,) = (await uploads.api.get("/v1/receipts", {"run_id": "run_2"}))["data"]
        key, unknown = (await uploads.api.make_key("uploader", project_id="shop")).key, f"rcp_{'0' * 32}"
        messages = []
        for receipt_id, status in ((own["id"], 201), (foreign["id"], 404), (unknown, 404)):
            sent = await put_in_run(uploads, "a.log", status=status, params={"receipt_id": receipt_id}, key=key)
            messages.append(sent["error"]["message"].replace(receipt_id, "") if status == 404 else None)
        assert messages[1] == messages[2]


async def test_files_of_a_report_are_listed_page_by_page(database_url: str, tmp_path: Path) -> None:
    case = "<testcase name='{}'><system-out>[[ATTACHMENT|{}.png]]</system-out></testcase>"
    cases = "".join(case.format(number, number) for number in range(5))
    async with serving_with_ingester(database_url, tmp_path) as uploads:
        await uploads.ingest(f"<testsuite>{case.format('other', 'other')}</testsuite>".encode(), params={"shard": "1"})
        body = f"<testsuite>{cases}<system-err>[[ATTACHMENT|suite.log]]</system-err></testsuite>".encode()
        receipt = await uploads.ingest(body, params={"shard": "2"})
        found: list[Any] = []
        params = {"receipt_id": receipt["id"], "limit": "2"}
        while True:
            page = await uploads.api.get("/v1/runs/run_1/artifacts", params)
            assert len(page["data"]) <= 2
            found += page["data"]
            if not page["has_more"]:
                break
            params["starting_after"] = page["next_cursor"]
    assert sorted(each["name"] for each in found) == [*(f"{number}.png" for number in range(5)), "suite.log"]
    assert [each["name"] for each in found if each["case"] is None] == ["suite.log"]
    assert {(each["url"], each["receipt_id"]) for each in found} == {(None, receipt["id"])}


async def test_attachments_of_a_form_count_as_uploaded_files(database_url: str, tmp_path: Path) -> None:
    def form(text: bytes) -> aiohttp.FormData:
        data = aiohttp.FormData()
        data.add_field("report", PASSING, filename="junit.xml", content_type="application/xml")
        data.add_field("attachment", text, filename="a.log")
        return data

    async with serving(database_url, tmp_path, artifact_bytes_per_day=10) as limited:
        assert (await limited.post(form(b"x" * 10))).status == 202
        response = await limited.post(form(b"y"), "run_2")
        assert (response.status, "Retry-After" in response.headers) == (429, True)
        assert await limited.api.store.pool.fetchval("SELECT count(*) FROM receipts") == 1
        assert len(await files(limited)) == 2
