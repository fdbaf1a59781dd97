"""`tail` prints what happens, as it happens, and picks up where it was after an interruption."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import orjson
import pytest

from service.api.server.resources import RESOURCES
from service.client.http import ServerError
from service.client.tail import tail
from service.usecases.events.number_events import number_events
from tests.api.conftest import api as api
from tests.api.served import Api
from tests.run_events import result, run_event

PATIENCE_S = 20


async def happen(api: Api, run_id: str, status: str = "passed") -> None:
    await api.store.take(run_event(run_id, [result(status=status)]))
    await number_events(api.store.pool)


@asynccontextmanager
async def tailing(api: Api, *filters: tuple[str, str], as_json: bool = False) -> AsyncIterator[None]:
    work = asyncio.create_task(tail(str(api.http.make_url("/")), api.key, filters, as_json=as_json))
    try:
        await asyncio.sleep(0.5)  # until it listens; nothing says when
        yield
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)


async def printed(capsys: pytest.CaptureFixture[str], count: int) -> Sequence[str]:
    lines: list[str] = []
    async with asyncio.timeout(PATIENCE_S):
        while len(lines) < count:
            lines += capsys.readouterr().out.splitlines()
            await asyncio.sleep(0.02)
    return lines


async def test_each_event_is_one_line(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    async with tailing(api):
        await happen(api, "run_7", "failed")
        completed, failed = await printed(capsys, 2)
    assert "run.completed" in completed
    assert "run.failed" in failed
    assert "run_7" in failed
    assert "1 failed" in failed


async def test_json_is_the_whole_envelope(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    async with tailing(api, ("run_id", "mine"), as_json=True):
        await happen(api, "other")
        await happen(api, "mine")
        [line] = await printed(capsys, 1)
    assert orjson.loads(line) == (await api.get("/v1/events"))["data"][0]


async def test_an_interrupted_stream_goes_on_without_a_gap(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    async with tailing(api):
        await happen(api, "one")
        await printed(capsys, 1)
        api.http.app[RESOURCES].subscriptions.disconnect_all()
        await happen(api, "two")
        await happen(api, "three")
        lines = await printed(capsys, 2)
    assert [("two" in lines[0]), ("three" in lines[1])] == [True, True]


async def test_a_refusal_ends_it(api: Api) -> None:
    with pytest.raises(ServerError, match="401"):
        await tail(str(api.http.make_url("/")), "zof_wrong", [], as_json=False)
