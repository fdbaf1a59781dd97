"""The event list, synchronization with `after`, and the live stream without gaps."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg
import httpx
import orjson
import pytest
from aiohttp import ClientResponse
from httpx_sse import aconnect_sse

from service.events import api as events_api
from service.events import store as events_store
from service.events import subscriptions
from service.events.model import EventFilter
from service.events.operations import number_events
from service.retention import cleanup
from tests.run_events import result, run_event
from tests.served import Api

OLD = "evt_0100" + "0" * 28  # created decades ago
TIMEOUT_S = 20


async def publish(api: Api, *run_ids: str, **fields: Any) -> None:
    for run_id in run_ids:
        await api.store.ingest(run_event(run_id, **fields))
    await number_events(api.store.pool)


def run_ids(events: list[dict[str, Any]]) -> list[str]:
    return [event["data"]["object"]["run_id"] for event in events]


async def position_of(api: Api, run_id: str) -> str:
    """Return the position after the event of a run, which is its ID in the live stream."""
    async with streaming(api, {"run_id": run_id, "after": "0"}) as stream:
        return (await stream.next())[0]


@dataclass
class Stream:
    response: ClientResponse

    async def next(self) -> tuple[str, dict[str, Any]]:
        """Return the next event with its position. Skips heartbeats."""
        async with asyncio.timeout(TIMEOUT_S):
            position = ""
            while True:
                line = (await self.response.content.readline()).decode()
                assert line, "the stream has ended"
                if line.startswith("id: "):
                    position = line[4:].strip()
                if line.startswith("data: "):
                    return position, orjson.loads(line[6:])

    async def read(self, count: int) -> list[dict[str, Any]]:
        return [(await self.next())[1] for _ in range(count)]


@asynccontextmanager
async def streaming(api: Api, params: Any = (), key: str | None = None, **headers: str) -> AsyncIterator[Stream]:
    response = await api.send("GET", "/v1/events/stream", params, key, **headers)
    try:
        assert response.status == 200, await response.text()
        assert response.headers["Content-Type"].startswith("text/event-stream")
        assert (await response.content.readline()).startswith(b"retry:")  # the stream delivers all events from here on
        yield Stream(response)
    finally:
        response.close()


async def test_list_has_the_newest_event_first_in_the_envelope_of_webhooks(api: Api) -> None:
    await publish(api, "one", "two")
    page = await api.get("/v1/events")
    assert run_ids(page["data"]) == ["two", "one"]
    assert set(page["data"][0]) == {"id", "type", "created", "data"}
    assert (page["has_more"], page["next_cursor"]) == (False, None)


async def test_after_lists_the_following_events_in_ascending_order(api: Api) -> None:
    await publish(api, *"abcdef")
    second = (await api.list_all("/v1/events"))[-2]
    assert run_ids(await api.list_all("/v1/events", {"after": second["id"], "limit": "2"})) == ["c", "d", "e", "f"]
    assert run_ids(await api.list_all("/v1/events", {"after": "0", "limit": "4"})) == list("abcdef")
    assert run_ids(await api.list_all("/v1/events", {"after": await position_of(api, "d")})) == ["e", "f"]
    number = (await position_of(api, "e")).split("_")[-1]
    assert run_ids(await api.list_all("/v1/events", {"after": number})) == ["f"]
    last = (await api.get("/v1/events"))["data"][0]
    page = await api.get("/v1/events", {"after": last["id"]})
    assert (page["data"], page["has_more"]) == ([], False)


async def test_sync_returns_every_event_once_even_if_it_commits_late(api: Api) -> None:
    await publish(api, "first")
    position = (await api.get("/v1/events"))["data"][0]["id"]
    async with api.store.pool.acquire() as late, late.transaction():
        await late.execute(
            "INSERT INTO events (org_id, event_id, type, data, created_at)"
            " VALUES (1, $1, 'run.updated', '{\"run_id\": \"late\"}', now() - interval '1 minute')",
            "evt_" + "0" * 32,
        )
        await publish(api, "second")
        seen = (await api.get("/v1/events", {"after": position}))["data"]
    await number_events(api.store.pool)
    seen += (await api.get("/v1/events", {"after": seen[-1]["id"]}))["data"]
    assert run_ids(seen) == ["second", "late"]


async def test_events_can_be_filtered_by_type_and_run(api: Api) -> None:
    await publish(api, "bad", results=[result(status="failed")])
    await publish(api, "good")
    assert run_ids((await api.get("/v1/events", {"type": "run.failed"}))["data"]) == ["bad"]
    assert run_ids((await api.get("/v1/events", {"run_id": "good"}))["data"]) == ["good"]
    both = [("type", "run.failed"), ("type", "run.completed")]
    assert len((await api.get("/v1/events", both))["data"]) == 3


async def test_list_continues_after_the_scan_budget_is_used(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.events.store.SCAN_BUDGET", 3)
    await publish(api, *(f"run_{number}" for number in range(10)), "match")
    for params in ({}, {"after": (await api.list_all("/v1/events"))[-1]["id"]}):
        found = await api.list_all("/v1/events", {"run_id": "match", **params})
        assert run_ids(found) == ["match"]


async def test_position_before_deleted_events_is_gone(api: Api) -> None:
    await publish(api, "old", "new")
    old = (await api.list_all("/v1/events"))[-1]
    await api.store.pool.execute("UPDATE events SET event_id = $1 WHERE event_id = $2", OLD, old["id"])
    assert run_ids((await api.get("/v1/events", {"after": OLD}))["data"]) == ["new"]
    assert await cleanup.delete_expired_events(api.store.pool) == 1
    for position in (OLD, "0"):
        assert (await api.error("/v1/events", 410, {"after": position}))["code"] == "gone"
    response = await api.send("GET", "/v1/events/stream", Last_Event_ID="0")
    assert response.status == 410


async def test_position_after_the_last_deleted_event_stays_valid(api: Api) -> None:
    """An organization without events for 30 days loses none of the following ones."""
    await publish(api, "first", "second")
    first, second = await position_of(api, "first"), await position_of(api, "second")
    for position in (first, second):
        old = OLD[:-1] + position[-1]
        await api.store.pool.execute("UPDATE events SET event_id = $1 WHERE event_id = $2", old, position[:36])
    assert await cleanup.delete_expired_events(api.store.pool) == 2
    await publish(api, "third")
    assert run_ids((await api.get("/v1/events", {"after": second}))["data"]) == ["third"]
    async with streaming(api, Last_Event_ID=second) as stream:
        assert run_ids(await stream.read(1)) == ["third"]
    assert "were deleted" in (await api.error("/v1/events", 410, {"after": first}))["message"]


async def test_position_that_a_failover_has_lost_is_gone(api: Api, database_url: str) -> None:
    """A promoted standby can lack the last events, and gives their numbers to other events."""
    await publish(api, "stored", "lost")
    lost = await position_of(api, "lost")
    await api.store.pool.execute("DELETE FROM events WHERE event_id = $1", lost[:36])
    expected = "a failover or a restored backup has lost the event of this position"
    number = lost.split("_")[-1]
    for position in (lost, number):
        assert expected in (await api.error("/v1/events", 410, {"after": position}))["message"]
    superuser = await asyncpg.connect(database_url)
    await superuser.execute("SELECT setval('event_numbers', $1, false)", int(number))
    await superuser.close()
    await publish(api, "next", "last")
    assert expected in (await api.error("/v1/events", 410, {"after": lost}))["message"]
    response = await api.send("GET", "/v1/events/stream", Last_Event_ID=lost)
    assert response.status == 410
    assert (await response.json())["error"]["message"].startswith(f"Last-Event-ID: {expected}")


@pytest.mark.parametrize(("after", "status"), [("evt_1", 400), ("evt_ffff" + "0" * 28, 404), ("x" * 200, 400)])
async def test_invalid_position_is_an_error(shared_api: Api, after: str, status: int) -> None:
    await shared_api.error("/v1/events", status, {"after": after})


@pytest.mark.parametrize("position", ["junk", "evt_1", "-1", "9" * 5_000])
async def test_invalid_last_event_id_names_the_header(shared_api: Api, position: str) -> None:
    response = await shared_api.send("GET", "/v1/events/stream", Last_Event_ID=position)
    assert response.status == 400
    assert (await response.json())["error"]["param"] == "Last-Event-ID"


async def test_other_organizations_and_projects_see_no_events(api: Api) -> None:
    await publish(api, "run_1")
    event_id = (await api.get("/v1/events"))["data"][0]["id"]
    _, other_key = await api.make_organization("other")
    assert (await api.get("/v1/events", key=other_key))["data"] == []
    await api.error("/v1/events", 404, {"after": event_id}, key=other_key)
    bound = (await api.make_key("viewer", project_id="till")).key
    assert (await api.get("/v1/events", key=bound))["data"] == []


async def test_stream_sends_events_as_they_occur(api: Api) -> None:
    await publish(api, "before")
    async with streaming(api) as stream:
        await publish(api, "one")
        await api.store.ingest(run_event("without notification", notify=False))
        await publish(api, "two")
        streamed = await stream.read(2)
    assert run_ids(streamed) == ["one", "two"]
    assert streamed == (await api.get("/v1/events", {"limit": "2"}))["data"][::-1]


async def test_stream_resumes_after_last_event_id(api: Api) -> None:
    async with streaming(api) as stream:
        await publish(api, "one")
        position, _ = await stream.next()
    await publish(api, "two", "three")
    async with streaming(api, Last_Event_ID=position) as stream:
        await publish(api, "four")
        assert run_ids(await stream.read(3)) == ["two", "three", "four"]


async def test_stream_can_start_after_an_event(api: Api) -> None:
    await publish(api, "one", "two")
    first = (await api.list_all("/v1/events"))[-1]["id"]
    async with streaming(api, {"after": first}) as stream:
        assert run_ids(await stream.read(1)) == ["two"]


async def test_reconnecting_client_receives_every_event_once(api: Api) -> None:
    await publish(api, "start")
    position, seen = "0", list[str]()
    publishing = asyncio.create_task(_publish_runs(api, 60))
    while len(seen) < 61:
        async with streaming(api, Last_Event_ID=position) as stream:
            for _ in range(min(7, 61 - len(seen))):
                position, event = await stream.next()
                seen += run_ids([event])
    await publishing
    assert seen == ["start", *(f"run_{number}" for number in range(60))]


async def _publish_runs(api: Api, count: int) -> None:
    for number in range(count):
        await publish(api, f"run_{number}")
        await asyncio.sleep(0.01)


async def test_stream_is_filtered_and_limited_to_the_organization(api: Api) -> None:
    _, other_key = await api.make_organization("other")
    async with streaming(api, {"run_id": "mine"}) as filtered, streaming(api, key=other_key) as other_stream:
        await publish(api, "other", "mine")
        assert run_ids(await filtered.read(1)) == ["mine"]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(other_stream.next(), 0.3)


async def test_stream_has_no_frame_without_data(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client such as httpx-sse returns an empty event for the end of a frame without data."""
    monkeypatch.setattr(events_api, "HEARTBEAT_S", 0.01)
    async with streaming(api) as stream:
        lines = await _read_heartbeats(stream)
        await publish(api, "one")
        lines += await _read_heartbeats(stream, after=b"data: ")
    frames = b"".join(lines).split(b"\n\n")
    assert [frame.count(b"\ndata: ") for frame in frames] == [1, 0]  # the last frame has no end


