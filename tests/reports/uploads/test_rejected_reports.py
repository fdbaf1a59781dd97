"""Reports that are rejected: the response or the receipt states the reason, and no file remains."""

import asyncio
import gzip
import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest
import pytest_asyncio
from aiohttp import FormData

from service.tasks import watch
from tests.report_api import PASSING, Reports, serving_reports, serving_reports_with_ingester
from tests.run_events import run_event


@pytest.fixture
async def reports(database_url: str, tmp_path: Path) -> AsyncIterator[Reports]:
    async with serving_reports_with_ingester(database_url, tmp_path) as opened:
        yield opened


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def without_worker(shared_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Reports]:
    """The API without a worker that ingests reports. Tests share it, and each leaves no file."""
    async with serving_reports(shared_database_url, tmp_path_factory.mktemp("api"), report_max_bytes=10_000) as opened:
        yield opened


async def test_malformed_report_is_rejected_with_a_reason_and_leaves_no_file(reports: Reports) -> None:
    receipt = await reports.ingest(b"<testsuite><testcase name='a'/>")

    assert (receipt["status"], receipt["results"]) == ("rejected", 0)
    assert receipt["problems"][0]["reason"].startswith("malformed_report: ")
    await reports.api.error("/v1/runs/run_1", 404)
    assert await _stored(reports) == []


@pytest.mark.parametrize("as_form", [False, True])
async def test_empty_report_returns_400_and_leaves_no_file(without_worker: Reports, as_form: bool) -> None:
    form = FormData()
    form.add_field("report", b"", filename="junit.xml")
    response = await without_worker.post(form if as_form else b"")
    assert response.status == 400
    assert (await response.json())["error"]["param"] == "report"
    assert await _stored(without_worker) == []
    assert (await without_worker.api.get("/v1/receipts"))["data"] == []


def form_of(*parts: bytes, end: bytes = b"--frontier--\r\n") -> bytes:
    return b"".join(b"--frontier\r\n" + part + b"\r\n" for part in parts) + end


def form_part(headers: bytes = b'Content-Disposition: form-data; name="report"', body: bytes = PASSING) -> bytes:
    return headers + b"\r\n\r\n" + body


FORM = "multipart/form-data; boundary=frontier"


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (form_of(form_part(b'Content-Disposition: form-data; name="a\x7fb"')), FORM),
        (form_of(form_part(b'Content-Disposition: form-data; name="a\x00b"')), FORM),
        (form_of(form_part(b"no header at all")), FORM),
        (form_of(form_part(b"Content-Disposition: form-data; nam")), FORM),  # codespell:ignore nam - truncated
        (form_of(form_part(b'Content-Disposition: form-data; name="report; \xff')), FORM),
        (form_of(form_part(b'Content-Disposition: form-data; name="report"; filename*2=a"')), FORM),
        (form_of(form_part(b"X-Long: " + b"a" * 9_000)), FORM),
        (form_of(form_part(b"\r\n".join(b"X-%d: a" % number for number in range(200)))), FORM),
        (form_of(form_part(b'Content-Disposition: form-data; name="_charset_"', b"a" * 100)), FORM),
        (form_of(form_part(b'Content-Disposition: form-data; name="_charset_"', b"\xff")), FORM),
        (form_of(form_part(b"Content-Type: multipart/mixed; boundary=inner", b"--inner--")), FORM),
        (form_of(form_part(b"Content-Type: multipart/mixed", b"--inner--")), FORM),
        (form_of(form_part(), end=b""), FORM),
        (form_of(form_part())[:60], FORM),
        (form_of(form_part(), end=b"--other--\r\n"), FORM),
        (b"", FORM),
        (b"no boundary in here", FORM),
        (form_of(), FORM),
        (form_of(form_part()), "multipart/form-data"),
        (form_of(form_part()), "multipart/form-data; boundary=" + "a" * 100),
        (form_of(form_part()), "multipart/form-data; boundary=\u00e4"),
    ],
    ids=itertools.count(),
)
async def test_malformed_form_returns_400_with_a_reason_and_leaves_no_file(
    without_worker: Reports, body: bytes, content_type: str
) -> None:
    response = await without_worker.post(body, Content_Type=content_type)

    error = (await response.json())["error"]
    assert (response.status, error["code"]) == (400, "invalid_request"), error
    assert "form" in error["message"]
    assert await _stored(without_worker) == []


