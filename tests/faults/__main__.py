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

from tests.faults.injections import DISK_INJECTIONS, INJECTIONS, Injection
from tests.faults.proxied_stack import proxied_stack
from tests.faults.rounds import run_rounds, seed
from tests.faults.small_disks import DiskUnavailable, small_disks

_DURATION_S: Final = 12.0


async def inject_all(parts: Sequence[str], directory: Path) -> bool:
    """Run a round of each injection whose name contains one of the parts. Return whether all were clean."""
    random = Random(seed())
    all_clean = with_header = True
    if selected := _select(INJECTIONS, parts):
        async with proxied_stack(directory / "proxied") as stack:
            all_clean &= await run_rounds(stack, selected, random, _DURATION_S)
        with_header = False
    if selected := _select(DISK_INJECTIONS, parts):
        try:
            with small_disks(directory) as disks:
                async with proxied_stack(directory / "disks", disks=disks) as stack:
                    all_clean &= await run_rounds(stack, selected, random, _DURATION_S, with_header=with_header)
        except DiskUnavailable as error:
            print(f"skipped: {', '.join(injection.name for injection in selected)}: {error}")
    return all_clean


def _select(injections: Sequence[Injection], parts: Sequence[str]) -> list[Injection]:
    return [injection for injection in injections if any(part in injection.name for part in parts)]


def main() -> None:
    for library in ("aio_pika", "aiormq"):
        logging.getLogger(library).setLevel(logging.CRITICAL)  # they log each connection that an injection ends
    with tempfile.TemporaryDirectory(prefix="zof-results-injections-", ignore_cleanup_errors=True) as directory:
        sys.exit(0 if asyncio.run(inject_all(sys.argv[1:] or [""], Path(directory))) else 1)


if __name__ == "__main__":
    main()