async def test_httpx_sse_receives_only_events_and_continues_after_the_last_one(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events_api, "HEARTBEAT_S", 0.01)
    heartbeat_sent, write = asyncio.Event(), events_api._Stream._write

    async def write_and_notify(stream: Any, data: bytes) -> None:
        await write(stream, data)
        if b"heartbeat" in data:
            heartbeat_sent.set()

    monkeypatch.setattr(events_api._Stream, "_write", write_and_notify)
    await publish(api, "one", "two")
    url = str(api.http.make_url("/v1/events/stream"))
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {api.key}"}) as client, asyncio.timeout(TIMEOUT_S):
        async with aconnect_sse(client, "GET", url, params={"after": "0"}) as source:
            events = source.aiter_sse()
            first = [await anext(events) for _ in range(2)]
            await heartbeat_sent.wait()
            await publish(api, "three")
            third = await anext(events)
            await events.aclose()
        await publish(api, "four")
        async with aconnect_sse(client, "GET", url, headers={"Last-Event-ID": third.id}) as source:
            events = source.aiter_sse()
            fourth = await anext(events)
            await events.aclose()
    received = [*first, third, fourth]
    assert run_ids([event.json() for event in received]) == ["one", "two", "three", "four"]
    assert {event.event for event in received} == {"message"}
    assert len({event.id for event in received}) == 4


