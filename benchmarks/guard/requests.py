"""The short form of the benchmark of requests: the CPU time per request of the references relative to the service."""

import asyncio
from collections.abc import Sequence
from typing import Final

from benchmarks.query_data import fill
from benchmarks.query_load import Measured
from benchmarks.query_requests import BARE, SERVICE, create_key, measure_references
from benchmarks.revisions import ROOT, Version
from benchmarks.servers import servers

_RUNS: Final = 4_000  # with fewer results, the bare handlers have faster plans than with millions
_ROUNDS: Final = 5
_REQUESTS: Final = 400
_KINDS: Final = {"list": "results", "failures": "failures", "runs": "runs", "by_id": "result by ID"}


def measure() -> dict[str, float]:
    """Return the ratios of the CPU times: bare handler / service."""
    with servers(with_broker=False) as running:
        url = running.database_url
        asyncio.run(fill(url, _RUNS, small_runs=_RUNS))
        key = create_key(Version(SERVICE, ROOT, url))
        measured = asyncio.run(measure_references(url, key, list(_KINDS.values()), _ROUNDS, _REQUESTS))
    return {
        f"{name}_bare_handler": _least_us(measured[kind][BARE]) / _least_us(measured[kind][SERVICE])
        for name, kind in _KINDS.items()
    }


def _least_us(rounds: Sequence[Measured]) -> float:
    return min(each.cpu_us for each in rounds)
