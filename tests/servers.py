"""The PostgreSQL and the RabbitMQ of a test session: its own, started when first asked for, or ones that are given."""

import os
import shutil
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from uuid import uuid4

from service.dev.postgres import FAST, temporary_postgres
from service.dev.rabbitmq import RabbitMQ
from tests.databases import drop_template


class OwnServers:
    """Servers in a temporary folder for one session; `close` leaves nothing of them."""

    def __init__(self) -> None:
        self._opened = ExitStack()

    @cached_property
    def postgres_url(self) -> str:
        given = os.environ.get("RESULTS_TEST_DATABASE_URL")
        return given or self._opened.enter_context(temporary_postgres(self._directory / "postgres", settings=FAST)).url

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
        directory = tempfile.mkdtemp(prefix="zof-results-tests-")
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