async def _read_heartbeats(stream: Any, after: bytes = b"") -> list[bytes]:
    """Return the lines until a heartbeat that follows a line with this start."""
    lines: list[bytes] = []
    async with asyncio.timeout(TIMEOUT_S):
        while not (lines and lines[-1] == b": heartbeat\n" and any(line.startswith(after) for line in lines)):
            lines.append(await stream.response.content.readline())
    return lines


@pytest.mark.slow
async def test_idle_stream_sends_heartbeats_until_its_key_is_revoked(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events_api, "HEARTBEAT_S", 0.1)
    created = await api.make_key("viewer")
    async with streaming(api, key=created.key) as stream:
        lines = [await stream.response.content.readline() for _ in range(2)]
        assert b": heartbeat\n" in lines
        await api.store.pool.execute("UPDATE api_keys SET revoked_at = now() WHERE key_id = $1", created.key_id)
        async with asyncio.timeout(TIMEOUT_S):
            while await stream.response.content.readline():
                pass


async def test_busy_stream_ends_when_its_key_is_revoked(api: Api) -> None:
    created = await api.make_key("viewer")
    async with streaming(api, key=created.key) as stream:
        await publish(api, "before")
        assert run_ids(await stream.read(1)) == ["before"]
        await api.store.pool.execute("UPDATE api_keys SET revoked_at = now() WHERE key_id = $1", created.key_id)
        api.resources.key_cache.clear()
        await publish(api, "after")
        async with asyncio.timeout(TIMEOUT_S):
            assert await stream.response.content.read() == b"\n"


