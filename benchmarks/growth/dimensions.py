"""The measured dimensions. Rounds alternate between the databases, so that other programs affect all sizes equally."""

import asyncio
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from benchmarks.growth.api import ServedRequests, measure_api
from benchmarks.growth.events import EventTimes, ingesting, time_events
from benchmarks.growth.limits import Growth, GrowthTable
from benchmarks.growth.reads import (
    READS,
    ExplainedRead,
    ReadTimes,
    Sample,
    explain_reads,
    sample_results,
    time_reads,
)
from benchmarks.growth.sizes import StoreSize, measure_size
from benchmarks.growth.stores import Server, StoreShape
from benchmarks.growth.webhooks import ORGANIZATIONS as WEBHOOK_ORGANIZATIONS
from benchmarks.growth.webhooks import create_webhooks, measure_webhooks

_LARGEST: Final = 2  # organizations, whose pages are full in each database
_ORGANIZATIONS: Final = (1, 30, 1_000)
_MONTHS: Final = (1, 6, 24)
_CASES: Final = (1, 10, 100, 1_000, 20_000)
_PROCESSES: Final = (1, 2)
_WEBHOOKS: Final = (1, 30, 1_000)
_FEW_EVENTS: Final = 5  # for events with more cases than usual
_SMALL_READS: Final = ("results, first page", "one result", "one run")  # of equal size in small and large organizations


class Plan(NamedTuple):
    """The numbers of results, and the number of rounds. The other dimensions use the smallest number of results."""

    server: Server
    results: Sequence[int]
    rounds: int

    def shapes(self, organizations: Sequence[int] = (), months: Sequence[int] = ()) -> list[StoreShape]:
        """Return the shapes for these numbers of organizations or months."""
        base = StoreShape(self.results[0])
        return [base._replace(organizations=n) for n in organizations] + [base._replace(months=n) for n in months]


Stores = dict[int, str]  # URL by size
Values = dict[int, float]


def measure_results(plan: Plan) -> Iterator[GrowthTable]:
    """Yield the tables by number of results."""
    stores = {results: plan.server.store(StoreShape(results)) for results in plan.results}
    samples = {size: asyncio.run(sample_results(url, _LARGEST)) for size, url in stores.items()}
    yield from _read_tables("by number of results", stores, samples, plan.rounds, list(READS), "results-pages")
    events = _time_events(stores, samples, plan.rounds)
    served = {size: measure_api(url, samples[size]) for size, url in stores.items()}
    sizes = {size: asyncio.run(measure_size(url, size)) for size, url in stores.items()}
    yield GrowthTable(
        "Events, storage, and memory by number of results",
        [*_of_events(events), *_of_sizes(sizes), *_of_requests(served)], plot="results-other",
    )  # fmt: skip
    yield _percentiles("Time per event in ms by number of results", {"event": _calls(events)})
    yield _percentiles("Time per HTTP request in ms by number of results, 8 concurrently", {"request": {
        size: found.requests_ms for size, found in served.items()}})  # fmt: skip


def measure_organizations(plan: Plan) -> Iterator[GrowthTable]:
    """Yield the tables by number of organizations, which share the same number of results."""
    stores = dict(zip(_ORGANIZATIONS, map(plan.server.store, plan.shapes(organizations=_ORGANIZATIONS)), strict=True))
    samples = {size: asyncio.run(sample_results(url, None)) for size, url in stores.items()}
    tables = list(_read_tables("by number of organizations", stores, samples, plan.rounds, _SMALL_READS, None))
    events = _time_events(stores, samples, plan.rounds)
    served = {size: measure_api(url, samples[size]) for size, url in stores.items()}
    sizes = {size: asyncio.run(measure_size(url, plan.results[0])) for size, url in stores.items()}
    of_results, of_all = _of_sizes(sizes)[:2], _of_sizes(sizes)[2:]
    rows = [*tables[0].rows, *_of_events(events), *_of_requests(served), *of_results]
    yield GrowthTable("CPU time in ms, memory, and storage by number of organizations", rows, plot="organizations")
    # Each organization has its own cases, so the number of cases grows as well.
    yield GrowthTable("Storage with runs, cases, and failures by number of organizations", of_all, is_checked=False)
    yield from tables[1:]