@pytest.mark.slow
async def test_form_has_at_most_1000_parts(database_url: str, tmp_path: Path) -> None:
    async with serving_reports(database_url, tmp_path) as reports:
        for count, status in ((1_001, 400), (1_000, 202)):
            response = await reports.post(
                form_of(*[form_part(body=b"a")] + [form_part(b"", b"a")] * (count - 1)), Content_Type=FORM
            )
            assert response.status == status, await response.text()


async def test_rejection_wakes_the_request_that_waits_for_the_receipt(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "_POLL_S", 1_000)
    async with serving_reports_with_ingester(database_url, tmp_path) as reports:
        receipt = await reports.send(b"nonsense")
        async with asyncio.timeout(15):
            assert (await reports.api.get(f"/v1/receipts/{receipt['id']}", {"wait": "20"}))["status"] == "rejected"


async def test_rejected_report_can_be_sent_again(reports: Reports) -> None:
    receipt = await reports.ingest(b"nonsense")
    again = await reports.send(b"nonsense")
    assert again["id"] == receipt["id"]
    assert again["status"] == "queued"
    assert (await reports.wait_until_finished(again))["status"] == "rejected"


async def test_report_of_a_run_of_another_project_is_rejected(reports: Reports) -> None:
    await reports.api.store.ingest(run_event("run_1", project_id="other"))
    receipt = await reports.ingest(PASSING)
    reason = receipt["problems"][0]["reason"]
    assert reason.startswith("run_id_conflict: ")
    assert "other" not in reason.replace("another", "")  # a key of the project shop must not see other projects


async def test_report_of_a_run_with_expired_results_is_rejected(reports: Reports) -> None:
    await reports.api.store.ingest(run_event("run_1"))
    await reports.api.store.pool.execute("UPDATE runs SET results_expired = true")
    receipt = await reports.ingest(PASSING)
    assert receipt["problems"][0]["reason"].startswith("completed_at_out_of_range: ")
    assert (await reports.api.get("/v1/runs/run_1"))["counts"]["passed"] == 1


async def test_report_without_valid_results_is_rejected_and_creates_no_run(reports: Reports) -> None:
    receipt = await reports.ingest(b'{"results": [{"name": 7, "status": "passed"}]}')
    assert receipt["status"] == "rejected"
    assert receipt["problems"][0]["reason"].startswith("no_valid_result: ")
    await reports.api.error("/v1/runs/run_1", 404)


@pytest.mark.parametrize(
    ("params", "param"),
    [
        ([("shard", "3/2")], "shard"), ([("shard", "x")], "shard"), ([("labels", "team")], "labels"),
        ([("completed_at", "yesterday")], "completed_at"), ([("completed_at", "2200-01-01")], "completed_at"),
        ([("variant", "linux")], "variant"), ([("variant", "os:linux"), ("variant", "os:macos")], "variant"),
        ([("variant", f"{number}:x") for number in range(9)], "variant"), ([("variant", f"{'x' * 65}:x")], "variant"),
        ([("project_id", "again")], "project_id"), ([("color", "red")], "color"), ([("branch", "")], "branch"),
    ],
)  # fmt: skip
async def test_error_names_the_invalid_parameter(
    without_worker: Reports, params: list[tuple[str, str]], param: str
) -> None:
    response = await without_worker.post(PASSING, params=params)
    assert response.status == 400
    assert (await response.json())["error"]["param"] == param
    assert await _stored(without_worker) == []


