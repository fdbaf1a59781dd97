"""Consumer processes as an operator runs them, for tests that end them."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from consumers.topology import Topology


def start_consumer(database_url: str, amqp_url: str, topology: Topology, *roles: str) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ,
        "RESULTS_DATABASE_URL": database_url,
        "RESULTS_AMQP_URL": amqp_url,
        "RESULTS_QUEUE_PREFIX": topology.prefix,
    }
    return subprocess.Popen([sys.executable, "-m", "consumers", *roles], env=environment, stderr=subprocess.DEVNULL)


@contextmanager
def consumer(database_url: str, amqp_url: str, topology: Topology, *roles: str) -> Iterator[subprocess.Popen[bytes]]:
    """One process, ended at the end however it fares."""
    process = start_consumer(database_url, amqp_url, topology, *roles)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait()
