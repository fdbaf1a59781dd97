"""The servers of a benchmark: as durable as in production, in a temporary folder that is deleted at the end."""

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from service.database import migrations
from service.dev.postgres import program, temporary_postgres
from service.dev.rabbitmq import RabbitMQ


@dataclass(frozen=True)
class BenchmarkServers:
    """The addresses of the servers. The schema is applied."""

    database_url: str
    amqp_url: str
    folder: Path

    def environment(self, **settings: str) -> Mapping[str, str]:
        """Return the environment variables of a service process that uses these servers."""
        return {
            **os.environ,
            "RESULTS_DATABASE_URL": self.database_url,
            "RESULTS_AMQP_URL": self.amqp_url,
            "RESULTS_LOG_LEVEL": "warning",
            **settings,
        }

    def psql(self, *commands: str) -> None:
        """Run the commands in one psql session."""
        options = [f"--command={command}" for command in commands]
        subprocess.run(
            [program("psql"), "--quiet", "--no-psqlrc", "--set=ON_ERROR_STOP=1", self.database_url, *options],
            check=True,
        )


@contextmanager
def servers(*, with_broker: bool = True) -> Iterator[BenchmarkServers]:
    """Start PostgreSQL, and RabbitMQ unless `with_broker` is false, while the block runs."""
    folder = Path(tempfile.mkdtemp(prefix="zof-results-benchmark-"))
    try:
        with temporary_postgres(folder / "postgres") as postgres:
            asyncio.run(migrations.apply(postgres.url))
            if not with_broker:
                yield BenchmarkServers(postgres.url, "", folder)
                return
            with RabbitMQ(folder / "rabbitmq") as rabbitmq:
                yield BenchmarkServers(postgres.url, rabbitmq.url, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def consumer_process(
    servers: BenchmarkServers, *roles: str, command: Sequence[str] = ("-m", "consumers"), **settings: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Run one consumer process while the block runs, then stop it with SIGTERM."""
    process = subprocess.Popen(
        [sys.executable, *command, *roles], env=servers.environment(**settings), start_new_session=True
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(timeout=30)


def peak_rss_mib(process: "subprocess.Popen[bytes]") -> float:
    """Return the peak resident memory of a running process in MiB."""
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0


def cpu_s(process: "subprocess.Popen[bytes]") -> float:
    """Return the CPU time that a running process has used, in seconds."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
