"""Real servers for the session; a database and a queue prefix for each test, or a database for a module."""

import gc
import os
import signal
import threading
from asyncio import AbstractEventLoop
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import asyncpg
import jinja2
import pytest
import structlog
import uvloop

import service.log
from service.api import client_files
from service.client import archive
from service.database import database
from service.domain.client_archive import ARCHIVE_NAME
from tests import citus_cluster
from tests.buckets import credentials, new_bucket, s3_server
from tests.databases import DatabaseServer
from tests.servers import PrivateServers, Servers, SharedServers

# Fixtures that tests of several subjects use.
pytest_plugins = ["tests.fixtures.api", "tests.fixtures.broker", "tests.fixtures.console", "tests.fixtures.store"]

_SERVERS = pytest.StashKey[Servers]()
_FIRST_ASSIGNED_OID: Final = 10_000  # every server has the same types with smaller OIDs


def pytest_configure(config: pytest.Config) -> None:
    # A shell starts its background jobs with SIGINT ignored, which the processes that tests start would inherit.
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # In a workflow, the client would describe the commit and the job of the workflow, and write to its outputs.
    for name in [name for name in os.environ if name.startswith("GITHUB_")]:
        del os.environ[name]
    if citus_cluster.server_urls():
        citus_cluster.make_default()
    shared: dict[str, str] | None = getattr(config, "workerinput", {}).get("servers")
    config.stash[_SERVERS] = SharedServers(**shared) if shared else PrivateServers()


@pytest.hookimpl(tryfirst=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the tests that share a database on the event loop of their module, which serves what they share."""
    if "shared_database_url" in metafunc.fixturenames:
        marker = pytest.mark.asyncio(loop_scope="module")
        metafunc.definition.add_marker(marker)  # for the plugin that reads it now
        marker(metafunc.function)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests of the other engine."""
    marker, reason = (
        ("one_server", "is about one PostgreSQL server, and RESULTS_TEST_CITUS_URL names a cluster")
        if citus_cluster.server_urls()
        else ("citus", "needs a Citus cluster: RESULTS_TEST_CITUS_URL isn't set")
    )
    for item in items:
        if item.get_closest_marker(marker):
            item.add_marker(pytest.mark.skip(reason=reason))


def pytest_collection_finish() -> None:
    """Let the garbage collector ignore the collected tests and imported modules, which stay until the end."""
    gc.freeze()


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], AbstractEventLoop]]:
    """Run tests and fixtures on the event loop of the service, which treats pipes, signals, and sockets differently."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Pass the servers of the main process to the workers of pytest-xdist."""
    node.workerinput["servers"] = node.config.stash[_SERVERS].addresses()


def pytest_unconfigure(config: pytest.Config) -> None:
    config.stash[_SERVERS].close()


@pytest.fixture(scope="session", autouse=True)
def compiled_templates() -> Iterator[None]:
    """Compile each template of the console once in a process, not once for the application of each test."""
    compile_template: Any = jinja2.Environment.compile
    compiled: dict[tuple[Any, ...], Any] = {}

    def compile_once(environment: jinja2.Environment, source: Any, *names: str | None) -> Any:
        key = (environment.finalize, source, *names)  # the code depends on the existence of this function
        if key not in compiled:
            compiled[key] = compile_template(environment, source, *names)
        return compiled[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jinja2.Environment, "compile", compile_once)
        yield


@pytest.fixture(scope="session", autouse=True)
def plain_tracebacks() -> Iterator[None]:
    """Write tracebacks as the service does. By default, structlog formats all local variables, which takes 0.3 s.

    A command that a test calls in this process doesn't configure logging, because the loggers of all later tests would
    keep its stderr.
    """
    renderer = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[*structlog.get_config()["processors"][:-1], renderer])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(service.log, "set_up", lambda _level="info": None)
        yield
    structlog.reset_defaults()


@pytest.fixture(scope="session", autouse=True)
def introspected_types() -> Iterator[None]:
    """Read the built-in types that the driver requests once in a process, not once for each connection."""
    introspect: Any = asyncpg.Connection._introspect_types  # type: ignore[attr-defined]  # missing in the stubs
    introspected: dict[frozenset[int], Any] = {}

    async def introspect_once(connection: asyncpg.Connection, types: Iterable[int], *arguments: Any) -> Any:
        key = frozenset(types)
        if key in introspected:
            return introspected[key]
        response = await introspect(connection, types, *arguments)
        if max(key) < _FIRST_ASSIGNED_OID:
            introspected[key] = response
        return response

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asyncpg.Connection, "_introspect_types", introspect_once)
        yield


@pytest.fixture(scope="session", autouse=True)
def small_connections() -> Iterator[None]:
    """Let new connections keep 4 KiB of memory instead of 4 MiB, whose allocation takes as long as the connection."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database, "_KEPT_MEMORY_KIB", 4)
        yield


@pytest.fixture(scope="session")
def postgres_url(pytestconfig: pytest.Config) -> str:
    """The URL of the server for a superuser."""
    return pytestconfig.stash[_SERVERS].postgres_url


@pytest.fixture(scope="session")
def amqp_url(pytestconfig: pytest.Config) -> str:
    return pytestconfig.stash[_SERVERS].amqp_url


@pytest.fixture(scope="session")
def template(pytestconfig: pytest.Config) -> str:
    """The name of the database with the schema, from which tests clone theirs."""
    return pytestconfig.stash[_SERVERS].template


@pytest.fixture(scope="session")
def database_server(postgres_url: str) -> Iterator[DatabaseServer]:
    """One connection that creates the databases of all tests of this process."""
    with closing(DatabaseServer(postgres_url)) as server:
        yield server


@pytest.fixture
def database_url(database_server: DatabaseServer, template: str) -> Iterator[str]:
    """The URL of a database that only this test uses, with the schema applied."""
    with database_server.cloned_database(template) as url:
        yield url


@pytest.fixture(scope="module")
def shared_database_url(database_server: DatabaseServer, template: str) -> Iterator[str]:
    """The URL of a database for the tests of a module that don't affect each other, for example by invalid requests."""
    with database_server.cloned_database(template) as url:
        yield url


@pytest.fixture
def queue_prefix() -> str:
    """A prefix for the names of exchanges and queues of this test."""
    return f"test-{uuid4().hex[:12]}."


@pytest.fixture(scope="session")
def s3_url() -> Iterator[str]:
    """The URL of an S3 server. The S3 clients of this process use it."""
    with s3_server() as url:
        os.environ.update(credentials(url))
        yield url


@pytest.fixture(params=["file", "s3"])
def storage_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a storage that only this test uses: a folder or a bucket."""
    if request.param == "file":
        return (tmp_path / "files").as_uri()
    return new_bucket(request.getfixturevalue("s3_url"))


@pytest.fixture(scope="session")
def _built_archive(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("dist")
    return folder, archive.build(folder / ARCHIVE_NAME)


@pytest.fixture
def client_sha256(_built_archive: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> str:
    """The SHA-256 of the client archive of this checkout, which the servers of this test provide."""
    folder, digest = _built_archive
    monkeypatch.setattr(client_files, "_CHECKOUT", folder / ARCHIVE_NAME)
    return digest