@pytest.mark.slow
async def test_client_that_does_not_read_is_disconnected_and_others_are_not(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscriptions, "_MAX_QUEUED", 5)
    server = api.http.server
    with contextlib.closing(socket.socket()) as stalled:
        stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stalled.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(stalled, (server.host, server.port))
        request = f"GET /v1/events/stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {api.key}\r\n\r\n"
        await loop.sock_sendall(stalled, request.encode())
        assert b"200 OK" in await loop.sock_recv(stalled, 100)
        async with streaming(api) as fast:
            for number in range(100):  # more than the buffers of a connection can contain
                failing = [result(f"{'x' * 190}{case}", "failed") for case in range(20)]
                await publish(api, f"run_{number}", results=failing)
                await fast.read(2)
        assert await _read_to_end(stalled) < 100 * 2 * 5_000


async def _read_to_end(connection: socket.socket) -> int:
    """Return the number of bytes that arrive before the connection ends."""
    loop, count = asyncio.get_running_loop(), 0
    async with asyncio.timeout(TIMEOUT_S):
        with contextlib.suppress(ConnectionError):
            while chunk := await loop.sock_recv(connection, 2**20):
                count += len(chunk)
    return count


async def test_shutdown_ends_streams_immediately(api: Api) -> None:
    async with streaming(api) as stream:
        async with asyncio.timeout(5):
            await api.http.server.close()
        assert not [line async for line in stream.response.content if line.startswith(b"data")]


async def test_event_of_one_organization_is_read_only_for_it(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """The load of the database must not depend on the number of organizations that have streams."""
    reads: list[int] = []
    read_after = events_store.read_after

    async def counted(connection: Any, org_id: Any, position: int, limit: int) -> Any:
        reads.append(org_id)
        return await read_after(connection, org_id, position, limit)

    monkeypatch.setattr("service.events.store.read_after", counted)
    async with AsyncExitStack() as opened:
        others = [(await api.make_organization(f"org-{number}"))[0] for number in range(20)]
        for org_id in others:
            await opened.enter_async_context(api.resources.subscriptions.subscribe(org_id, EventFilter()))
        subscriber, _ = await opened.enter_async_context(
            api.resources.subscriptions.subscribe(api.org_id, EventFilter())
        )
        await asyncio.sleep(0.3)
        reads.clear()
        await api.store.ingest(run_event("run_1"))
        await number_events(api.store.pool)
        (received,) = await asyncio.wait_for(subscriber.next(), 5)
        await asyncio.sleep(0.3)
    assert received.run_id == "run_1"
    assert set(reads) == {api.org_id}
    assert len(reads) <= 4
