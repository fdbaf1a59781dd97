"""Upload of reports over HTTP, from the request to the stored run."""

import asyncio
import gzip
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_asyncio
import zstandard
from aiohttp import FormData

from service.receipts import store as receipts_store
from service.runs.model import CONTEXT_FIELDS
from tests.report_api import PASSING, Reports, serving_reports, serving_reports_with_ingester
from tests.run_events import run_event, stated_fields


@pytest.fixture
async def reports(database_url: str, tmp_path: Path) -> AsyncIterator[Reports]:
    async with serving_reports_with_ingester(database_url, tmp_path) as opened:
        yield opened


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def refusing(shared_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Reports]:
    """The API for the tests of a module that send only invalid requests."""
    async with serving_reports(shared_database_url, tmp_path_factory.mktemp("api")) as opened:
        yield opened


@pytest.fixture
async def without_worker(database_url: str, tmp_path: Path) -> AsyncIterator[Reports]:
    """The API without a worker that ingests reports."""
    async with serving_reports(database_url, tmp_path, report_max_bytes=10_000) as opened:
        yield opened


async def test_report_becomes_a_run(reports: Reports) -> None:
    receipt = await reports.ingest(PASSING, params={"branch": "main", "labels": "team:web", "environment": "ci"})

    assert (receipt["status"], receipt["results"], receipt["problems"]) == ("stored", 2, [])
    run = await reports.api.get("/v1/runs/run_1")
    assert (run["complete"], run["status"], run["revision"]) == (True, "passed", 1)
    assert (run["project_id"], run["branch"], run["environment"], run["labels"]) == (
        "shop", "main", "ci", {"team": "web"},
    )  # fmt: skip
    assert run["counts"]["passed"] == 2


async def test_uploaded_report_is_stored_unchanged(reports: Reports) -> None:
    await reports.ingest(PASSING, Content_Type="application/xml")

    [artifact] = await reports.artifacts()
    assert (artifact["kind"], artifact["content_type"], artifact["size"]) == ("report", "application/xml", len(PASSING))
    assert artifact["name"].endswith(".xml")


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (gzip.compress(PASSING, mtime=0), {"Content_Encoding": "gzip"}),
        (zstandard.compress(PASSING), {"Content_Encoding": "zstd"}),
        (gzip.compress(PASSING, mtime=0), {}),
        (zstandard.compress(PASSING), {}),
        (b'{"results": [{"name": "pays", "status": "passed"}, {"name": "ships", "status": "passed"}]}', {}),
        (b'{"name": "pays", "status": "passed"}\n{"name": "ships", "status": "passed"}\n', {}),
    ],
)
async def test_compressed_reports_of_all_formats_are_stored(
    reports: Reports, body: bytes, headers: dict[str, str]
) -> None:
    receipt = await reports.ingest(body, "run_1", (), **headers)
    assert (receipt["status"], receipt["results"]) == ("stored", 2), receipt


async def test_resent_report_changes_nothing(reports: Reports) -> None:
    first = await reports.ingest(PASSING)
    before = await reports.api.store.snapshot()
    again = await reports.send(PASSING)

    assert again == first
    assert await reports.api.store.snapshot() == before
    assert (await reports.api.get("/v1/runs/run_1"))["revision"] == 1
    assert len(await _stored(reports)) == 1


async def test_corrected_report_replaces_its_results(reports: Reports) -> None:
    await reports.ingest(PASSING)
    await reports.api.store.pool.execute("UPDATE receipts SET received_at = received_at - interval '1 hour'")
    await reports.api.store.pool.execute("UPDATE results SET event_time_offset_s = event_time_offset_s - 3600")
    await reports.ingest(b'<testsuite name="shop"><testcase name="pays"><failure/></testcase></testsuite>')

    run = await reports.api.get("/v1/runs/run_1")
    assert (run["counts"]["passed"], run["counts"]["failed"], run["revision"]) == (1, 1, 2)


