"""Tests of the optional access log."""

from collections.abc import AsyncIterator

import pytest
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs
from structlog.types import EventDict

from tests.served import Api, serve


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[Api]:
    async with serve(database_url, access_log=True) as served:
        yield served


def requests(logs: list[EventDict]) -> list[EventDict]:
    return [line for line in logs if line["event"] == "http_request"]


async def test_each_request_has_one_line_with_its_caller(api: Api) -> None:
    key = await api.make_key("viewer")
    with capture_logs([merge_contextvars]) as logs:
        await api.get("/v1/results", {"case_id": "secret case", "limit": "1"}, key.key, X_Request_Id="req-1")
    [line] = requests(logs)
    assert 0 < line.pop("duration_ms") < 20_000
    assert line == {
        "event": "http_request", "log_level": "info", "method": "GET", "path": "/v1/results", "status": 200,
        "key_id": key.key_id, "org_id": api.org_id, "request_id": "req-1",
    }  # fmt: skip


async def test_rejected_and_failed_requests_are_logged_without_a_caller(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api.resources.key_cache, "get", lambda _: 1 / 0)
    with capture_logs() as logs:
        await api.send("GET", "/v1/results", key="")
        await api.send("POST", "/v1/unknown", key="")
        await api.send("GET", "/v1/runs/run_1", key="zof_x")
    assert [(line["status"], line["path"], line["key_id"], line["org_id"]) for line in requests(logs)] == [
        (401, "/v1/results", None, None), (404, "/v1/unknown", None, None), (500, "/v1/runs/run_1", None, None),
    ]  # fmt: skip


async def test_long_path_is_truncated(api: Api) -> None:
    with capture_logs() as logs:
        await api.send("GET", "/v1/runs/" + "x" * 2_000, key="")
    assert len(requests(logs)[0]["path"]) == 500


async def test_no_line_is_written_by_default(database_url: str) -> None:
    async with serve(database_url) as api:
        with capture_logs() as logs:
            await api.get("/v1/results")
    assert requests(logs) == []
