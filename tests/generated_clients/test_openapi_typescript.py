"""A client with types that openapi-typescript generates: list, get, upload, export, and create a webhook."""

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import orjson
import pytest

from service.api.openapi.document import document
from service.settings import Settings
from tests.api.served import Api
from tests.exporting import exporting
from tests.report_api import Reports, new_ingester, running_ingester
from tests.run_events import result, run_event

SOURCE: Final = Path(__file__).parents[1] / "data" / "typescript_client"
OUTCOMES: Final = {"logs in": "passed", "pays": "failed"}
TIMEOUT_S: Final = 180

needs_node = pytest.mark.skipif(
    not (shutil.which("node") and shutil.which("npm")), reason="Node.js is not installed (Debian packages: nodejs, npm)"
)


def run(folder: Path, *command: str) -> bytes:
    """Return the output of a command that runs in the folder. Fail with its output if it fails."""
    finished = subprocess.run(command, cwd=folder, check=False, capture_output=True, timeout=TIMEOUT_S)
    assert finished.returncode == 0, (finished.stdout + finished.stderr).decode()
    return finished.stdout


def compile_client(folder: Path) -> None:
    """Install the locked packages, generate the types, check the types of the client, and compile it."""
    run(folder, "npm", "ci", "--prefer-offline")
    (folder / "openapi.json").write_bytes(document())
    run(folder, "node", "generate.mjs")
    run(folder, "npx", "--no-install", "tsc", "--project", ".")


@asynccontextmanager
async def serving_with_workers(database_url: str, storage_url: str) -> AsyncIterator[Api]:
    async with exporting(database_url, storage_url) as exports, exports.running_worker():
        ingester = new_ingester(Settings(artifacts_url=storage_url), exports.api.store.pool)
        async with running_ingester(Reports(exports.api, exports.storage), ingester):
            yield exports.api


async def output_of(folder: Path, api: Api) -> Any:
    url = f"http://127.0.0.1:{api.http.port}"
    return orjson.loads(await asyncio.to_thread(run, folder, "node", "client.js", url, api.key))


def test_locked_packages_have_hashes_and_no_addresses() -> None:
    packages = orjson.loads((SOURCE / "package-lock.json").read_bytes())["packages"]
    assert all("integrity" in package and "resolved" not in package for path, package in packages.items() if path)


@needs_node
@pytest.mark.slow
async def test_typescript_client_lists_gets_uploads_exports_and_creates_a_webhook(
    database_url: str, tmp_path: Path
) -> None:
    folder = shutil.copytree(SOURCE, tmp_path / "client", ignore=shutil.ignore_patterns("node_modules"))
    await asyncio.to_thread(compile_client, folder)
    async with serving_with_workers(database_url, (tmp_path / "files").as_uri()) as api:
        await api.store.ingest(run_event("run_1", [result(name, status) for name, status in OUTCOMES.items()]))
        printed = await output_of(folder, api)
    assert sorted(printed["listed"]) == sorted(OUTCOMES)
    name = printed["listed"][0]
    assert printed["result"] == {"name": name, "run": "run_1", "attempts": [OUTCOMES[name]]}
    assert printed["artifact"] == len("text")
    assert printed["receipts"] == [["stored", name, 1] for name in ("from_file", "from_form", "from_object")]
    assert (printed["export"]["status"], printed["export"]["rows"]) == ("succeeded", 5)
    assert printed["export"]["text"].startswith("name,status\n")
    assert printed["same_file"]
    assert printed["webhook"]["events"] == ["run.completed"]
    assert printed["webhook"]["secret"].startswith("whsec_")
    assert printed["error"] == {"code": "not_found", "message": "run 'missing' not found"}