async def test_shards_in_any_order_become_one_run(reports: Reports) -> None:
    def shard(number: int) -> bytes:
        return f'<testsuite name="s{number}"><testcase name="a"/><testcase name="a"/></testsuite>'.encode()

    first, second, third = [await reports.send(shard(number), params={"shard": f"{number}/3"}) for number in (3, 1, 2)]
    for receipt in (first, second, third):
        assert (await reports.wait_until_finished(receipt))["status"] == "stored"
    run = await reports.api.get("/v1/runs/run_1")
    assert (run["complete"], run["counts"]["passed"]) == (True, 6)


async def test_report_of_a_shard_does_not_remove_the_failure_of_another_shard(reports: Reports) -> None:
    failing = b'<testsuite name="shop"><testcase name="pays"><failure message="no money"/></testcase></testsuite>'
    failed = await reports.ingest(failing, params={"shard": "1/2"})
    passed = await reports.ingest(PASSING, params={"shard": "2/2"})

    assert [(receipt["replaced"], receipt["combined"]) for receipt in (failed, passed)] == [(0, 0), (0, 1)]
    run = await reports.api.get("/v1/runs/run_1")
    assert (run["status"], run["complete"], run["counts"]["failed"], run["counts"]["passed"]) == ("failed", True, 1, 1)
    await reports.api.store.pool.execute(
        "UPDATE results SET event_time_offset_s = event_time_offset_s - 60;"
        " UPDATE shard_results SET event_time_offset_s = event_time_offset_s - 60"
    )
    corrected = await reports.ingest(PASSING, params={"shard": "1/2"})
    assert [corrected[name] for name in ("replaced", "replaced_failing", "combined")] == [1, 1, 2]
    assert (await reports.api.get("/v1/runs/run_1"))["status"] == "passed"


async def test_variant_of_an_upload_applies_to_all_of_its_results(reports: Reports) -> None:
    native = {
        "variant": {"os": "windows"},
        "results": [
            {"name": "pays", "status": "passed"},
            {"name": "ships", "status": "passed", "variant": {"os": "macos", "browser": "safari"}},
        ],
    }
    variants = [("variant", "os:linux"), ("variant", "time:12:30")]
    for params in (variants, []):
        assert (await reports.ingest(orjson.dumps(native), params=[*params, ("final", "false")]))["status"] == "stored"
    items = (await reports.api.get("/v1/results", {"run_id": "run_1"}))["data"]
    found = {(item["name"], tuple(sorted(item["variant"].items()))) for item in items}
    assert found == {
        ("pays", (("os", "linux"), ("time", "12:30"))),
        ("pays", (("os", "windows"),)),
        ("ships", (("browser", "safari"), ("os", "macos"))),
        ("ships", (("browser", "safari"), ("os", "macos"), ("time", "12:30"))),
    }


async def test_run_with_missing_shards_is_not_complete(reports: Reports) -> None:
    await reports.ingest(PASSING, params={"shard": "1/2"})
    assert (await reports.api.get("/v1/runs/run_1"))["complete"] is False


async def test_key_of_a_project_sees_no_receipt_of_a_report_for_another_project(reports: Reports) -> None:
    await reports.api.store.ingest(run_event("run_1", project_id="blog"))
    rejected = await reports.ingest(PASSING)
    bound = (await reports.api.make_key("uploader", project_id="blog")).key
    await reports.api.error(f"/v1/receipts/{rejected['id']}", 404, key=bound)
    visible = (await reports.api.get("/v1/receipts", {"run_id": "run_1"}, key=bound))["data"]
    assert [receipt["status"] for receipt in visible] == ["stored"]


async def test_invalid_results_are_listed_by_index_and_the_others_are_stored(reports: Reports) -> None:
    valid = {"name": "a", "status": "passed", "started_at": "2026-05-20T11:59:00Z"}
    receipt = await reports.ingest(
        orjson.dumps({"results": [valid, {**valid, "duration_ms": -1}, {"status": "passed"}, 7]})
    )

    assert (receipt["status"], receipt["results"]) == ("partial", 1)
    assert [(problem["index"], problem["name"]) for problem in receipt["problems"]] == [(1, "a"), (2, None), (3, None)]
    assert receipt["problems"][0]["reason"].startswith("duration_ms: ")


