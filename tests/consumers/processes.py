"""Consumer processes as an operator runs them, for tests that kill or stop them."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from consumers.topology import Topology


@contextmanager
def consumer(
    database_url: str, amqp_url: str, topology: Topology, *roles: str, script: str | None = None, **settings: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Run one process with these roles, or with a script, while the block runs; then kill it.

    The process inherits stderr, so that a failed test shows the log of the process.
    """
    environment = {
        **os.environ,
        "RESULTS_DATABASE_URL": database_url,
        "RESULTS_AMQP_URL": amqp_url,
        "RESULTS_QUEUE_PREFIX": topology.prefix,
        **{f"RESULTS_{name.upper()}": value for name, value in settings.items()},
    }
    arguments = ["-c", script] if script else ["-m", "consumers", *roles]
    process = subprocess.Popen([sys.executable, *arguments], env=environment)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait()
