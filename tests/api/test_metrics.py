"""Metrics for Prometheus: backlogs, also while the database is unreachable, without data of organizations."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest

from consumers.roles import ROLES
from service.http import backlog_metrics
from service.tasks.model import CONSUMER_ROLES
from service.version import find_build
from tests.scraped import families, total
from tests.served import Api, listening, serve

FILL = """
INSERT INTO organizations (slug, name) VALUES ('waiting-slug', 'Waiting');
INSERT INTO outbox (queue, payload, created_at)
SELECT 'results.exports', '{}', now() - n * interval '1 minute' FROM generate_series(3, 1, -1) n;
INSERT INTO exports (org_id, export_id, request, status)
SELECT 1, 'exp_' || status || n, '{}', status
FROM unnest('{queued,running,succeeded}'::text[]) status, generate_series(1, length(status)) n;
INSERT INTO receipts (org_id, receipt_id, source, event_id, body_sha256, status)
SELECT 1, 'rcp_' || status, status, status, '', status FROM unnest('{queued,processing,stored}'::text[]) status;
INSERT INTO dead_letters (queue, payload, reason, message) VALUES ('results.exports', '{}', 'internal_error', '');
INSERT INTO heartbeats VALUES ('one', 'runs', now()), ('two', 'runs', now()), ('old', 'relay', now() - interval '1 h');
"""


async def scrape(api: Api) -> str:
    response = await api.send("GET", "/metrics", key="")
    assert response.status == 200
    return await response.text()


async def test_backlogs_are_gauges(api: Api) -> None:
    await api.store.pool.execute(FILL)
    text = await scrape(api)
    assert total(text, "results_database_up") == 1
    assert total(text, "results_outbox_messages") == 3
    assert 180 <= total(text, "results_outbox_oldest_age_seconds") < 200
    assert total(text, "results_exports_open", status="queued") == 6
    assert total(text, "results_exports_open", status="running") == 7
    assert total(text, "results_reports_open", status="queued") == 1
    assert total(text, "results_reports_open", status="processing") == 1
    assert total(text, "results_embedded_dead_letters") == 1
    assert total(text, "results_workers", role="runs") == 2
    assert total(text, "results_workers", role="relay") == 0
    assert 3600 <= total(text, "results_heartbeat_age_seconds", role="relay") < 3620
    assert 'results_workers{role="webhooks"} 0.0' in text
    assert "waiting-slug" not in text


async def test_version_and_commit_are_labels(api: Api) -> None:
    assert total(await scrape(api), "results_build_info", **find_build()) == 1


async def test_empty_database_has_no_backlogs(api: Api) -> None:
    text = await scrape(api)
    names = [gauge.name for gauge in backlog_metrics.GAUGES]
    assert set(names) <= families(text)
    assert {name: total(text, name) for name in names} == dict.fromkeys(names, 0)


async def test_scrapes_within_seconds_share_one_sample(api: Api) -> None:
    assert total(await scrape(api), "results_outbox_messages") == 0
    await api.store.pool.execute(FILL)
    assert total(await scrape(api), "results_outbox_messages") == 0


def test_sampled_roles_are_the_consumer_roles() -> None:
    assert set(CONSUMER_ROLES) == set(ROLES)


@dataclass
class DatabaseProxy:
    """A TCP proxy to the database that can pause or close all connections."""

    host: str
    port: int
    open: asyncio.Event = field(default_factory=asyncio.Event)
    writers: set[asyncio.StreamWriter] = field(default_factory=set)

    async def forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection(self.host, self.port)
        self.writers |= {writer, server_writer}
        await asyncio.gather(self._copy(reader, server_writer), self._copy(server_reader, writer))

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(2**16):
            await self.open.wait()
            writer.write(data)
        writer.close()

    def close_all(self) -> None:
        for writer in self.writers:
            writer.close()


@asynccontextmanager
async def database_proxy(database_url: str) -> AsyncIterator[tuple[DatabaseProxy, str]]:
    url = urlsplit(database_url)
    proxy = DatabaseProxy(url.hostname or "", url.port or 5432)
    proxy.open.set()
    server = await asyncio.start_server(proxy.forward, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield proxy, database_url.replace(url.netloc, f"{url.netloc.rsplit('@')[0]}@127.0.0.1:{port}")
    finally:
        proxy.open.set()
        proxy.close_all()
        server.close()


@pytest.mark.slow
async def test_unresponsive_database_omits_only_the_backlogs(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog_metrics, "_SAMPLE_INTERVAL_S", 0)
    async with database_proxy(database_url) as (proxy, url), listening(url) as http:

        async def read() -> str:
            response = await http.get("/metrics")
            assert response.status == 200
            return await response.text()

        assert "results_database_up 1.0" in await read()
        proxy.open.clear()
        started = time.monotonic()
        text = await read()
        assert time.monotonic() - started < 5
        assert "results_database_up 0.0" in text
        assert "results_outbox_messages" not in text
        assert total(text, "results_http_request_seconds_count", route="/metrics") >= 1
        proxy.open.set()
        assert "results_database_up 1.0" in await read()


async def test_missing_database_omits_only_the_backlogs() -> None:
    async with listening("postgresql://nobody@127.0.0.1:1/none") as http:
        text = await (await http.get("/metrics")).text()
    assert "results_database_up 0.0" in text


async def test_missing_tables_do_not_fail_the_scrape(database_url: str) -> None:
    async with serve(database_url) as api:
        await api.store.pool.execute("SET ROLE none; DROP TABLE dead_letters; SET ROLE results_worker")
        assert "results_database_up 0.0" in await scrape(api)
