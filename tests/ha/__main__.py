"""`make ha`: kill the leaders of a RabbitMQ cluster and of PostgreSQL; exit with 1 if an event was lost or duplicated.

Arguments select failovers by a part of their name. RESULTS_TEST_SEED selects other random times.
"""

import asyncio
import logging
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Final

from tests.faults.rounds import run_rounds, seed
from tests.ha.failover_stack import FAILOVERS, Failover, failover_stack

_DURATION_S: Final = 45.0


async def inject_all(failovers: Sequence[Failover], directory: Path) -> bool:
    """Run a round of each failover. Return whether all were clean."""
    async with failover_stack(directory) as stack:
        is_clean = await run_rounds(stack, failovers, Random(seed()), _DURATION_S)
        print(f"{stack.failovers} failovers")
        return is_clean


def main() -> None:
    for library in ("aio_pika", "aiormq"):
        logging.getLogger(library).setLevel(logging.CRITICAL)  # they log each connection that a failover ends
    parts = sys.argv[1:] or [""]
    failovers = [failover for failover in FAILOVERS if any(part in failover.name for part in parts)]
    with tempfile.TemporaryDirectory(prefix="zof-results-ha-", ignore_cleanup_errors=True) as directory:
        sys.exit(0 if asyncio.run(inject_all(failovers, Path(directory))) else 1)


if __name__ == "__main__":
    main()
