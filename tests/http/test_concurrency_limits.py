"""Limits of the concurrent uploads, streams, and long-polling requests of one API key."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientResponse

from tests.report_api import PASSING
from tests.run_events import run_event
from tests.served import Api, serve

LIMITS = {"uploads_per_key": 1, "streams_per_key": 1, "waits_per_key": 1}
UPLOAD = "/v1/runs/run_1/report?project_id=shop"


@pytest.fixture
async def limited(database_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    async with serve(database_url, artifacts_url=(tmp_path / "files").as_uri(), **LIMITS) as api:
        yield api


async def post(api: Api, data: Any, key: str | None = None) -> ClientResponse:
    return await api.http.post(UPLOAD, data=data, headers={"Authorization": f"Bearer {key or api.key}"})


@asynccontextmanager
async def stalled_upload(api: Api) -> AsyncIterator[asyncio.Event]:
    """Start an upload and yield the event that finishes it."""
    finish = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield PASSING
        await finish.wait()

    upload = asyncio.create_task(post(api, body()))
    await asyncio.sleep(0.2)
    yield finish
    finish.set()
    assert (await upload).status == 202


async def assert_limited(response: ClientResponse, setting: str) -> None:
    assert (response.status, response.headers["Retry-After"]) == (429, "5")
    error = (await response.json())["error"]
    assert (error["code"], setting in error["message"]) == ("rate_limit_exceeded", True)


async def test_upload_over_the_limit_of_its_key_returns_429(limited: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limited.resources.uploads, "_wait_s", 0.1)
    other_key = (await limited.make_key("engineer")).key
    async with stalled_upload(limited):
        await assert_limited(await post(limited, PASSING), "RESULTS_UPLOADS_PER_KEY")
        assert (await post(limited, PASSING, other_key)).status == 202
    assert (await post(limited, PASSING)).status == 202


async def test_artifact_over_the_limit_of_uploads_returns_429(limited: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limited.resources.uploads, "_wait_s", 0.1)
    await limited.store.ingest(run_event("run_1"))
    result_id = (await limited.get("/v1/results"))["data"][0]["id"]
    async with stalled_upload(limited):
        response = await limited.send("PUT", f"/v1/results/{result_id}/artifacts/a.txt", json={})
        await assert_limited(response, "RESULTS_UPLOADS_PER_KEY")


async def test_upload_waits_for_the_uploads_of_its_key(limited: Api) -> None:
    async with stalled_upload(limited) as finish:
        second = asyncio.create_task(post(limited, PASSING))
        await asyncio.sleep(0.2)
        assert not second.done()
        finish.set()
        assert (await second).status == 202


async def test_stream_over_the_limit_of_its_key_returns_429(limited: Api) -> None:
    other_key = (await limited.make_key()).key
    async with await limited.send("GET", "/v1/events/stream") as first:
        assert first.status == 200
        await assert_limited(await limited.send("GET", "/v1/events/stream"), "RESULTS_STREAMS_PER_KEY")
        async with await limited.send("GET", "/v1/events/stream", key=other_key) as other:
            assert other.status == 200


async def test_wait_over_the_limit_of_its_key_returns_429(limited: Api) -> None:
    waiting = asyncio.create_task(limited.send("GET", "/v1/runs/run_1", {"wait": "20"}))
    await asyncio.sleep(0.2)
    await assert_limited(await limited.send("GET", "/v1/runs/run_1", {"wait": "20"}), "RESULTS_WAITS_PER_KEY")
    await limited.store.ingest(run_event("run_1"))
    assert (await waiting).status == 200
    assert (await limited.send("GET", "/v1/runs/run_1", {"wait": "20"})).status == 200
