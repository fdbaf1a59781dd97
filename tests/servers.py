"""The PostgreSQL and the RabbitMQ of a test session: private servers that start at the first use, or external ones.

RESULTS_TEST_DATABASE_URL and RESULTS_TEST_AMQP_URL name external servers, and RESULTS_TEST_CITUS_URL those of a
cluster. RESULTS_TEST_POSTGRES_BIN names a directory with the programs of another PostgreSQL version (initdb, postgres)
for the private server, for example /usr/lib/postgresql/15/bin.
"""

import os
import shutil
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final
from unittest.mock import patch
from uuid import uuid4

from service.dev.postgres import FAST, temporary_postgres, wheel_programs
from service.dev.rabbitmq import RabbitMQ
from tests.citus_cluster import server_urls
from tests.databases import drop_template

_SHARED_MEMORY: Final = "/dev/shm"
_SESSION_BYTES: Final = 4 * 2**30

# By default, the allocator returns memory to the kernel and obtains it again, which takes 5 ms in the first event.
_KEEP_MEMORY: Final = {
    "MALLOC_TRIM_THRESHOLD_": "33554432", "MALLOC_MMAP_THRESHOLD_": "33554432", "MALLOC_TOP_PAD_": "1048576",
}  # fmt: skip

# Users of the private RabbitMQ, who can publish only to the exchange of producers.
PRODUCERS: Final = ("team-a", "team-b")
PRODUCER_PASSWORD: Final = "producer"
_PRODUCER_USERS: Final = "".join(
    f"default_users.{user}.{setting}\n"
    for user in PRODUCERS
    for setting in (
        "vhost_pattern = .*", f"password = {PRODUCER_PASSWORD}", "configure = ^$", "read = ^$", "write = runs$"
    )
)  # fmt: skip


class PrivateServers:
    """Private servers in a temporary directory; `close` stops them and deletes the directory."""

    def __init__(self) -> None:
        self._opened = ExitStack()

    @cached_property
    def postgres_url(self) -> str:
        if cluster := server_urls():
            return cluster[0]
        if external := os.environ.get("RESULTS_TEST_DATABASE_URL"):
            return external
        # DROP DATABASE and checkpoints scan the shared buffers.
        settings = {**FAST, "max_wal_size": "512MB", "autovacuum": "off", "shared_buffers": "32MB"}
        server = temporary_postgres(self._directory / "postgres", settings=settings, programs=postgres_programs())
        with patch.dict(os.environ, _KEEP_MEMORY):
            return self._opened.enter_context(server).url

    @cached_property
    def amqp_url(self) -> str:
        external = os.environ.get("RESULTS_TEST_AMQP_URL")
        server = RabbitMQ(self._directory / "rabbitmq", configuration=_PRODUCER_USERS)
        return external or self._opened.enter_context(server).url

    @cached_property
    def template(self) -> str:
        name = f"template_{uuid4().hex}"
        self._opened.callback(drop_template, self.postgres_url, name)
        return name

    def addresses(self) -> dict[str, str]:
        return {"postgres_url": self.postgres_url, "amqp_url": self.amqp_url, "template": self.template}

    def close(self) -> None:
        self._opened.close()

    @cached_property
    def _directory(self) -> Path:
        directory = tempfile.mkdtemp(prefix="zof-results-tests-", dir=_memory_directory())
        self._opened.callback(shutil.rmtree, directory, ignore_errors=True)
        return Path(directory)


@dataclass(frozen=True)
class SharedServers:
    """Servers that another process started."""

    postgres_url: str
    amqp_url: str
    template: str

    def close(self) -> None:
        """Do nothing: the other process stops the servers."""


Servers = PrivateServers | SharedServers


def postgres_program(name: str) -> str:
    """Return the path of a client program of the same version as the private server."""
    return str((postgres_programs() or wheel_programs()) / name)


def postgres_programs() -> Path | None:
    directory = os.environ.get("RESULTS_TEST_POSTGRES_BIN")
    return Path(directory) if directory else None


def _memory_directory() -> str | None:
    """Return a directory in memory if it is large enough: some disks are slow with the 360 files of a database."""
    return _SHARED_MEMORY if _has_capacity(_SHARED_MEMORY) else None


def _has_capacity(folder: str) -> bool:
    """Return whether the folder has space for the databases of a session."""
    return os.path.isdir(folder) and shutil.disk_usage(folder).free >= _SESSION_BYTES
