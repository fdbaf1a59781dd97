"""The paths of the benchmark of requests. No path of a kind is requested twice from one process."""

import itertools
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, NamedTuple

import asyncpg

from benchmarks.query_load import Server, walk

LIMIT: Final = 100
_SEED: Final = 5


class Paths(NamedTuple):
    """The paths of one kind of request, and those of the bare handler for the same data, if there is one."""

    service: Sequence[str]
    bare: Sequence[str] = ()


async def _results(server: Server, _: asyncpg.Connection, count: int) -> Paths:
    """The pages of a walk through all results."""
    pages = await walk(server, f"/v1/results?limit={LIMIT}", count)
    after = [items[-1]["id"] for _, items in pages]
    return Paths([path for path, _ in pages], [f"/results/{id_}?limit={LIMIT}" for id_ in after])


async def _failures(server: Server, _: asyncpg.Connection, count: int) -> Paths:
    """Pages of failures after each failure."""
    pages = await walk(server, "/v1/results?status=failed&limit=1", count)
    paths = [path.replace("limit=1&", "") for path, _ in pages]
    bare = [f"/failures/{items[0]['id']}" for _, items in pages]
    return Paths(_with_limits(paths, count), _with_limits(bare, count))


async def _runs(server: Server, admin: asyncpg.Connection, count: int) -> Paths:
    """Pages of runs after each run."""
    pages = await walk(server, "/v1/runs?limit=1", count)
    paths = [path.replace("limit=1&", "") for path, _ in pages]
    rows = await admin.fetch("SELECT run_id, result_id(run_key, 0) FROM runs WHERE org_id = 1")
    ids = dict(map(tuple, rows))
    bare = [f"/runs/{ids[items[0]['run_id']]}" for _, items in pages]
    return Paths(_with_limits(paths, count), _with_limits(bare, count))


async def _of_runs(_: Server, admin: asyncpg.Connection, count: int) -> Paths:
    """First pages of the results of each run."""
    return Paths(_with_limits(await _texts(admin, "'/v1/results?run_id=' || run_id", "runs"), count))


async def _histories(_: Server, admin: asyncpg.Connection, count: int) -> Paths:
    """First pages of the history of each case."""
    path, cases = (
        "'/v1/cases/' || case_public_id(case_key) || '/history'",
        "(SELECT DISTINCT org_id, case_key FROM results) r",
    )
    return Paths(_with_limits(await _texts(admin, path, cases), count))


async def _filters(_: Server, admin: asyncpg.Connection, count: int) -> Paths:
    """First pages of results for random combinations of filters."""
    [(first, last)] = await admin.fetch("SELECT min(completed_at), max(completed_at) FROM runs WHERE org_id = 1")
    rng = random.Random(_SEED)

    def time(earliest: float, latest: float) -> str:
        return f"{first + (last - first) * rng.uniform(earliest, latest):%Y-%m-%dT%H:%M:%SZ}"

    choices: Mapping[str, Callable[[], str]] = {
        "project_id": lambda: f"p{rng.randrange(10)}",
        "branch": lambda: rng.choice(["main", *(f"b{number}" for number in range(50))]),
        "environment": lambda: f"env{rng.randrange(3)}",
        "status": lambda: rng.choice(["passed", "failed", "error", "skipped"]),
        "flaky": lambda: rng.choice(["true", "false"]),
        "label": lambda: f"team:t{rng.randrange(5)}",
        "case_id": lambda: f"tc_{rng.randrange(2000)}",
        "from": lambda: time(0, 0.5),
        "to": lambda: time(0.5, 1),
    }
    paths: dict[str, None] = {}
    while len(paths) < count:
        names = rng.sample(list(choices), rng.randint(1, 4))
        filters = "&".join(f"{name}={choices[name]()}" for name in names)
        paths[f"/v1/results?{filters}&limit={rng.randint(90, LIMIT)}"] = None
    return Paths(list(paths))


async def _one(server: Server, _: asyncpg.Connection, count: int) -> Paths:
    """Results by ID."""
    pages = await walk(server, f"/v1/results?limit={LIMIT}", -(-count // 4))
    ids = [item["id"] for _, items in pages for item in items[:: LIMIT // 4]][:count]
    return Paths([f"/v1/results/{id_}" for id_ in ids], [f"/result/{id_}" for id_ in ids])


KINDS: Final[Mapping[str, Callable[[Server, asyncpg.Connection, int], Awaitable[Paths]]]] = {
    "results": _results,
    "failures": _failures,
    "runs": _runs,
    "results of a run": _of_runs,
    "history of a case": _histories,
    "filters": _filters,
    "result by ID": _one,
}


def _with_limits(paths: Sequence[str], count: int) -> list[str]:
    """Return this number of different paths: each path with the limit 100, then with 99, and so on."""
    return [
        f"{path}{'&' if '?' in path else '?'}limit={LIMIT - number // len(paths)}"
        for number, path in enumerate(itertools.islice(itertools.cycle(paths), count))
    ]


async def _texts(admin: asyncpg.Connection, text: str, rows: str) -> list[str]:
    """Return a text of each row of the organization, in random but repeatable order."""
    found = await admin.fetch(f"SELECT {text} FROM {rows} WHERE org_id = 1 ORDER BY hashtext({text})")
    return [row[0] for row in found]
