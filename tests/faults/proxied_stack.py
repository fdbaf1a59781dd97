"""All processes of the service, for fault injection; by default with proxies in front of servers and receivers."""

import asyncio
import os
import signal
import sys
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

import asyncpg
from aio_pika.abc import AbstractConnection

from consumers.broker import connect
from consumers.topology import Topology
from service.database import connections, migrations
from service.database.encryption import SecretCipher
from service.dev.ports import choose_port
from service.dev.postgres import FAST, Postgres, temporary_postgres
from service.dev.programs import Program, StackComponent, responds_ok
from service.dev.rabbitmq import RabbitMQ
from service.domain.ids import OrgId
from service.identity.keys.operations import create_key
from service.organizations import store as organizations_store
from service.stopping import end_tasks
from service.webhooks.operations import create_webhook
from service.webhooks.store import WebhookFields
from tests.faults import shifted_clock
from tests.faults.small_disks import FILES, POSTGRES, RABBITMQ, SmallDisk
from tests.faults.stored_files import StoredFiles, folder, proxied_bucket
from tests.proxies import UnreliableProxy
from tests.receivers import Receiver, receiving

Disks = Mapping[str, SmallDisk]

ORGANIZATIONS: Final = ("acme", "globex")
NO_DISKS: Final[Disks] = {}
CONSUMERS: Final = ("runs-1", "runs-2")

_QUEUE_READY_S: Final = 10  # a younger quorum queue might not survive a SIGKILL of its broker
_RESTART_DELAY_S: Final = 0.5
_POLL_S: Final = 0.1
_READY_TIMEOUT_S: Final = 90
_CHECKER: Final = "checker"
_ROLES: Final = {"reports": ("reports", "exports", "upkeep"), "relay": ("relay",), "webhooks": ("webhooks",)}
_SETTINGS: Final = {
    "RATE_LIMIT": "off",
    "LOG_LEVEL": "info",
    "WEBHOOK_ALLOW_LOOPBACK": "true",
    "WEBHOOK_RETRY_DELAYS_S": ",".join(["1"] * 30),
    "WEBHOOK_ATTEMPT_TIMEOUT_S": "3",
    "WEBHOOK_BREAKER_MIN_PAUSE_S": "1",
    "WEBHOOK_BREAKER_MAX_PAUSE_S": "2",
}


class ServiceStack(ABC):
    """The processes of the service, and a receiver of each organization's webhooks. A subclass provides the servers."""

    def __init__(self, directory: Path, files: StoredFiles | None = None) -> None:
        self.directory = directory
        self.files = files or folder(directory / "files")
        self.topology = Topology()
        self.http_port = choose_port()
        self.keys: dict[str, str] = {}
        self.receivers: dict[str, Receiver] = {}
        self.receiver_proxies: dict[str, UnreliableProxy] = {}
        self.webhook_secrets: dict[str, str] = {}
        self.programs: dict[str, Program] = {}
        self.killed: set[str] = set()
        self.unexpected_exits: list[str] = []

    @property
    @abstractmethod
    def direct_database_url(self) -> str:
        """The URL of PostgreSQL without a proxy."""

    @property
    @abstractmethod
    def direct_amqp_url(self) -> str:
        """The URL of RabbitMQ without a proxy."""

    @property
    def database_url(self) -> str:
        """The URL of PostgreSQL for the processes."""
        return self.direct_database_url

    @property
    def amqp_url(self) -> str:
        """The URL of RabbitMQ for the processes."""
        return self.direct_amqp_url

    @property
    def _clock_file(self) -> Path:
        return self.directory / "clock-offset"

    @property
    def api_url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    async def connect(self) -> asyncpg.Connection:
        """Connect as a superuser that no injection affects, without a proxy."""
        url = f"postgresql://{_CHECKER}:{_CHECKER}@{self.direct_database_url.rpartition('@')[2]}"
        settings = {"default_transaction_read_only": "off"}
        return await connections.connect(url, command_timeout=10, server_settings=settings)

    async def connect_to_broker(self) -> AbstractConnection:
        """Connect without a proxy."""
        return await connect(self.direct_amqp_url)

    async def kill(self, name: str) -> None:
        """End a process with SIGKILL. The stack starts it again, as a service manager does."""
        self.killed.add(name)
        await asyncio.to_thread(self.programs[name].kill)

    def set_clocks(self, offset_s: float) -> None:
        """Change the clock of all processes of the service, but not that of the servers."""
        self.directory.mkdir(parents=True, exist_ok=True)
        shifted_clock.write_offset(self._clock_file, offset_s)

    async def relaunch(self, server: StackComponent) -> None:
        """Start a server that exited, and wait until it is ready."""
        async with asyncio.timeout(_READY_TIMEOUT_S):
            while not await asyncio.to_thread(server.is_ready):
                if not server.is_running():
                    server.launch()
                await asyncio.sleep(_POLL_S)

    async def restart_exited(self) -> None:
        """Start programs that exited again, until canceled."""
        while True:
            for name, program in self.programs.items():
                if not program.is_running():
                    if name not in self.killed:
                        self.unexpected_exits.append(name)
                    self.killed.discard(name)
                    await asyncio.sleep(_RESTART_DELAY_S)
                    program.launch()
            await asyncio.sleep(_POLL_S)

    async def prepare_database(self) -> None:
        """Create the schema, the user of the checker, and the organizations, each with a key and a webhook."""
        await migrations.apply(self.direct_database_url)
        connection = await asyncpg.connect(self.direct_database_url)
        await connection.execute(f"CREATE ROLE {_CHECKER} LOGIN SUPERUSER PASSWORD '{_CHECKER}'")
        await connection.close()
        connection = await self.connect()
        for slug in ORGANIZATIONS:
            org_id = await organizations_store.create(connection, slug, slug.title())
            self.keys[slug] = (await create_key(connection, org_id, "reports", "engineer")).key
            await self._create_webhook(connection, org_id, slug)
        await connection.close()

    async def _create_webhook(self, connection: asyncpg.Connection, org_id: OrgId, slug: str) -> None:
        fields = WebhookFields(self.receiver_proxies[slug].url, "", ["run.completed"], None, True)
        async with connection.transaction():
            self.webhook_secrets[slug] = (await create_webhook(connection, SecretCipher(), org_id, fields, 1)).secret

    async def declare_topology(self) -> None:
        async with await self.connect_to_broker() as broker:
            await self.topology.declare(await broker.channel())
        await asyncio.sleep(_QUEUE_READY_S)

    def add_programs(self, consumer_module: tuple[str, ...]) -> None:
        """Add the processes of the service. The consumers with the role runs start with `consumer_module`."""
        self.set_clocks(0)
        self._add("api", ("service", "api"), is_ready=partial(responds_ok, "127.0.0.1", self.http_port, "/readyz"))
        for name in CONSUMERS:
            self._add(name, (*consumer_module, "runs"))
        for name, roles in _ROLES.items():
            self._add(name, ("consumers", *roles))

    def _add(self, name: str, module: tuple[str, ...], is_ready: Callable[[], bool] = lambda: True) -> None:
        command = (sys.executable, "-m", shifted_clock.MODULE, *module)
        log = self.directory / "log" / f"{name}.log"
        environment = self._environment()
        self.programs[name] = Program(
            name, command, self.directory, log=log, settings=lambda: environment, is_ready=is_ready
        )

    def _environment(self) -> dict[str, str]:
        settings = {
            **_SETTINGS,
            "DATABASE_URL": self.database_url,
            "AMQP_URL": self.amqp_url,
            "ARTIFACTS_URL": self.files.url,
            "HTTP_PORT": str(self.http_port),
        }
        return {
            **os.environ,
            **self.files.environment,
            shifted_clock.VARIABLE: str(self._clock_file),
            **{f"RESULTS_{name}": value for name, value in settings.items()},
        }