def measure_months(plan: Plan) -> Iterator[GrowthTable]:
    """Yield the tables by number of months, each of which is a partition of four tables."""
    stores = dict(zip(_MONTHS, map(plan.server.store, plan.shapes(months=_MONTHS)), strict=True))
    samples = {size: asyncio.run(sample_results(url, _LARGEST)) for size, url in stores.items()}
    yield from _read_tables("by number of months", stores, samples, plan.rounds, list(READS), "months")
    events = _time_events(stores, samples, plan.rounds)
    yield GrowthTable("Events by number of months", _of_events(events))


def measure_cases(plan: Plan) -> Iterator[GrowthTable]:
    """Yield the table by number of cases per event."""
    url = plan.server.store(StoreShape(plan.results[0]))
    with ingesting([url]) as workers:
        times: dict[int, list[EventTimes]] = {cases: [] for cases in _CASES}
        for _ in range(plan.rounds):
            for cases in _CASES:
                few = () if cases <= 1_000 else (_FEW_EVENTS,)
                times[cases].append(workers[url].submit(time_events, url, ["org-1"], cases, *few).result())
    cpu_us = {cases: 1000 * statistics.median(t.cpu_ms for t in found) / cases for cases, found in times.items()}
    yield GrowthTable(
        "CPU time per case in µs by number of cases per event", [Growth("event of known cases", cpu_us)], plot="cases"
    )
    yield _percentiles(
        "Time per event in ms by number of cases", {"event": {n: _joined(found) for n, found in times.items()}}
    )


def measure_processes(plan: Plan) -> Iterator[GrowthTable]:
    """Yield the table by number of API processes."""
    url = plan.server.store(StoreShape(plan.results[0]))
    samples = asyncio.run(sample_results(url, _LARGEST))
    served = {processes: measure_api(url, samples, processes) for processes in _PROCESSES}
    yield GrowthTable("Requests by number of API processes", _of_requests(served))


def measure_webhooks_growth(plan: Plan) -> Iterator[GrowthTable]:
    """Yield the table by number of webhooks, in up to ten organizations."""
    url = plan.server.store(StoreShape(0, WEBHOOK_ORGANIZATIONS + 1))
    costs = {webhooks: measure_webhooks(url, webhooks) for webhooks in _WEBHOOKS}
    rows = [
        Growth("delivery, CPU time in ms", {n: cost.cpu_ms for n, cost in costs.items()}),
        Growth("dispatcher, peak memory in MiB", {n: cost.peak_mib for n, cost in costs.items()}),
        Growth("event without webhooks, CPU time in ms", _time_other_events(url, plan.rounds)),
    ]
    yield GrowthTable("Deliveries by number of webhooks", rows, plot="webhooks")


def _time_other_events(url: str, rounds: int) -> Values:
    """Return the CPU time in ms per event of an organization without webhooks, by the number of webhooks of others."""
    slugs = [f"org-{WEBHOOK_ORGANIZATIONS + 1}"]
    times: dict[int, list[EventTimes]] = {webhooks: [] for webhooks in _WEBHOOKS}
    with ingesting([url]) as workers:
        workers[url].submit(time_events, url, slugs).result()
        for _ in range(rounds):
            for webhooks in _WEBHOOKS:
                asyncio.run(create_webhooks(url, webhooks, "http://127.0.0.1:9/hook"))
                times[webhooks].append(workers[url].submit(time_events, url, slugs).result())
    return _medians(times, lambda one: one.cpu_ms)


DIMENSIONS: Final[Mapping[str, Callable[[Plan], Iterator[GrowthTable]]]] = {
    "results": measure_results,
    "organizations": measure_organizations,
    "months": measure_months,
    "cases": measure_cases,
    "processes": measure_processes,
    "webhooks": measure_webhooks_growth,
}


