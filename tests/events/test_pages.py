"""The live stream of a page: messages about changes, and its end with the session."""

import asyncio
import contextlib

import pytest
from aiohttp import ClientResponse

from service.domain.errors import Unavailable
from service.events import pages as events_pages
from service.events.operations import number_events
from service.identity.keys import operations as keys_operations
from tests.console.browsers import COOKIE, RUNS, Browser
from tests.run_events import run_event
from tests.served import serve

STREAM = "/console/stream"
TIMEOUT_S = 20


async def ingest(browser: Browser, run_id: str, project_id: str) -> None:
    await browser.api.store.ingest(run_event(run_id, project_id=project_id))
    await number_events(browser.api.store.pool)


async def read_until(response: ClientResponse, line: bytes) -> None:
    async with asyncio.timeout(TIMEOUT_S):
        while await response.content.readline() != line:
            pass


@pytest.mark.parametrize(
    ("project_id", "query", "changes"),
    [
        ("shop", "", [("run_1", "blog"), ("run_2", "shop")]),
        (None, "?run_id=run_2", [("run_1", "shop"), ("run_2", "shop")]),
    ],
    ids=["project", "run"],
)
async def test_stream_reports_only_changes_of_the_project_and_run(
    browser: Browser,
    monkeypatch: pytest.MonkeyPatch,
    project_id: str | None,
    query: str,
    changes: list[tuple[str, str]],
) -> None:
    monkeypatch.setattr(events_pages, "_CHECK_S", 0.05)
    await browser.sign_in((await browser.api.make_key(project_id=project_id)).key)
    response = await browser.send("GET", f"{STREAM}{query}", Accept="text/event-stream")
    assert (response.status, response.content_type) == (200, "text/event-stream")
    assert response.headers["Cache-Control"] == "no-store"
    await read_until(response, b"retry: 2000\n")
    for run_id, project in changes:
        await ingest(browser, run_id, project)
    await read_until(response, b"event: changed\n")
    await browser.api.store.pool.execute("UPDATE api_keys SET revoked_at = now()")
    browser.end_caches()
    async with asyncio.timeout(TIMEOUT_S):
        assert b"changed" not in await response.content.read()


async def test_stream_without_a_session_is_not_redirected(browser: Browser) -> None:
    assert (await browser.send("GET", STREAM)).status == 401


async def test_stream_ends_with_the_session(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events_pages, "_CHECK_S", 0.05)
    created = await browser.api.make_key()
    await browser.sign_in(created.key)
    response = await browser.send("GET", STREAM)
    await read_until(response, b"retry: 2000\n")
    async with browser.api.store.pool.acquire() as connection:
        await keys_operations.rotate_key(connection, browser.api.org_id, created.key_id)
    browser.end_caches()
    async with asyncio.timeout(TIMEOUT_S):
        await response.content.read()


@pytest.mark.parametrize("change", ["role = 'viewer'", "project_id = 'shop'"])
async def test_stream_ends_with_a_changed_role_or_project(
    browser: Browser, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    monkeypatch.setattr(events_pages, "_CHECK_S", 0.05)
    await browser.sign_in()
    response = await browser.send("GET", STREAM)
    await read_until(response, b"retry: 2000\n")
    await browser.api.store.pool.execute(f"UPDATE api_keys SET {change}")  # as an admin changes a member
    browser.end_caches()
    async with asyncio.timeout(TIMEOUT_S):
        await response.content.read()


@pytest.mark.parametrize("error", [Unavailable("the database is not available"), RuntimeError("the internal cause")])
async def test_error_ends_the_stream_without_a_second_response(
    signed_in: Browser, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """The session can't be checked, for example because the database isn't available."""

    async def fail(_: object) -> None:
        raise error

    monkeypatch.setattr(events_pages, "_CHECK_S", 0.05)
    monkeypatch.setattr(events_pages, "find_session", fail)
    url = signed_in.api.http.make_url(STREAM)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    try:
        writer.write(f"GET {STREAM} HTTP/1.1\r\nHost: a\r\nCookie: {COOKIE}={signed_in.session_id}\r\n\r\n".encode())
        async with asyncio.timeout(TIMEOUT_S):
            received = await _read_all(reader)
    finally:
        writer.close()
    assert received.count(b"HTTP/1.1") == 1
    assert b"retry: 2000" in received


async def _read_all(reader: asyncio.StreamReader) -> bytes:
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while chunk := await reader.read(2**16):
            received += chunk
    return received


@pytest.mark.slow
async def test_open_stream_ends_within_five_seconds(browser: Browser) -> None:
    """Without shorter times: the page and its stream have used the session immediately before the rotation."""
    created = await browser.api.make_key()
    await browser.sign_in(created.key)
    response = await browser.send("GET", STREAM)
    await read_until(response, b"retry: 2000\n")
    browser.end_caches()
    await browser.open(RUNS)
    async with browser.api.store.pool.acquire() as connection:
        await keys_operations.rotate_key(connection, browser.api.org_id, created.key_id)
    await browser.open(RUNS)
    async with asyncio.timeout(5):
        await response.content.read()
    assert (await browser.send("GET", RUNS)).status == 303


async def test_idle_stream_has_heartbeats(signed_in: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events_pages, "_CHECK_S", 0.05)
    monkeypatch.setattr(events_pages, "HEARTBEAT_S", 0.1)
    response = await signed_in.send("GET", STREAM)
    lines = [await response.content.readline() for _ in range(3)]
    assert lines == [b"retry: 2000\n", b": heartbeat\n", b": heartbeat\n"]
    response.close()


async def test_streams_of_a_key_are_limited(database_url: str) -> None:
    async with serve(database_url, streams_per_key=1) as api:
        browser = Browser(api)
        await browser.sign_in()
        first = await browser.send("GET", STREAM)
        assert (await browser.send("GET", STREAM)).status == 429
        first.close()
