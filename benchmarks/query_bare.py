"""The baseline of the query benchmark: minimal aiohttp handlers, without keys, IDs, or errors.

/v1/results runs the SQL of the service, with the same range of months, and writes the same JSON. /narrow reads only the
rows of `results`.
"""

from typing import Any

import orjson
import uvloop
from aiohttp import web

from service.domain.filters import ResultFilter
from service.domain.ids import OrgId, parse_result_id
from service.settings import Settings
from service.store.postgres import database
from service.store.postgres.composition import compose
from service.store.queries import results as read_results
from service.store.queries.filter_values import filter_values
from service.store.queries.page_ranges import list_id
from service.store.queries.result_items import read_items, write_one
from service.store.queries.results import PAGE_RANGES, page_statement

ORG = OrgId(1)
STATEMENT = page_statement(ResultFilter())
ONE = compose("one_result")
VALUES = filter_values(ORG, ResultFilter(), None) | {"page": 100}
KEYS = [VALUES[name] for name in ("org_id", "before_run", "before_case", "first_key")]
NARROW = """
SELECT run_key, case_key, status, flaky, attempts, duration_ms, started_offset_ms FROM results
WHERE org_id = $1 AND (run_key, case_key) < ($2, $3) AND run_key >= $4
ORDER BY run_key DESC, case_key DESC LIMIT 100
"""
settings = Settings()


def json_response(text: str) -> web.Response:
    """Return JSON from PostgreSQL."""
    return web.Response(text=text, content_type="application/json")


def result_key(request: web.Request) -> tuple[Any, Any]:
    """Return the key of the ID in the path."""
    key = parse_result_id(request.match_info["id"])
    if key is None:
        raise web.HTTPNotFound
    return key


async def make_app() -> web.Application:
    """Return an application whose handlers share a pool."""
    pool = await database.open_pool(settings.database_url or "", "results_api", 10)
    async with database.as_organization(pool, ORG) as connection:
        await read_results.list_page(connection, ORG, ResultFilter(), None, VALUES["page"])
    first_key = PAGE_RANGES.first_key(list_id(ORG, ResultFilter()), VALUES["before_run"]) or VALUES["first_key"]

    async def list_results(_request: web.Request) -> web.Response:
        async with database.as_organization(pool, ORG) as connection:
            page = await STATEMENT.fetch_row(connection, VALUES | {"first_key": first_key})
            items, _ = await read_items(connection, ORG, page, VALUES["page"])
        return json_response(f"[{','.join(items)}]")

    async def get_result(request: web.Request) -> web.Response:
        run_key, case_key = result_key(request)
        values = {"org_id": ORG, "run_key": run_key, "case_key": case_key, "project_id": None, "link_base": ""}
        async with database.as_organization(pool, ORG) as connection:
            return json_response(write_one(run_key, await ONE.fetch_row(connection, values)))

    async def list_narrow(_request: web.Request) -> web.Response:
        async with database.as_organization(pool, ORG) as connection:
            rows = await connection.fetch(NARROW, *KEYS)
        body = orjson.dumps([(str(row[0]), row[1], row[2].decode(), *row[3:]) for row in map(tuple, rows)])
        return web.Response(body=body, content_type="application/json")

    app = web.Application()
    app.router.add_get("/v1/results", list_results)
    app.router.add_get("/v1/results/{id}", get_result)
    app.router.add_get("/narrow", list_narrow)
    return app


uvloop.install()
web.run_app(make_app(), host="127.0.0.1", port=settings.http_port, print=None, access_log=None)
