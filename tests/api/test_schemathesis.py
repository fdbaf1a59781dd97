"""Schemathesis against the served API: no 5xx, nothing undocumented, and responses that match their schemas."""

import asyncio
import os
import re
import sys
from pathlib import Path

import orjson
import pytest

from service.http.limits import FailedExchangeLimit, UnknownKeyLimit
from tests.api.described import strict_document
from tests.run_events import result, run_event
from tests.served import Api, serve

# A fixed seed makes failures reproducible. Use other seeds for further requests.
SEED = os.environ.get("RESULTS_TEST_SEED", "2")
CONFIGURATION = Path(__file__).with_name("schemathesis.toml")
# The stream never ends, the page isn't JSON, and /results is the same as /v1/results.
EXCLUDED = "/events/stream|/docs|^/results"


async def run(api: Api, description: Path, *options: str) -> None:
    arguments = [
        "--config-file", str(CONFIGURATION), "run", str(description), "--url", f"http://127.0.0.1:{api.http.port}",
        "--header", f"Authorization: Bearer {api.key}",
        "--exclude-path-regex", EXCLUDED, "--checks", "all", "--continue-on-failure", "--request-timeout", "20",
        "--no-color", *options,
    ]  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()", *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await process.communicate()
    assert process.returncode == 0, re.sub(r"(.{2000}).*", r"\1", output.decode())


async def fuzz(database_url: str, folder: Path, *options: str) -> None:
    description = folder / "openapi.json"
    description.write_bytes(orjson.dumps(strict_document()))
    async with serve(database_url, rate_limit="off", artifacts_url=(folder / "artifacts").as_uri()) as api:
        failed = result("pays", "failed", failure={"message": "no"}, artifacts=[{"name": "a.png", "uri": "s3://x"}])
        await api.store.ingest(run_event("run_1", [result("logs in"), failed]))
        await run(api, description, *options)


@pytest.fixture(autouse=True)
def _many_unknown_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Permit the requests with unknown keys and ID tokens that Schemathesis sends."""
    monkeypatch.setattr(UnknownKeyLimit, "BURST", 1_000_000)
    monkeypatch.setattr(FailedExchangeLimit, "BURST", 1_000_000)


@pytest.mark.nightly
async def test_random_requests_match_the_document(database_url: str, tmp_path: Path) -> None:
    await fuzz(database_url, tmp_path, "--max-examples", "50", "--workers", "1", "--seed", SEED)
