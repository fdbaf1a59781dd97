"""The short form of the benchmark of requests: the CPU time per request of the references relative to the service."""

import asyncio
from collections.abc import Sequence
from typing import Final

from benchmarks.query_data import fill
from benchmarks.query_load import Measured
from benchmarks.query_paths import ROWS, VERSION_0_9_0
from benchmarks.query_requests import SERVICE, create_key, measure_references
from benchmarks.revisions import ROOT, Version
from benchmarks.servers import servers

_RUNS: Final = 4_000  # with fewer results, the reference has faster plans than with millions
_ROUNDS: Final = 5
_REQUESTS: Final = 400
_RATIOS: Final = {
    "list_version_0_9_0": ("results", VERSION_0_9_0),
    "list_bare_handler": ("results", ROWS),
    "failures_version_0_9_0": ("failures", VERSION_0_9_0),
    "runs_version_0_9_0": ("runs", VERSION_0_9_0),
    "by_id_version_0_9_0": ("result by ID", VERSION_0_9_0),
    "by_id_bare_handler": ("result by ID", ROWS),
}


def measure() -> dict[str, float]:
    """Return the ratios of the CPU times: SQL of version 0.9.0 / service, and rows of `results` / service."""
    with servers(with_broker=False) as running:
        url = running.database_url
        asyncio.run(fill(url, _RUNS, small_runs=_RUNS))
        kinds = list(dict.fromkeys(kind for kind, _ in _RATIOS.values()))
        key = create_key(Version(SERVICE, ROOT, url))
        measured = asyncio.run(measure_references(url, key, kinds, _ROUNDS, _REQUESTS))
    return {
        name: _least_us(measured[kind][reference]) / _least_us(measured[kind][SERVICE])
        for name, (kind, reference) in _RATIOS.items()
    }


def _least_us(rounds: Sequence[Measured]) -> float:
    return min(each.cpu_us for each in rounds)
