"""Tests of the private PostgreSQL: persistence, authentication, shutdown, and accounts."""

import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from service.dev import accounts
from service.dev.accounts import erase
from service.dev.ports import is_free
from service.dev.postgres import FAST, Postgres
from service.dev.programs import ComponentError

pytestmark = pytest.mark.slow


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    directory = tmp_path / "postgres"
    yield directory
    erase(directory)


@pytest.fixture
def postgres(directory: Path) -> Iterator[Postgres]:
    with Postgres(directory, settings=FAST) as server:
        yield server


def owner(pid: int | None) -> int:
    return owner_of(Path(f"/proc/{pid}"))


def owner_of(path: Path) -> int:
    return path.stat().st_uid


async def query(url: str, statement: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


async def test_killed_server_restarts_with_its_data_at_the_same_address(postgres: Postgres) -> None:
    url = postgres.url
    await query(url, "CREATE TABLE saved AS SELECT 42 AS number")
    postgres.kill()
    postgres.restart()
    assert postgres.url == url
    assert await query(url, "SELECT number FROM saved") == 42


async def test_second_start_reuses_data_port_and_password(directory: Path) -> None:
    with Postgres(directory, settings=FAST) as first:
        await query(first.url, "CREATE TABLE saved AS SELECT 42 AS number")
    with Postgres(directory, settings=FAST) as second:
        assert second.url == first.url
        assert await query(second.url, "SELECT number FROM saved") == 42


def test_stop_ends_the_process_and_frees_the_port(directory: Path) -> None:
    with Postgres(directory, settings=FAST) as server:
        pid = server.pid
    assert not Path(f"/proc/{pid}").exists()
    assert is_free(server.port)
    assert not (directory / "postgres.pid").exists()


async def test_connection_with_a_wrong_password_fails(postgres: Postgres) -> None:
    address = urlsplit(postgres.url)._replace(netloc=f"postgres:guess@127.0.0.1:{postgres.port}")
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(address.geturl())


async def test_create_database_is_idempotent(postgres: Postgres) -> None:
    postgres.create_database("results")
    postgres.create_database("results")
    assert await query(postgres.database_url("results"), "SELECT current_database()") == "results"


async def test_databases_are_durable_by_default(directory: Path) -> None:
    with Postgres(directory) as server:
        assert await query(server.url, "SHOW fsync") == "on"
        assert await query(server.url, "SHOW synchronous_commit") == "on"


def test_error_of_a_failed_start_contains_the_reason(directory: Path) -> None:
    server = Postgres(directory, settings={"no_such_setting": "1"})
    with pytest.raises(ComponentError, match="no_such_setting"):
        server.start()
    assert server.pid is None


@pytest.fixture
def no_namespaces(monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root runs the server as another user")
    monkeypatch.setattr(accounts, "_can_run", lambda prefix: False)


async def test_root_without_namespaces_runs_the_server_as_another_user(no_namespaces: None, directory: Path) -> None:
    with Postgres(directory, settings=FAST) as first:
        assert owner(first.pid) != 0
        await query(first.url, "CREATE TABLE saved AS SELECT 42 AS number")
    with Postgres(directory, settings=FAST) as second:
        assert await query(second.url, "SELECT number FROM saved") == 42


def test_erase_deletes_data_outside_the_directory(no_namespaces: None, tmp_path: Path) -> None:
    directory = tmp_path / "postgres"
    Postgres(directory).prepare()
    home = Path((directory / "home").read_text())
    assert owner_of(home / "data") != 0
    erase(directory)
    assert not home.exists()
    assert not directory.exists()
