"""Real servers for the whole session, and a database and queue names for each test alone."""

import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.buckets import new_bucket, s3_server
from tests.databases import cloned_database
from tests.servers import GivenServers, OwnServers, Servers

_SERVERS = pytest.StashKey[Servers]()


def pytest_configure(config: pytest.Config) -> None:
    if threading.current_thread() is threading.main_thread():  # a shell's background jobs come with it ignored,
        signal.signal(signal.SIGINT, signal.default_int_handler)  # and what they start would not be interrupted
    given: dict[str, str] | None = getattr(config, "workerinput", {}).get("servers")
    config.stash[_SERVERS] = GivenServers(**given) if given else OwnServers()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Lets the workers of pytest-xdist share the servers of the process that distributes the tests."""
    node.workerinput["servers"] = node.config.stash[_SERVERS].addresses()


def pytest_unconfigure(config: pytest.Config) -> None:
    config.stash[_SERVERS].close()


@pytest.fixture(scope="session")
def postgres_url(pytestconfig: pytest.Config) -> str:
    """A superuser's URL of the server."""
    return pytestconfig.stash[_SERVERS].postgres_url


@pytest.fixture(scope="session")
def amqp_url(pytestconfig: pytest.Config) -> str:
    return pytestconfig.stash[_SERVERS].amqp_url


@pytest.fixture
def database_url(postgres_url: str, pytestconfig: pytest.Config) -> Iterator[str]:
    """A database of this test alone, with the schema applied."""
    with cloned_database(postgres_url, pytestconfig.stash[_SERVERS].template) as url:
        yield url


@pytest.fixture
def queue_prefix() -> str:
    """What the names of this test's exchanges and queues start with."""
    return f"test-{uuid4().hex[:12]}."


@pytest.fixture(scope="session")
def s3_url() -> Iterator[str]:
    with s3_server() as url:
        yield url


@pytest.fixture(params=["file", "s3"])
def storage_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where files are kept: once in a folder, once in a bucket of this test alone."""
    if request.param == "file":
        return (tmp_path / "files").as_uri()
    return new_bucket(request.getfixturevalue("s3_url"))