async def test_repeated_case_id_is_a_further_attempt_at_any_distance(reports: Reports) -> None:
    many = [{"name": f"case {number}", "status": "passed", "suite": "s"} for number in range(5_000)]
    flaky = {"case_id": "tc_1", "name": "pays", "duration_ms": 5}
    results = [{**flaky, "status": "failed"}, *many, {**flaky, "status": "passed"}]
    receipt = await reports.ingest(orjson.dumps({"results": results}))

    assert (receipt["status"], receipt["results"]) == ("stored", 5_001)
    [item] = (await reports.api.get("/v1/results", {"case_id": "tc_1"}))["data"]
    assert (item["status"], item["flaky"], item["attempts"], item["duration_ms"]) == ("passed", True, 2, 10)


async def test_occurrences_are_counted_over_the_complete_report(reports: Reports) -> None:
    results = [{"name": "same", "suite": "s", "status": "passed"}] * 4_500
    receipt = await reports.ingest(orjson.dumps({"results": results}))

    assert receipt["results"] == 4_500
    assert (await reports.api.get("/v1/runs/run_1"))["counts"]["passed"] == 4_500


async def test_attachments_of_a_form_become_artifacts_of_the_results_that_name_them(reports: Reports) -> None:
    form = FormData()
    case = "<testcase name='pays'><failure/><system-out>[[ATTACHMENT|out/shot.png]]</system-out></testcase>"
    form.add_field("report", f"<testsuite>{case}</testsuite>", filename="junit.xml", content_type="text/xml")
    form.add_field("file", b"PNG", filename="shot.png", content_type="image/png")
    form.add_field("file", b"log", filename="all.log")
    receipt = await reports.ingest(form)

    assert receipt["status"] == "stored", receipt
    found = {artifact["name"]: artifact for artifact in await reports.artifacts()}
    assert (found["shot.png"]["kind"], found["shot.png"]["size"]) == ("screenshot", 3)
    assert (found["all.log"]["kind"], found["all.log"]["size"]) == ("log", 3)
    assert sorted(name.partition("_")[0] for name in found) == ["all.log", "rcp", "shot.png"]


async def test_attachment_of_an_upload_is_not_shown_with_a_result_of_another_upload(reports: Reports) -> None:
    case = "<testcase name='{}'><failure/><system-out>[[ATTACHMENT|shot.png]]</system-out></testcase>"
    await reports.ingest(f"<testsuite>{case.format('pays')}</testsuite>")
    form = FormData()
    form.add_field(
        "report", f"<testsuite>{case.format('ships')}</testsuite>", filename="b.xml", content_type="text/xml"
    )
    form.add_field("file", b"PNG", filename="shot.png", content_type="image/png")
    await reports.ingest(form)

    sizes = {}
    for item in (await reports.api.get("/v1/results"))["data"]:
        [shot] = (await reports.api.get(f"/v1/results/{item['id']}/artifacts"))["data"]
        sizes[item["name"]] = shot["size"]
    assert sizes == {"pays": None, "ships": 3}


async def test_key_needs_the_permission_and_its_project(without_worker: Reports) -> None:
    viewer = (await without_worker.api.make_key("viewer")).key
    bound = (await without_worker.api.make_key("uploader", project_id="other")).key
    for key in (viewer, bound):
        assert (await without_worker.post(PASSING, key=key)).status == 403


async def test_receipts_are_filtered_by_run_and_event_and_isolated_by_organization(without_worker: Reports) -> None:
    sent = await without_worker.send(PASSING)
    other = await without_worker.send(PASSING, "run_2")
    _, other_key = await without_worker.api.make_organization("other")
    bound = (await without_worker.api.make_key("uploader", project_id="another")).key

    assert sent["status"] == "queued"
    assert [item["id"] for item in (await without_worker.api.get("/v1/receipts"))["data"]] == [other["id"], sent["id"]]
    for filters in ({"run_id": "run_1"}, {"event_id": sent["event_id"]}):
        assert (await without_worker.api.get("/v1/receipts", filters))["data"] == [sent]
    assert [item["id"] for item in await without_worker.api.list_all("/v1/receipts", {"limit": "1"})] == [
        other["id"],
        sent["id"],
    ]
    for key in (other_key, bound):
        assert (await without_worker.api.get("/v1/receipts", key=key))["data"] == []
        await without_worker.api.error(f"/v1/receipts/{sent['id']}", 404, key=key)
    await without_worker.api.error("/v1/receipts/rcp_1", 404)


