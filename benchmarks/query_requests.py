"""Requests per second and CPU time per request of the API, with no URL twice.

    python -m benchmarks.query_requests [--runs 9000] [--rounds 20] [--requests 200] [KIND …]
    python -m benchmarks.query_requests --revision REVISION [KIND …]

The data are 2 M results. Without a revision, it compares one API process with bare handlers that return the same fields
(`benchmarks/query_bare.py`), after it has compared their documents. With a revision, it compares this checkout with
that revision; each has its own copy of the data. The sides alternate, and each ratio divides the CPU time of the API
process and PostgreSQL by that of the same round.

Budgets: a list of results and a result by ID have at least 0.6 of the requests per second of the bare handler. No kind
needs more CPU time than before a change.
"""

import argparse
import asyncio
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Final

import asyncpg

from benchmarks.query_data import fill
from benchmarks.query_load import WARM_UP, Measured, Server, alternate, serving, warm_up
from benchmarks.query_paths import KINDS, Paths
from benchmarks.revisions import ROOT, Version, code_of, copy_for_checkout, create_version
from benchmarks.servers import servers

SERVICE, BARE = "service", "bare handler"
PUBLIC_URL: Final = "http://results.example"  # of the links in a result
RUNS: Final = 9_000
ROUNDS: Final = 20
REQUESTS: Final = 200  # of a round

Rounds = Mapping[str, Sequence[Measured]]  # by side


async def measure_references(
    url: str, key: str, kinds: Sequence[str], rounds: int = ROUNDS, requests: int = REQUESTS
) -> dict[str, Rounds]:
    """Measure the service and the bare handlers. Raises ValueError if their documents differ."""
    bare_module = ["benchmarks.query_bare"]
    with (
        serving(url, key, RESULTS_PUBLIC_URL=PUBLIC_URL) as service,
        serving(url, module=bare_module, RESULTS_PUBLIC_URL=PUBLIC_URL) as bare,
    ):

        def sides(paths: Paths) -> dict[str, tuple[Server, Sequence[str]]]:
            return {SERVICE: (service, paths.service)} | ({BARE: (bare, paths.bare)} if paths.bare else {})

        return await _measure(url, service, sides, kinds, rounds, requests)


async def measure_revisions(
    versions: Sequence[Version], key: str, kinds: Sequence[str], rounds: int, requests: int
) -> dict[str, Rounds]:
    """Measure both versions."""
    with ExitStack() as stack:
        running = {each.name: stack.enter_context(serving(each.database_url, key, code=each.code)) for each in versions}

        def sides(paths: Paths) -> dict[str, tuple[Server, Sequence[str]]]:
            return {name: (server, paths.service) for name, server in running.items()}

        first = next(iter(running.values()))
        return await _measure(versions[0].database_url, first, sides, kinds, rounds, requests)


async def _measure(
    url: str,
    server: Server,
    sides: Callable[[Paths], Mapping[str, tuple[Server, Sequence[str]]]],
    kinds: Sequence[str],
    rounds: int,
    requests: int,
) -> dict[str, Rounds]:
    """Prepare the paths of each kind, and measure its sides alternately."""
    admin = await asyncpg.connect(url)
    measured: dict[str, Rounds] = {}
    for kind in kinds:
        paths = await KINDS[kind](server, admin, WARM_UP + rounds * requests)
        measured_sides = sides(paths)
        objects = await warm_up(measured_sides)
        if BARE in objects and objects[BARE] != objects[SERVICE]:
            raise ValueError(f"{kind}: the bare handler returns other objects than the service")
        measured[kind] = await alternate(measured_sides, rounds, admin)
    await admin.close()
    return measured


def print_rounds(kind: str, rounds: Rounds) -> None:
    """Print the median of the rounds of each side, and the ratios of the first side to the others."""
    first, *others = rounds
    print(f"{kind}: {_describe(rounds[first])}")
    for other in others:
        pairs = list(zip(rounds[first], rounds[other], strict=True))
        rate = statistics.median(one.rate / reference.rate for one, reference in pairs)
        cpu = statistics.median(one.cpu_us / reference.cpu_us for one, reference in pairs)
        least = min(one.cpu_us for one in rounds[first]) / min(one.cpu_us for one in rounds[other])
        print(f"  {other}: {_describe(rounds[other])}")
        print(f"    requests/s × {rate:.2f}, CPU time × {cpu:.2f}, of the minima × {least:.2f}", flush=True)


def _describe(rounds: Sequence[Measured]) -> str:
    rate, process_us, postgres_us = map(statistics.median, zip(*rounds, strict=True))
    return f"{rate:,.0f} requests/s, CPU time of process and PostgreSQL {process_us:.0f} + {postgres_us:.0f} µs"


@contextmanager
def filled_versions(revision: str, runs: int) -> Iterator[tuple[Sequence[Version], str]]:
    """Provide this checkout and the revision with equal data, and a key of both."""
    with servers(with_broker=False) as running, code_of(revision) as code:
        old = create_version(revision, code, running.database_url)
        asyncio.run(fill(old.database_url, runs, runs, code / "benchmarks"))
        key = create_key(old)
        yield (copy_for_checkout(old), old), key


def create_key(version: Version) -> str:
    """Create a key that reads everything."""
    return version.run("keys", "create", "--organization=org-1", "--role=viewer")


def main() -> None:
    """Fill a database, measure, and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=RUNS, help="runs of 200 results in 20 organizations")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--requests", type=int, default=REQUESTS, help="requests of each round")
    parser.add_argument("--revision", help="revision to compare with, such as a commit before a change")
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"default: {', '.join(KINDS)}")
    chosen = parser.parse_args()
    if unknown := set(chosen.kinds) - set(KINDS):
        parser.error(f"KIND: {', '.join(sorted(unknown))} not found; use {', '.join(KINDS)}")
    size = (chosen.kinds or list(KINDS), chosen.rounds, chosen.requests)
    if chosen.revision:
        with filled_versions(chosen.revision, chosen.runs) as (versions, key):
            measured = asyncio.run(measure_revisions(versions, key, *size))
    else:
        with servers(with_broker=False) as running:
            asyncio.run(fill(running.database_url, chosen.runs, chosen.runs))
            key = create_key(Version(SERVICE, ROOT, running.database_url))
            measured = asyncio.run(measure_references(running.database_url, key, *size))
    for kind, rounds in measured.items():
        print_rounds(kind, rounds)


if __name__ == "__main__":
    main()
