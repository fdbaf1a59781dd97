"""The PostgreSQL and the RabbitMQ of a test session: its own, started when first asked for, or ones that are given."""

import os
import shutil
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final
from uuid import uuid4

from service.dev.postgres import FAST, temporary_postgres
from service.dev.rabbitmq import RabbitMQ
from tests.databases import drop_template

_SHARED_MEMORY: Final = "/dev/shm"
_SESSION_BYTES: Final = 4 * 2**30


class OwnServers:
    """Servers in a temporary folder for one session; `close` leaves nothing of them."""

    def __init__(self) -> None:
        self._opened = ExitStack()

    @cached_property
    def postgres_url(self) -> str:
        given = os.environ.get("RESULTS_TEST_DATABASE_URL")
        settings = {**FAST, "max_wal_size": "512MB"}
        own = temporary_postgres(self._directory / "postgres", settings=settings)
        return given or self._opened.enter_context(own).url

    @cached_property
    def amqp_url(self) -> str:
        given = os.environ.get("RESULTS_TEST_AMQP_URL")
        return given or self._opened.enter_context(RabbitMQ(self._directory / "rabbitmq")).url

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
        directory = tempfile.mkdtemp(prefix="zof-results-tests-", dir=_memory())
        self._opened.callback(shutil.rmtree, directory, ignore_errors=True)
        return Path(directory)


@dataclass(frozen=True)
class GivenServers:
    """Servers that belong to another process."""

    postgres_url: str
    amqp_url: str
    template: str

    def close(self) -> None:
        """Leaves them to their owner."""


Servers = OwnServers | GivenServers


def _memory() -> str | None:
    """A folder in memory where there is plenty: a database is 360 files, which some disks make and delete slowly."""
    return _SHARED_MEMORY if _is_roomy(_SHARED_MEMORY) else None


def _is_roomy(folder: str) -> bool:
    """Whether the databases of a session fit in there."""
    return os.path.isdir(folder) and shutil.disk_usage(folder).free >= _SESSION_BYTES
