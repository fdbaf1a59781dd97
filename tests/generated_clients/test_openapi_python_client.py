"""A client that openapi-python-client generates from the document: list, get, upload, export, and create a webhook."""

import asyncio
import importlib
import re
import subprocess
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from service.api.openapi.document import document
from tests.run_events import result, run_event
from tests.served import Api, serve

REPORT = b'<testsuite name="shop"><testcase name="pays" classname="shop"/></testsuite>'
PACKAGE = "generated_results_client"
PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "api.md").read_text()


class GeneratedClient:
    """The generated package, with its operations as methods that return the parsed response."""

    def __init__(self, api: Api) -> None:
        package = importlib.import_module(PACKAGE)
        self.models = importlib.import_module(f"{PACKAGE}.models")
        self.file: Any = importlib.import_module(f"{PACKAGE}.types").File
        self.connection = package.AuthenticatedClient(
            base_url=f"http://127.0.0.1:{api.http.port}", token=api.key, raise_on_unexpected_status=True
        )

    async def call(self, operation: str, *path: str, **arguments: Any) -> Any:
        """Call an operation, which is `tag.operation_id`."""
        module = importlib.import_module(f"{PACKAGE}.api.{operation}")
        return await asyncio.to_thread(module.sync, *path, client=self.connection, **arguments)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Generate the package, with only the warnings that docs/reference/api.md explains. Formatting isn't necessary."""
    (tmp_path / "openapi.json").write_bytes(document())
    (tmp_path / "config.yaml").write_text("post_hooks: []\n")
    done = subprocess.run(
        [
            Path(sys.executable).with_name("openapi-python-client"), "generate", "--path", tmp_path / "openapi.json",
            "--config", tmp_path / "config.yaml", "--meta", "none", "--output-path", tmp_path / PACKAGE,
        ],
        check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60,
    )  # fmt: skip
    operations = set(re.findall(r"^WARNING parsing (.*) within", done.stdout, re.MULTILINE))
    assert operations == set(re.findall(r"while generating`, only for `(.*)`\.", PAGE))
    reasons = re.findall(r"^(Unsupported content type|Attempted .*)(?: .*)?$", done.stdout, re.MULTILINE)
    assert len(reasons) == done.stdout.count("WARNING parsing")
    assert [reason for reason in set(reasons) if f"| `{reason}" not in PAGE] == []
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.slow
@pytest.mark.nightly
@pytest.mark.usefixtures("package")
async def test_generated_client_lists_gets_uploads_exports_and_creates_a_webhook(
    database_url: str, tmp_path: Path
) -> None:
    async with serve(database_url, artifacts_url=(tmp_path / "artifacts").as_uri()) as api:
        await api.store.ingest(run_event("run_1", [result("logs in"), result("pays", "failed")]))
        client = GeneratedClient(api)
        with client.connection:
            page = await client.call("results.list_results", limit=1)
            assert (len(page.data), page.has_more) == (1, True)
            item = await client.call("results.get_result", page.data[0].id)
            assert (item.name, item.run.run_id) == (page.data[0].name, "run_1")
            run = await client.call("runs.get_run", "run_1")
            assert (run.status, run.counts.failed) == ("failed", 1)
            artifact = await client.call(
                "results.upload_artifact", item.id, "log.txt", body=client.file(payload=BytesIO(b"text"))
            )
            assert artifact.size == 4
            for body in (
                client.file(payload=REPORT),
                client.models.UploadReportFilesBody(report=[client.file(payload=BytesIO(REPORT), file_name="a.xml")]),
                client.models.UploadReportJsonBody.from_dict({"results": [{"name": "pays", "status": "passed"}]}),
            ):
                receipt = await client.call("runs.upload_report", "run_2", project_id="shop", body=body)
                assert receipt.status == "queued", receipt
            export = await client.call(
                "results.create_export", body=client.models.ExportRequest.from_dict({"format": "csv"})
            )
            assert (await client.call("results.get_export", export.id)).status == "queued"
            webhook = await client.call(
                "webhooks.create_webhook", body=client.models.WebhookIn(url="https://ci.example/hook")
            )
            assert webhook.secret.startswith("whsec_")
            error = await client.call("runs.get_run", "run_3")
            assert (error.error.code, error.error.message) == ("not_found", "run 'run_3' not found")
