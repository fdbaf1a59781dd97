"""`make faults`: run every injection, print one table, and exit with 1 if an event was lost, duplicated, or rejected.

Arguments select injections by a part of their name. RESULTS_TEST_SEED selects other random times.
"""

import asyncio
import logging
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Final

from tests.faults.injections import INJECTIONS, Injection
from tests.faults.proxied_stack import proxied_stack
from tests.faults.rounds import run_rounds, seed

_DURATION_S: Final = 15.0


async def inject_all(injections: Sequence[Injection], directory: Path) -> bool:
    """Run a round of each injection. Return whether all were clean."""
    async with proxied_stack(directory) as stack:
        return await run_rounds(stack, injections, Random(seed()), _DURATION_S)


def main() -> None:
    for library in ("aio_pika", "aiormq"):
        logging.getLogger(library).setLevel(logging.CRITICAL)  # they log each connection that an injection ends
    parts = sys.argv[1:] or [""]
    injections = [injection for injection in INJECTIONS if any(part in injection.name for part in parts)]
    with tempfile.TemporaryDirectory(prefix="zof-results-injections-", ignore_cleanup_errors=True) as directory:
        sys.exit(0 if asyncio.run(inject_all(injections, Path(directory))) else 1)


if __name__ == "__main__":
    main()
