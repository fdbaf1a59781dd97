"""The references of the benchmark of requests: minimal handlers, without keys, filters, cursors, or errors.

    /rows/results/ID/LIMIT      only the rows of `results` after a result, in the order of the list
    /rows/result/ID/1           only the row of one result
    /0.9.0/…/ID/LIMIT           the statements of version 0.9.0: results, failures, runs, and result

An ID is that of a result, and `runs` lists the runs before that of the result. Nothing of the service is imported, so
that no change of the service changes these handlers.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple
from uuid import UUID

import asyncpg
import orjson
import uvloop
from aiohttp import web

ORG: Final = 1
CONNECTIONS: Final = 10
FIRST_KEY: Final = UUID(int=0)
STATUSES: Final = ["p", "f", "e", "s", "c"]
FAILURES: Final = ["f"]
COLUMNS: Final = "run_key, case_key, status, flaky, attempts, duration_ms, started_offset_ms"
# The settings of the service in version 0.9.0, and those that it has added since then.
SESSION: Final = {
    "role": "results_api", "application_name": "results_api", "app.org_id": str(ORG), "jit": "off",
    "enable_bitmapscan": "off", "random_page_cost": "1.1",
}  # fmt: skip
NEW_SESSION: Final = {**SESSION, "plan_cache_mode": "force_generic_plan"}
KEEP_MEMORY: Final = "SELECT octet_length(repeat(repeat(' ', 1024), 4096))"


class Reference(NamedTuple):
    """A statement, and a function that returns its parameters for a key and a limit."""

    sql: str
    parameters: Callable[[UUID, int, int], Sequence[Any]]


def _of_0_9_0(name: str) -> str:
    return (Path(__file__).with_name("reference") / f"{name}.sql").read_text()


ROWS: Final = {
    "results": Reference(
        f"SELECT {COLUMNS} FROM results WHERE org_id = $1 AND (run_key, case_key) < ($2, $3) AND run_key >= $4"
        " ORDER BY run_key DESC, case_key DESC LIMIT $5",
        lambda run, case, limit: (ORG, run, case, FIRST_KEY, limit),
    ),
    "result": Reference(
        f"SELECT {COLUMNS} FROM results WHERE org_id = $1 AND run_key = $2 AND case_key = $3",
        lambda run, case, _: (ORG, run, case),
    ),
}
VERSION_0_9_0: Final = {
    "results": Reference(
        _of_0_9_0("page_of_results"), lambda run, case, limit: (STATUSES, ORG, run, case, FIRST_KEY, limit)
    ),
    "failures": Reference(
        _of_0_9_0("page_of_failures"), lambda run, case, limit: (FAILURES, ORG, run, case, FIRST_KEY, limit)
    ),
    "runs": Reference(
        _of_0_9_0("page_of_runs"),
        lambda run, _, limit: (STATUSES, ORG, UUID(int=run.int - 1), FIRST_KEY, limit),
    ),
    "result": Reference(_of_0_9_0("one_result"), lambda run, case, _: ("", ORG, run, case, None)),
}


async def make_app() -> web.Application:
    """Return an application with a pool for each kind of reference."""
    pool, pool_0_9_0 = await _open_pool(NEW_SESSION, _keep_memory), await _open_pool(SESSION, None)

    async def list_rows(request: web.Request) -> web.Response:
        rows = await _fetch(pool, ROWS, request)
        body = orjson.dumps([(str(row[0]), row[1], row[2].decode(), *row[3:]) for row in map(tuple, rows)])
        return web.Response(body=body, content_type="application/json")

    async def list_json(request: web.Request) -> web.Response:
        [row] = await _fetch(pool_0_9_0, VERSION_0_9_0, request)
        return web.Response(text=row[0], content_type="application/json")

    app = web.Application()
    app.router.add_get("/rows/{kind}/{id}/{limit}", list_rows)
    app.router.add_get("/0.9.0/{kind}/{id}/{limit}", list_json)
    return app


async def _open_pool(session: dict[str, str], init: Any) -> asyncpg.Pool:
    return await asyncpg.create_pool(
        os.environ["RESULTS_DATABASE_URL"], min_size=0, max_size=CONNECTIONS, init=init, reset=_keep_session,
        server_settings=session,
    )  # fmt: skip


async def _keep_memory(connection: asyncpg.Connection) -> None:
    await connection.execute(KEEP_MEMORY)


async def _keep_session(_: object) -> None:
    return None


async def _fetch(pool: asyncpg.Pool, references: dict[str, Reference], request: web.Request) -> list[asyncpg.Record]:
    kind, result_id, limit = request.match_info.values()
    reference = references[kind]
    run, case = UUID(hex=result_id[4:36]), int.from_bytes(bytes.fromhex(result_id[36:]), "big", signed=True)
    async with pool.acquire() as connection:
        return await connection.fetch(reference.sql, *reference.parameters(run, case, int(limit)))


if __name__ == "__main__":
    uvloop.install()
    web.run_app(make_app(), host="127.0.0.1", port=int(os.environ["RESULTS_HTTP_PORT"]), print=None, access_log=None)