async def test_same_idempotency_key_returns_the_same_receipt(without_worker: Reports) -> None:
    first = await without_worker.post(PASSING, Idempotency_Key="ci-1")
    again = await without_worker.post(PASSING, Idempotency_Key="ci-1")
    other = await without_worker.post(b"<testsuite/>", Idempotency_Key="ci-1")
    assert (await first.json())["id"] == (await again.json())["id"]
    assert again.headers["Idempotent-Replayed"] == "true"
    assert (other.status, (await other.json())["error"]["code"]) == (422, "idempotency_mismatch")
    assert len(await _stored(without_worker)) == 1


async def _stored(reports: Reports) -> list[str]:
    folder = reports.storage._folder
    return [str(path) for path in folder.rglob("*") if path.is_file()] if folder else []


async def test_many_waiting_requests_share_one_query(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queries: list[int] = []
    find_finished = receipts_store.find_finished

    async def counted(connection: Any, requested: Any) -> Any:
        queries.append(len(requested))
        return await find_finished(connection, requested)

    monkeypatch.setattr("service.receipts.store.find_finished", counted)
    async with serving_reports(database_url, tmp_path) as reports:
        receipts = [await reports.send(PASSING, f"run_{number}") for number in range(3)]
        waiting = [asyncio.create_task(reports.receipt(receipt)) for receipt in receipts * 20]
        await asyncio.sleep(2)
        before = len(queries)
        await reports.api.store.pool.execute("UPDATE receipts SET status = 'rejected', due_at = NULL")
        responses = await asyncio.wait_for(asyncio.gather(*waiting), 5)
    assert {response["status"] for response in responses} == {"rejected"}
    assert max(queries) == 3
    assert len(queries) - before <= 3


async def test_number_of_retries_of_a_ctrf_report_does_not_multiply_its_rows(database_url: str, tmp_path: Path) -> None:
    tests = [{"name": f"test {number}", "duration": 1, "status": "passed", "retries": 999} for number in range(500)]
    body = gzip.compress(orjson.dumps({"results": {"tool": {"name": "x"}, "tests": tests}}))
    async with serving_reports_with_ingester(database_url, tmp_path) as reports:
        receipt = await reports.ingest(body, Content_Type="application/json", Content_Encoding="gzip")
        assert (receipt["status"], receipt["results"]) == ("stored", 500)
        assert await reports.api.store.pool.fetchval("SELECT count(*) FROM result_details") == 1_000
        page = await reports.api.get("/v1/results", {"limit": "1"})
        assert (page["data"][0]["attempts"], page["data"][0]["flaky"]) == (1_000, True)
        one = await reports.api.get(f"/v1/results/{page['data'][0]['id']}")
        assert [(each["attempt"], each["status"]) for each in one["attempt_details"]] == [
            (999, "failed"), (1_000, "passed"),
        ]  # fmt: skip


@pytest.mark.parametrize("root", ["/", "C:\\", "src", "", "/" + "x" * 1_000], ids=range(5))
async def test_root_must_be_an_absolute_folder(refusing: Reports, root: str) -> None:
    response = await refusing.post(PASSING, params={"root": root})

    assert response.status == 400
    assert (await response.json())["error"]["param"] == "root"


async def test_label_is_a_parameter_like_the_filter(reports: Reports) -> None:
    await reports.ingest(PASSING, params=[("label", "team:web"), ("labels", "tier:1"), ("label", "a:b:c")])
    for label in ("team:web", "tier:1", "a:b:c"):
        [run] = (await reports.api.get("/v1/runs", {"label": label}))["data"]
        assert run["labels"] == {"team": "web", "tier": "1", "a": "b:c"}


REASON = "run.ci_url: must be a URL that starts with https://; not stored"
CONTEXT = {name: value for name, value in stated_fields().items() if name in CONTEXT_FIELDS}


async def test_stated_fields_of_an_upload_are_stored(reports: Reports) -> None:
    stated = {**stated_fields(), "title": "Fix the rounding of prices \N{SNOWMAN}"}
    await reports.ingest(PASSING, params={**stated, "labels": "team:web"})
    for path in ("/v1/runs/run_1", "/v1/runs"):
        shown = await reports.api.get(path)
        run = shown if path.endswith("run_1") else shown["data"][0]
        assert {name: run[name] for name in stated} == stated


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, "x" * 201) for name in ("pipeline", "title", "author", "workflow")),
        *((name, "") for name in CONTEXT),
        *((name, "a\0b") for name in CONTEXT),
        ("job_url", "http://ci.example.com/7"),
        ("job_url", "https://" + "x" * 1_000),
        ("repository_url", "git@github.com:acme/shop.git"),
        ("repository_url", "https://gitlab-ci-token:secret@gitlab.com/acme/shop"),
    ],
)
async def test_invalid_context_is_an_error_that_names_the_parameter(refusing: Reports, name: str, value: str) -> None:
    response = await refusing.post(PASSING, params={name: value})
    error = (await response.json())["error"]
    assert (response.status, error["param"]) == (400, name)
    assert error["message"].startswith(f"{name}: ")
    assert "secret" not in error["message"]


