"""A PostgreSQL primary with a synchronous standby on this machine."""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import asyncpg

from service.dev.accounts import erase
from service.dev.postgres import FAST, Postgres
from service.dev.programs import ComponentError

_HOST: Final = "127.0.0.1"
_STANDBY_NAME: Final = "walreceiver"  # the default name of a standby
_POLL_S: Final = 0.1
_TIMEOUT_S: Final = 60.0
_IS_SYNCHRONOUS: Final = "SELECT EXISTS (SELECT FROM pg_stat_replication WHERE sync_state = 'sync')"


class PostgresNode(Postgres):
    """A server that can become a standby of another one."""

    def __init__(self, directory: Path, name: str) -> None:
        super().__init__(directory, settings=FAST, name=name)
        self._primary: PostgresNode | None = None

    def follow(self, primary: "PostgresNode") -> None:
        """Replace the data by a copy of the primary's. The next launch starts a standby. Blocks."""
        self._primary = primary
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.port:  # it ran before
            shutil.rmtree(self._data)
        self.prepare()
        self.password = primary.password

    def promote(self) -> None:
        """Make the standby a primary. Blocks until it accepts writes."""
        subprocess.run([*self._program("pg_ctl"), "promote", "-D", str(self._data)], check=True, capture_output=True)

    def kill(self) -> None:
        """End all processes of the server with SIGKILL, as a failure of its machine does."""
        children = self._children()
        super().kill()
        _send_to_all(signal.SIGKILL, children)

    def suspend(self) -> None:
        """Suspend all processes of the server. Its connections stay half-open."""
        self.process.send(signal.SIGSTOP)
        _send_to_all(signal.SIGSTOP, self._children())

    async def configure(self, *commands: str) -> None:
        """Execute ALTER SYSTEM commands and apply them."""
        connection = await asyncpg.connect(self.url)
        for command in (*commands, "SELECT pg_reload_conf()"):
            await connection.execute(command)
        await connection.close()

    def _children(self) -> list[int]:
        return [int(child) for child in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]

    def _initialize(self) -> None:
        if self._primary is None:
            super()._initialize()
            return
        options = ["--checkpoint=fast", "--write-recovery-conf", "--no-sync", f"--dbname={self._primary.url}"]
        command = [*self._program("pg_basebackup"), f"--pgdata={self._data}", *options]
        subprocess.run(command, check=True, capture_output=True)


class ReplicatedPostgres:
    """The two servers. Commits wait until the standby has them."""

    def __init__(self, directory: Path) -> None:
        self.primary = PostgresNode(directory / "postgres-1", "postgres-1")
        self.standby = PostgresNode(directory / "postgres-2", "postgres-2")
        self._nodes = (self.primary, self.standby)

    @property
    def url(self) -> str:
        """A URL that lists both servers and selects the primary."""
        hosts = ",".join(f"{_HOST}:{node.port}" for node in self._nodes)
        login = self.primary.url.rpartition("@")[0]
        return f"{login}@{hosts}/postgres?target_session_attrs=read-write"

    async def promote_standby(self) -> None:
        """Make the standby the primary, as a cluster manager does after the loss of the primary."""
        await asyncio.to_thread(self.standby.promote)
        await self.standby.configure("ALTER SYSTEM RESET synchronous_standby_names")
        self.primary, self.standby = self.standby, self.primary

    async def add_standby(self) -> None:
        """Start the other server as a standby, and let commits wait for it."""
        await asyncio.to_thread(self.standby.follow, self.primary)
        self.standby.launch()
        if not await asyncio.to_thread(self.standby.wait_until_ready):
            raise ComponentError(f"{self.standby.name} didn't start:\n{self.standby.process.tail_of_log()}")
        await self.primary.configure(f"ALTER SYSTEM SET synchronous_standby_names = '{_STANDBY_NAME}'")
        async with asyncio.timeout(_TIMEOUT_S):
            while not await self._is_synchronous():  # noqa: ASYNC110 - polls a server
                await asyncio.sleep(_POLL_S)

    async def _is_synchronous(self) -> bool:
        connection = await asyncpg.connect(self.primary.url)
        try:
            return await connection.fetchval(_IS_SYNCHRONOUS) is True
        finally:
            await connection.close()


@asynccontextmanager
async def replicated_postgres(directory: Path) -> AsyncIterator[ReplicatedPostgres]:
    """Run both servers while the block runs, then delete their data."""
    servers = ReplicatedPostgres(directory)
    async with AsyncExitStack() as opened:
        for node in (servers.primary, servers.standby):
            opened.callback(_stop_and_erase, node)
        servers.primary.start()
        await servers.add_standby()
        yield servers


def _send_to_all(number: signal.Signals, pids: Iterable[int]) -> None:
    """Send the signal to processes, some of which might have exited."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _stop_and_erase(node: PostgresNode) -> None:
    node.stop()
    if node.directory.exists():
        erase(node.directory)
