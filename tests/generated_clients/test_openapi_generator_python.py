"""A Python client that openapi-generator generates: list, get, upload, export, and read errors."""

import asyncio
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.generated_clients.openapi_generator import OpenApiGenerator
from tests.generated_clients.processes import run
from tests.served import Api

PACKAGE = "openapi_generator_client"
REPORT = b'<testsuite name="shop"><testcase name="pays" classname="shop"/></testsuite>'


@pytest.fixture
async def client(api: Api, openapi_generator: OpenApiGenerator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Generate, compile, and import the package."""
    folder = tmp_path / "client"
    assert await openapi_generator.generate("python", folder, "--package-name", PACKAGE) == []
    await run(folder, sys.executable, "-m", "compileall", "-q", PACKAGE)
    monkeypatch.syspath_prepend(folder)
    return importlib.import_module(PACKAGE)


@pytest.fixture
def connection(api: Api, client: Any) -> Iterator[Any]:
    configuration = client.Configuration(host=str(api.http.make_url("")).rstrip("/"), access_token=api.key)
    with client.ApiClient(configuration) as opened:
        yield opened
        opened.rest_client.pool_manager.clear()


@pytest.mark.nightly
async def test_python_client_lists_gets_uploads_exports_and_reads_errors(client: Any, connection: Any) -> None:
    await asyncio.to_thread(use, client, connection)


def use(client: Any, connection: Any) -> None:
    results, runs = client.ResultsApi(connection), client.RunsApi(connection)
    page = results.list_results(limit=1, status=["passed", "failed"])
    second = results.list_results(limit=1, status=["passed", "failed"], starting_after=page.next_cursor)
    assert [item.name for item in (*page.data, *second.data)] == ["pays", "logs in"]
    assert runs.get_run("run_1").counts.failed == 1
    detail = results.get_result(page.data[0].id)
    assert (detail.run.run_id, detail.attempt_details[0].status) == ("run_1", "failed")

    artifact = results.upload_artifact(detail.id, "log.txt", b"text", _content_type="application/octet-stream")
    assert artifact.size == 4
    receipt = runs.upload_report("run/2", "shop", REPORT, _content_type="application/xml")
    while receipt.status in ("queued", "processing"):
        receipt = client.ReceiptsApi(connection).get_receipt(receipt.id, wait=20)
    assert (receipt.status, receipt.run_id, receipt.results) == ("stored", "run/2", 1)

    request = client.ExportRequest(format="csv", filter=client.ExportFilters(run_id="run_1"), columns=["name"])
    export = results.create_export(request, idempotency_key="python-1")
    while export.status in ("queued", "running"):
        export = results.get_export(export.id, wait=5)
    assert (export.status, export.rows) == ("succeeded", 2)
    assert results.download_export(export.id).startswith(b"name")

    webhook = client.WebhooksApi(connection).create_webhook(client.WebhookIn(url="https://ci.example/hook"))
    assert webhook.secret.startswith("whsec_")
    with pytest.raises(client.exceptions.NotFoundException) as caught:
        runs.get_run("missing")
    assert (caught.value.data.error.code, caught.value.data.error.message) == ("not_found", "run 'missing' not found")
