"""Events over HTTP: the list, the way to sync, and the live stream without a gap."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import orjson
import pytest
from aiohttp import ClientResponse

from service.api.handlers import events as api_events
from service.api.http import key_cache
from service.usecases.events import subscriptions
from service.usecases.events.number_events import number_events
from service.usecases.retention import cleanup as tidy
from tests.api.served import Api
from tests.run_events import result, run_event

OLD = "evt_0100" + "0" * 28  # minted decades ago
PATIENCE_S = 20


async def happen(api: Api, *run_ids: str, **said: Any) -> None:
    for run_id in run_ids:
        await api.store.take(run_event(run_id, **said))
    await number_events(api.store.pool)


def run_ids(events: list[dict[str, Any]]) -> list[str]:
    return [event["data"]["object"]["run_id"] for event in events]


@dataclass
class Stream:
    response: ClientResponse

    async def next(self) -> tuple[str, dict[str, Any]]:
        """The next event with its id; skips what is not one."""
        async with asyncio.timeout(PATIENCE_S):
            number = ""
            while True:
                line = (await self.response.content.readline()).decode()
                assert line, "the stream has ended"
                if line.startswith("id: "):
                    number = line[4:].strip()
                if line.startswith("data: "):
                    return number, orjson.loads(line[6:])

    async def take(self, count: int) -> list[dict[str, Any]]:
        return [(await self.next())[1] for _ in range(count)]


@asynccontextmanager
async def streaming(api: Api, params: Any = (), key: str | None = None, **headers: str) -> AsyncIterator[Stream]:
    response = await api.send("GET", "/v1/events/stream", params, key, **headers)
    try:
        assert response.status == 200, await response.text()
        assert response.headers["Content-Type"].startswith("text/event-stream")
        assert (await response.content.readline()).startswith(b"retry:")  # from here on nothing is missed
        yield Stream(response)
    finally:
        response.close()


async def test_the_list_shows_the_latest_first_in_the_envelope_of_webhooks(api: Api) -> None:
    await happen(api, "one", "two")
    page = await api.get("/v1/events")
    assert run_ids(page["data"]) == ["two", "one"]
    assert set(page["data"][0]) == {"id", "type", "created", "data"}
    assert (page["has_more"], page["next_cursor"]) == (False, None)


async def test_after_an_event_those_that_followed_come_in_their_order(api: Api) -> None:
    await happen(api, *"abcdef")
    second = (await api.walk("/v1/events"))[-2]
    assert run_ids(await api.walk("/v1/events", {"after": second["id"], "limit": "2"})) == ["c", "d", "e", "f"]
    last = (await api.get("/v1/events"))["data"][0]
    page = await api.get("/v1/events", {"after": last["id"]})
    assert (page["data"], page["has_more"]) == ([], False)


async def test_syncing_meets_every_event_once_however_late_it_commits(api: Api) -> None:
    await happen(api, "first")
    place = (await api.get("/v1/events"))["data"][0]["id"]
    async with api.store.pool.acquire() as late, late.transaction():
        await late.execute(
            "INSERT INTO events (org_id, event_id, type, data, created_at)"
            " VALUES (1, $1, 'run.updated', '{\"run_id\": \"late\"}', now() - interval '1 minute')",
            "evt_" + "0" * 32,
        )
        await happen(api, "second")
        seen = (await api.get("/v1/events", {"after": place}))["data"]
    await number_events(api.store.pool)
    seen += (await api.get("/v1/events", {"after": seen[-1]["id"]}))["data"]
    assert run_ids(seen) == ["second", "late"]


async def test_events_are_narrowed_by_type_and_run(api: Api) -> None:
    await happen(api, "bad", results=[result(status="failed")])
    await happen(api, "good")
    assert run_ids((await api.get("/v1/events", {"type": "run.failed"}))["data"]) == ["bad"]
    assert run_ids((await api.get("/v1/events", {"run_id": "good"}))["data"]) == ["good"]
    both = [("type", "run.failed"), ("type", "run.completed")]
    assert len((await api.get("/v1/events", both))["data"]) == 3


async def test_a_page_that_examines_much_and_finds_little_goes_on(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.store.events.BUDGET", 3)
    await happen(api, *(f"run_{number}" for number in range(10)), "wanted")
    for params in ({}, {"after": (await api.walk("/v1/events"))[-1]["id"]}):
        found = await api.walk("/v1/events", {"run_id": "wanted", **params})
        assert run_ids(found) == ["wanted"]


async def test_a_place_whose_followers_are_deleted_is_gone(api: Api) -> None:
    await happen(api, "old", "new")
    old = (await api.walk("/v1/events"))[-1]
    await api.store.pool.execute("UPDATE events SET event_id = $1 WHERE event_id = $2", OLD, old["id"])
    assert run_ids((await api.get("/v1/events", {"after": OLD}))["data"]) == ["new"]
    assert await tidy.delete_expired_events(api.store.pool) == 1
    assert (await api.error("/v1/events", 410, {"after": OLD}))["code"] == "gone"
    response = await api.send("GET", "/v1/events/stream", Last_Event_ID="0")
    assert response.status == 410


@pytest.mark.parametrize(("after", "status"), [("evt_1", 400), ("evt_ffff" + "0" * 28, 404), ("x" * 200, 400)])
async def test_an_unknown_place_is_an_error(api: Api, after: str, status: int) -> None:
    await api.error("/v1/events", status, {"after": after})


@pytest.mark.parametrize("place", ["junk", "evt_1", "-1", "9" * 5_000])
async def test_a_place_in_the_header_that_is_none_is_named_by_the_header(api: Api, place: str) -> None:
    response = await api.send("GET", "/v1/events/stream", Last_Event_ID=place)
    assert response.status == 400
    assert (await response.json())["error"]["param"] == "Last-Event-ID"


async def test_events_are_the_organizations_own(api: Api) -> None:
    await happen(api, "ours")
    ours = (await api.get("/v1/events"))["data"][0]["id"]
    _, stranger = await api.make_organization("other")
    assert (await api.get("/v1/events", key=stranger))["data"] == []
    await api.error("/v1/events", 404, {"after": ours}, key=stranger)
    bound = (await api.make_key("viewer", project_id="till")).key
    assert (await api.get("/v1/events", key=bound))["data"] == []


async def test_a_stream_tells_what_happens_as_it_happens(api: Api) -> None:
    await happen(api, "before")
    async with streaming(api) as stream:
        await happen(api, "one", "two")
        told = await stream.take(2)
    assert run_ids(told) == ["one", "two"]
    assert told == (await api.get("/v1/events", {"limit": "2"}))["data"][::-1]


async def test_a_stream_goes_on_where_the_last_one_ended(api: Api) -> None:
    async with streaming(api) as stream:
        await happen(api, "one")
        place, _ = await stream.next()
    await happen(api, "two", "three")
    async with streaming(api, Last_Event_ID=place) as stream:
        await happen(api, "four")
        assert run_ids(await stream.take(3)) == ["two", "three", "four"]


async def test_a_stream_may_begin_after_an_event(api: Api) -> None:
    await happen(api, "one", "two")
    first = (await api.walk("/v1/events"))[-1]["id"]
    async with streaming(api, {"after": first}) as stream:
        assert run_ids(await stream.take(1)) == ["two"]


async def test_reconnecting_during_a_storm_neither_skips_nor_repeats(api: Api) -> None:
    await happen(api, "start")
    place, seen = "0", list[str]()
    storm = asyncio.create_task(_storm(api, 60))
    while len(seen) < 61:
        async with streaming(api, Last_Event_ID=place) as stream:
            for _ in range(min(7, 61 - len(seen))):
                place, event = await stream.next()
                seen += run_ids([event])
    await storm
    assert seen == ["start", *(f"run_{number}" for number in range(60))]


async def _storm(api: Api, count: int) -> None:
    for number in range(count):
        await happen(api, f"run_{number}")
        await asyncio.sleep(0.01)


async def test_a_stream_is_narrowed_and_the_organizations_own(api: Api) -> None:
    _, stranger = await api.make_organization("other")
    async with streaming(api, {"run_id": "mine"}) as narrow, streaming(api, key=stranger) as foreign:
        await happen(api, "other", "mine")
        assert run_ids(await narrow.take(1)) == ["mine"]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(foreign.next(), 0.3)


async def test_a_quiet_stream_shows_that_it_lives_until_its_key_ends(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_events, "_HEARTBEAT_S", 0.1)
    made = await api.make_key("viewer")
    async with streaming(api, key=made.key) as stream:
        lines = [await stream.response.content.readline() for _ in range(2)]
        assert b": still here\n" in lines
        await api.store.pool.execute("UPDATE api_keys SET revoked_at = now() WHERE key_id = $1", made.key_id)
        async with asyncio.timeout(PATIENCE_S):
            while await stream.response.content.readline():
                pass


async def test_a_busy_stream_tells_nothing_once_its_key_has_ended(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_cache, "_REMEMBERED_S", 0.0)
    made = await api.make_key("viewer")
    async with streaming(api, key=made.key) as stream:
        await happen(api, "before")
        assert run_ids(await stream.take(1)) == ["before"]
        await api.store.pool.execute("UPDATE api_keys SET revoked_at = now() WHERE key_id = $1", made.key_id)
        await happen(api, "after")
        async with asyncio.timeout(PATIENCE_S):
            assert await stream.response.content.read() == b"\n"


async def test_a_client_that_does_not_read_is_cut_and_the_others_are_not(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscriptions, "_QUEUE", 5)
    server = api.http.server
    with contextlib.closing(socket.socket()) as lazy:
        lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        lazy.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(lazy, (server.host, server.port))
        request = f"GET /v1/events/stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {api.key}\r\n\r\n"
        await loop.sock_sendall(lazy, request.encode())
        assert b"200 OK" in await loop.sock_recv(lazy, 100)
        async with streaming(api) as diligent:
            for number in range(100):  # far more than the buffers of a connection hold
                failing = [result(f"{'x' * 190}{case}", "failed") for case in range(20)]
                await happen(api, f"run_{number}", results=failing)
                await diligent.take(2)
        assert await _read_to_end(lazy) < 100 * 2 * 5_000


async def _read_to_end(connection: socket.socket) -> int:
    """How many bytes still come before the connection ends."""
    loop, count = asyncio.get_running_loop(), 0
    async with asyncio.timeout(PATIENCE_S):
        with contextlib.suppress(ConnectionError):
            while chunk := await loop.sock_recv(connection, 2**20):
                count += len(chunk)
    return count


async def test_a_stop_ends_streams_at_once(api: Api) -> None:
    async with streaming(api) as stream:
        async with asyncio.timeout(5):
            await api.http.server.close()
        assert not [line async for line in stream.response.content if line.startswith(b"data")]
