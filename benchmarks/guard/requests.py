"""The short form of the query benchmark: the CPU time per request of the references relative to the service."""

import asyncio
from typing import Final

from benchmarks.query import fill
from benchmarks.query_requests import REFERENCE, SAME_SQL, SERVICE, Measured, compare_requests
from benchmarks.servers import servers

_RUNS: Final = 4_000  # with fewer results, the reference has faster plans than with millions
_ROUNDS: Final = 5
_REQUESTS: Final = 480
_REFERENCES: Final = {"version_0_9_0": REFERENCE, "bare_handler": SAME_SQL}


def measure() -> dict[str, float]:
    """Return the ratios of the CPU times: version 0.9.0 / service, and a bare handler with the same SQL / service."""
    with servers(with_broker=False) as running:
        asyncio.run(fill(running.database_url, _RUNS, small_runs=_RUNS))
        measured = asyncio.run(compare_requests(running.database_url, _ROUNDS, _REQUESTS, min))
    return _ratios("list", measured.page) | _ratios("by_id", measured.one)


def _ratios(name: str, handlers: dict[str, Measured]) -> dict[str, float]:
    service = handlers[SERVICE].cpu_us
    return {f"{name}_{key}": handlers[reference].cpu_us / service for key, reference in _REFERENCES.items()}
