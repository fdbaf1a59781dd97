"""The service with a login that has no privileges except its membership in the database roles."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg
import pytest
from aiohttp.test_utils import TestClient

from service.database import database, migrations
from service.dev.postgres import FAST, temporary_postgres
from service.retention import store as retention_store
from service.retention.expiry import apply_retention
from service.retention.model import RetentionPolicy
from tests.consumers.processes import consumer
from tests.exporting import exporting
from tests.fixtures.broker import Broker, until
from tests.run_events import result, run_event
from tests.served import listening, serve
from tests.servers import postgres_programs
from tests.stored import open_store
from tests.test_commands import run

pytestmark = pytest.mark.slow

PASSWORD = "pw-login"
NOW = datetime.now(UTC)
OLD = NOW - timedelta(days=100)


def with_login(url: str, login: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{login}:{PASSWORD}@{parts.netloc.rpartition('@')[2]}"))


async def execute(url: str, *statements: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


@pytest.fixture
async def login(database_url: str) -> AsyncIterator[str]:
    """A login without privileges."""
    name = f"login_{uuid4().hex[:12]}"
    await execute(database_url, f"CREATE ROLE {name} LOGIN NOINHERIT PASSWORD '{PASSWORD}'")
    yield name
    await execute(database_url, f"DROP ROLE {name}")


@pytest.fixture
async def login_url(database_url: str, login: str) -> str:
    """The URL of a login to which `schema apply` has granted the roles."""
    code, _, err = await run(database_url, "schema", "apply", "--grant-to", login)
    assert code == 0, err
    assert f"granted the database roles to {login}" in err
    return with_login(database_url, login)


async def assert_service_works(url: str, folder: Path) -> None:
    """Ingest into new partitions, list, export, and remove an expired month."""
    async with exporting(url, folder.as_uri()) as exports:
        api = exports.api
        await api.store.ingest(run_event("old", [result("pays")], time=OLD.isoformat()))
        await api.store.ingest(run_event("new", [result("pays")], time=NOW.isoformat()))
        assert {item["run_id"] for item in await api.list_all("/v1/results")} == {"old", "new"}
        for file_format in ("csv", "parquet"):
            assert (await exports.run(file_format))["rows"] == 2
        policy = RetentionPolicy(timedelta(days=30), timedelta(days=30), None, timedelta(0))
        while await apply_retention(api.store.pool, exports.storage, url, policy):
            pass  # a call removes the oldest month
        assert {item["run_id"] for item in await api.list_all("/v1/results")} == {"new"}


async def test_ingest_lists_exports_and_retention_work(login_url: str, tmp_path: Path) -> None:
    await assert_service_works(login_url, tmp_path)


async def test_stuck_writer_of_the_same_login_is_terminated(login_url: str) -> None:
    async with open_store(login_url) as store, store.pool.acquire() as stuck, store.pool.acquire() as other:
        pid = stuck.get_server_pid()
        ended = asyncio.Event()
        copying = asyncio.create_task(copy_until(stuck, ended))

        async def is_terminated() -> bool:
            await retention_store.terminate_stuck_writers(other, timedelta(0), timedelta(0))
            return not await other.fetchval("SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1)", pid)

        await until(is_terminated, "the end of the backend", 10)
        ended.set()
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, ConnectionResetError)):
            await copying


async def copy_until(connection: database.Connection, ended: asyncio.Event) -> None:
    async def rows() -> AsyncIterator[bytes]:
        await ended.wait()
        yield b""

    await connection.copy_to_table("heartbeats", source=rows(), columns=["worker_id", "role"])


async def test_consumer_process_with_all_roles_stores_an_event(login_url: str, broker: Broker, tmp_path: Path) -> None:
    async with open_store(login_url) as store:
        with consumer(login_url, broker.url, broker.topology, artifacts_url=tmp_path.as_uri()):
            await broker.publish(run_event())

            async def is_stored() -> bool:
                return await store.run() is not None

            await until(is_stored, "the event")


async def test_second_login_replaces_the_first_one_without_an_unavailable_response(
    database_url: str, login: str, login_url: str
) -> None:
    """The steps of docs/operations/keys-and-members.md, with two API instances that are replaced in turn."""
    second = f"{login}_2"
    await execute(database_url, f"CREATE ROLE {second} LOGIN NOINHERIT PASSWORD '{PASSWORD}'")
    code, _, err = await run(database_url, "schema", "apply", "--grant-to", second)
    assert code == 0, err
    async with serve(database_url) as api, AsyncExitStack() as first, AsyncExitStack() as replaced:
        balanced = [await first.enter_async_context(listening(login_url)) for _ in range(2)]
        statuses: list[int] = []
        requests = asyncio.create_task(send_requests(balanced, api.key, statuses))
        for index in range(2):
            await until_sent(statuses, 20)
            balanced[index] = await replaced.enter_async_context(listening(with_login(database_url, second)))
        await until_sent(statuses, 20)
        await first.aclose()
        connections = "SELECT count(*) FROM pg_stat_activity WHERE usename = $1"
        assert await api.store.pool.fetchval(connections, login) == 0
        await execute(database_url, f"ALTER ROLE {login} NOLOGIN PASSWORD NULL")
        with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError):
            await execute(login_url, "SELECT 1")
        await until_sent(statuses, 20)
        requests.cancel()
        assert set(statuses) == {200}
    await execute(database_url, f"DROP ROLE {second}")


async def send_requests(clients: Sequence[TestClient[Any, Any]], key: str, statuses: list[int]) -> None:
    """Send requests to the clients in turn. Their number can't change, but each of them can be replaced."""
    while True:
        client = clients[len(statuses) % len(clients)]
        async with client.get("/v1/results", headers={"Authorization": f"Bearer {key}"}) as response:
            statuses.append(response.status)