def _read_tables(
    by: str, stores: Stores, samples: Mapping[int, list[Sample]], rounds: int, reads: Sequence[str], plot: str | None
) -> Iterator[GrowthTable]:
    """Yield the CPU times, the buffers, the planning times, and the elapsed times of reads."""
    timed: dict[int, list[dict[str, ReadTimes]]] = {size: [] for size in stores}
    for _ in range(rounds):
        for size, url in stores.items():
            timed[size].append(asyncio.run(time_reads(url, samples[size])))
    explained = {size: asyncio.run(explain_reads(url, samples[size])) for size, url in stores.items()}

    def cpu_ms(size: int, name: str) -> float:
        return statistics.median(one[name].cpu_ms for one in timed[size])

    yield _table(f"CPU time in ms per page in PostgreSQL {by}", reads, stores, cpu_ms, plot=plot)
    yield _of_explained(f"Buffers per page {by}", reads, explained, lambda one: one.buffers)
    yield _of_explained(
        f"CPU time in ms to plan the statements, once per connection, {by}", reads, explained,
        lambda one: one.planning_ms, is_checked=False,
    )  # fmt: skip
    calls = {
        name: {size: [ms for one in timed[size] for ms in one[name].calls_ms] for size in stores} for name in reads
    }
    yield _percentiles(f"Time in ms per page {by}", calls)


def _of_explained(
    title: str,
    reads: Sequence[str],
    explained: Mapping[int, dict[str, ExplainedRead]],
    value: Callable[[ExplainedRead], float],
    *,
    is_checked: bool = True,
) -> GrowthTable:
    return _table(title, reads, explained, lambda size, name: value(explained[size][name]), is_checked=is_checked)


def _table(
    title: str,
    reads: Sequence[str],
    sizes: Mapping[int, object],
    value: Callable[[int, str], float],
    *,
    is_checked: bool = True,
    plot: str | None = None,
) -> GrowthTable:
    rows = [Growth(name, {size: value(size, name) for size in sizes}) for name in reads]
    return GrowthTable(title, rows, is_checked, plot)


def _time_events(stores: Stores, samples: Mapping[int, list[Sample]], rounds: int) -> dict[int, list[EventTimes]]:
    """Return the times of each round."""
    times: dict[int, list[EventTimes]] = {size: [] for size in stores}
    with ingesting(list(stores.values())) as workers:
        for _ in range(rounds):
            for size, url in stores.items():
                slugs = [f"org-{sample.org_id}" for sample in samples[size]]
                times[size].append(workers[url].submit(time_events, url, slugs).result())
    return times


def _of_events(times: Mapping[int, list[EventTimes]]) -> list[Growth]:
    return [
        Growth("event of 200 cases, CPU time in ms", _medians(times, lambda one: one.cpu_ms)),
        Growth("ingest process, peak memory in MiB", _medians(times, lambda one: one.peak_mib)),
    ]


def _of_sizes(sizes: Mapping[int, StoreSize]) -> list[Growth]:
    return [
        Growth("results, bytes per result", {n: size.results_heap for n, size in sizes.items()}),
        Growth("primary key of results, bytes per result", {n: size.results_index for n, size in sizes.items()}),
        Growth("all tables, bytes per result", {n: size.all_heaps for n, size in sizes.items()}),
        Growth("all indexes, bytes per result", {n: size.all_indexes for n, size in sizes.items()}),
    ]


def _of_requests(served: Mapping[int, ServedRequests]) -> list[Growth]:
    return [
        Growth("HTTP request, CPU time in ms", {n: one.cpu_ms for n, one in served.items()}),
        Growth("API process, peak memory in MiB", {n: one.api_mib for n, one in served.items()}),
        Growth("connection of the API, memory in MiB", {n: one.backend_mib for n, one in served.items()}),
    ]


def _medians(times: Mapping[int, list[EventTimes]], value: Callable[[EventTimes], float]) -> Values:
    return {size: statistics.median(map(value, found)) for size, found in times.items()}


def _calls(times: Mapping[int, list[EventTimes]]) -> dict[int, list[float]]:
    return {size: _joined(found) for size, found in times.items()}


def _joined(found: Sequence[EventTimes]) -> list[float]:
    return [ms for one in found for ms in one.events_ms]


def _percentiles(title: str, calls: Mapping[str, Mapping[int, list[float]]]) -> GrowthTable:
    """Return the p50 and p99, which aren't checked, because they depend on other programs on the machine."""
    rows = [
        Growth(f"{name}, p{percent}", {size: _percentile(times, percent) for size, times in by_size.items()})
        for name, by_size in calls.items()
        for percent in (50, 99)
    ]
    return GrowthTable(title, rows, is_checked=False)


def _percentile(times: Sequence[float], percent: int) -> float:
    return statistics.quantiles(times, n=100, method="inclusive")[percent - 1]