async def test_too_large_report_returns_413_with_and_without_content_length(without_worker: Reports) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * 1_000

    for body in (b"x" * 10_001, chunks()):
        response = await without_worker.post(body)
        assert (response.status, (await response.json())["error"]["code"]) == (413, "too_large")
    assert await _stored(without_worker) == []


async def test_decompression_bomb_is_rejected(database_url: str, tmp_path: Path) -> None:
    bomb = gzip.compress(b"<testsuite>" + b" " * 50_000_000)
    async with serving_reports_with_ingester(database_url, tmp_path, report_max_unpacked_bytes=1_000_000) as reports:
        receipt = await reports.ingest(bomb, Content_Encoding="gzip")
    assert receipt["problems"][0]["reason"] == "too_large: the report is larger than 1000000 bytes after decompression"


async def test_billion_laughs_are_rejected(reports: Reports) -> None:
    entities = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10 if n else "ha"}">' for n in range(10))
    receipt = await reports.ingest(f'<!DOCTYPE t [{entities}]><testsuite name="&e9;"/>'.encode())
    assert receipt["status"] == "rejected"


async def test_default_attribute_that_expands_to_gigabytes_is_rejected(reports: Reports) -> None:
    attribute = f'<!ATTLIST testcase name CDATA "{"A" * 100_000}">'
    bomb = gzip.compress(f"<!DOCTYPE t [{attribute}]><testsuite>{'<testcase/>' * 20_000}</testsuite>".encode())
    assert len(bomb) < 1_000
    receipt = await reports.ingest(bomb, Content_Encoding="gzip")
    assert receipt["problems"][0]["reason"].startswith("malformed_report: the DOCTYPE must not contain declarations")


async def test_report_that_needs_too_much_memory_is_rejected(database_url: str, tmp_path: Path) -> None:
    nested = f'<testcase name="{"🦊" * 3 * 2**20}">' * 4
    report = gzip.compress(f"<testsuite>{nested}{'</testcase>' * 4}</testsuite>".encode(), 1)
    async with serving_reports_with_ingester(database_url, tmp_path, report_max_memory_bytes=2**28) as reports:
        receipt = await reports.ingest(report, Content_Encoding="gzip")
        assert "needs more than 256 MiB of memory" in receipt["problems"][0]["reason"]
        assert (await reports.ingest(PASSING, "run_2"))["status"] == "stored"


async def test_unsupported_encodings_and_run_ids_are_rejected(without_worker: Reports) -> None:
    assert (await without_worker.post(PASSING, Content_Encoding="br")).status == 415
    assert (await without_worker.post(PASSING, "%00")).status == 400


async def _stored(reports: Reports) -> list[str]:
    folder = reports.storage._folder
    return [str(path) for path in folder.rglob("*") if path.is_file()] if folder else []


async def test_report_with_too_many_results_and_attempts_is_rejected(database_url: str, tmp_path: Path) -> None:
    listed = {"name": "a", "status": "passed", "attempts": [{"status": "passed"}] * 3}
    async with serving_reports_with_ingester(database_url, tmp_path, report_max_results=4) as reports:
        receipt = await reports.ingest(orjson.dumps({"results": [listed]}), Content_Type="application/json")
        assert receipt["status"] == "stored", receipt
        receipt = await reports.ingest(orjson.dumps({"results": [listed, listed]}), Content_Type="application/json")
        reason = "too_large: the report has more than 4 results, attempts, and artifacts"
        assert (receipt["status"], receipt["problems"][0]["reason"]) == ("rejected", reason)


async def test_unstorable_names_as_form_are_replaced(database_url: str, tmp_path: Path) -> None:
    headers = b'Content-Disposition: form-data; name="report"; filename="caf\xe9.xml"'  # codespell:ignore caf - é
    async with serving_reports(database_url, tmp_path) as reports:
        receipt = await reports.send(form_of(form_part(headers)), Content_Type=FORM)
    assert receipt["status"] == "queued"