class ProxiedStack(ServiceStack):
    """The processes with one PostgreSQL, one RabbitMQ, and one storage, and a proxy in front of each."""

    def __init__(
        self, directory: Path, postgres: Postgres, rabbitmq: RabbitMQ, files: StoredFiles, disks: Disks
    ) -> None:
        super().__init__(directory, files)
        self.disks = disks
        self.postgres = postgres
        self.rabbitmq = rabbitmq
        self.postgres_proxy = UnreliableProxy(postgres.url)
        self.rabbitmq_proxy = UnreliableProxy(rabbitmq.url)

    @property
    def direct_database_url(self) -> str:
        return self.postgres.url

    @property
    def direct_amqp_url(self) -> str:
        return self.rabbitmq.url

    @property
    def database_url(self) -> str:
        return self.postgres_proxy.url

    @property
    def amqp_url(self) -> str:
        return self.rabbitmq_proxy.url


@asynccontextmanager
async def proxied_stack(
    directory: Path, consumer_module: tuple[str, ...] = ("consumers",), disks: Disks = NO_DISKS
) -> AsyncIterator[ProxiedStack]:
    """Run the stack while the block runs, then end all of its processes.

    With `disks`, each server has its own disk, and the files are in a folder instead of a bucket.
    """
    paths = {name: disk.path for name, disk in disks.items()}
    async with AsyncExitStack() as opened:
        data = paths.get(POSTGRES, directory) / POSTGRES
        postgres = opened.enter_context(temporary_postgres(data, settings=FAST))
        rabbitmq = opened.enter_context(RabbitMQ(paths.get(RABBITMQ, directory) / RABBITMQ))
        files = folder(paths[FILES] / FILES) if FILES in paths else await opened.enter_async_context(proxied_bucket())
        stack = ProxiedStack(directory, postgres, rabbitmq, files, disks)
        await opened.enter_async_context(stack.postgres_proxy)
        await opened.enter_async_context(stack.rabbitmq_proxy)
        await opened.enter_async_context(running(stack, consumer_module))
        yield stack


@asynccontextmanager
async def running(stack: ServiceStack, consumer_module: tuple[str, ...] = ("consumers",)) -> AsyncIterator[None]:
    """Run the receivers and the processes while the block runs. The servers of the stack are running already."""
    async with AsyncExitStack() as opened:
        for slug in ORGANIZATIONS:
            receiver = stack.receivers[slug] = await opened.enter_async_context(receiving(200))
            stack.receiver_proxies[slug] = await opened.enter_async_context(UnreliableProxy(receiver.url))
        await stack.prepare_database()
        stack.add_programs(consumer_module)
        opened.callback(_kill_all, stack)
        await stack.declare_topology()
        for program in stack.programs.values():
            program.prepare()
            program.launch()
        await stack.relaunch(stack.programs["api"])
        restarting = asyncio.create_task(stack.restart_exited())
        opened.push_async_callback(end_tasks, [restarting])
        yield


def _kill_all(stack: ServiceStack) -> None:
    for program in stack.programs.values():
        program.process.send(signal.SIGCONT)
        program.kill()