async def test_ci_url_that_is_not_https_is_a_problem_of_the_receipt(reports: Reports) -> None:
    """An upload names the page of Jenkins, which can have no TLS. The results are stored without the link."""
    ctrf = {
        "tool": {"name": "t"}, "environment": {"buildUrl": "http://ci.example.com/7"}, "summary": {},
        "tests": [{"name": "a", "status": "passed", "duration": 1}],
    }  # fmt: skip
    for number, (content, params) in enumerate(
        ((PASSING, {"ci_url": "http://ci.example.com/7"}), (orjson.dumps({"results": ctrf}), {}))
    ):
        receipt = await reports.ingest(content, f"run {number}", params=params)
        assert receipt["status"] == "stored"
        assert {"index": None, "name": "run.ci_url", "reason": REASON} in receipt["problems"]
        assert (await reports.api.get(f"/v1/runs/run%20{number}"))["ci_url"] is None


async def test_control_characters_of_the_text_direction_are_replaced_in_names(reports: Reports) -> None:
    cases = "<testcase classname='k' name='passed \u202egnp.exe' file='a\u200f.py'/><testcase name='größe'/>"
    receipt = await reports.ingest(f"<testsuite name='s\u2066'>{cases}</testsuite>".encode())

    assert [(problem["index"], problem["reason"]) for problem in receipt["problems"]] == [
        (0, "name: control characters of the text direction were replaced (1)"),
        (0, "suite: control characters of the text direction were replaced (1)"),
        (0, "file: control characters of the text direction were replaced (1)"),
        (1, "suite: control characters of the text direction were replaced (1)"),
    ]
    found = (await reports.api.get("/v1/results", {"run_id": "run_1"}))["data"]
    assert {(result["suite"], result["name"], result["file"]) for result in found} == {
        ("s\ufffd > k", "passed \ufffdgnp.exe", "a\ufffd.py"),
        ("s\ufffd", "größe", None),
    }


async def test_outputs_of_attempts_are_listed_in_the_order_of_the_attempts(reports: Reports) -> None:
    attempts = "".join(
        f"<rerunFailure message='no'><system-out>{number}</system-out></rerunFailure>" for number in range(1, 13)
    )
    case = f"<testcase name='pays'><failure/>{attempts}<system-out>last</system-out></testcase>"
    await reports.ingest(f"<testsuite name='s'>{case}</testsuite>".encode())

    result = (await reports.api.get("/v1/results", {"run_id": "run_1"}))["data"][0]
    listed = (await reports.api.get(f"/v1/results/{result['id']}/artifacts"))["data"]
    outputs = [artifact["name"] for artifact in listed if artifact["kind"] == "log"]
    assert outputs[:13] == [*(f"attempt-{number}-system-out.txt" for number in range(1, 13)), "system-out.txt"]