async def until_sent(statuses: Sequence[int], count: int) -> None:
    """Wait for this number of further requests."""
    expected = len(statuses) + count

    async def is_sent() -> bool:
        return len(statuses) >= expected

    await until(is_sent, "further requests", 10)


async def test_login_can_do_nothing_without_a_role(login_url: str, login: str) -> None:
    connection = await asyncpg.connect(login_url)
    try:
        roles = (f"SET ROLE results_{name}" for name in ("keys", "sessions"))
        for statement in ("SELECT FROM runs", "DELETE FROM results", "CREATE TABLE added ()", *roles):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
        row = await connection.fetchrow("SELECT * FROM pg_roles WHERE rolname = $1", login)
        assert row
        assert not any(row[name] for name in ("rolsuper", "rolcreaterole", "rolcreatedb", "rolbypassrls"))
    finally:
        await connection.close()


async def test_schema_status_works_with_the_login(login_url: str) -> None:
    code, out, err = await run(login_url, "schema", "status")
    assert (code, out) == (0, ""), err


async def test_unknown_login_is_named(database_url: str) -> None:
    code, _, err = await run(database_url, "schema", "apply", "--grant-to", "unknown_1")
    assert code == 1
    assert "login 'unknown_1' not found" in err


@pytest.mark.slow
async def test_schema_can_be_applied_without_a_superuser(tmp_path: Path) -> None:
    """The owner of the database, who can create roles, applies the schema on a server without the roles."""
    with temporary_postgres(tmp_path / "postgres", settings=FAST, programs=postgres_programs()) as server:
        await execute(
            server.url,
            f"CREATE ROLE admin LOGIN CREATEROLE BYPASSRLS PASSWORD '{PASSWORD}'",
            f"CREATE ROLE service LOGIN NOINHERIT PASSWORD '{PASSWORD}'",
            "CREATE DATABASE results OWNER admin",
            # Before PostgreSQL 16, only a superuser can create roles that bypass row-level security.
            "CREATE ROLE results_worker NOLOGIN BYPASSRLS",
            "CREATE ROLE results_owner NOLOGIN BYPASSRLS",
            "GRANT results_worker, results_owner TO admin WITH ADMIN OPTION",
        )
        url = server.database_url("results")
        await migrations.apply(with_login(url, "admin"))
        await migrations.grant_roles(with_login(url, "admin"), "service")
        await assert_service_works(with_login(url, "service"), tmp_path)
