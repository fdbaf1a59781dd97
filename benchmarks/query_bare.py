"""The baseline of the query benchmark: minimal aiohttp handlers with the same SQL, without keys, IDs, or errors."""

import uvloop
from aiohttp import web

from service.domain.filters import ResultFilter
from service.domain.ids import OrgId, parse_result_id
from service.settings import Settings
from service.store.postgres import database
from service.store.postgres.composition import compose
from service.store.queries.filter_values import filter_values
from service.store.queries.results import page_statement

ORG = OrgId(1)
STATEMENT = page_statement(ResultFilter())
ONE = compose("one_result")
VALUES = filter_values(ORG, ResultFilter(), None) | {"page": 100}
settings = Settings()


async def make_app() -> web.Application:
    """Return an application with two handlers that share a pool."""
    pool = await database.open_pool(settings.database_url or "", "results_api", 10)

    async def list_results(_: web.Request) -> web.Response:
        async with database.as_organization(pool, ORG) as connection:
            row = await STATEMENT.fetch_row(connection, VALUES)
        return web.Response(text=row["data"], content_type="application/json")

    async def get_result(request: web.Request) -> web.Response:
        key = parse_result_id(request.match_info["id"])
        if key is None:
            raise web.HTTPNotFound
        values = {"org_id": ORG, "run_key": key[0], "case_key": key[1], "project_id": None, "link_base": ""}
        async with database.as_organization(pool, ORG) as connection:
            text = await ONE.fetch_value(connection, values)
        return web.Response(text=text, content_type="application/json")

    app = web.Application()
    app.router.add_get("/v1/results", list_results)
    app.router.add_get("/v1/results/{id}", get_result)
    return app


uvloop.install()
web.run_app(make_app(), host="127.0.0.1", port=settings.http_port, print=None, access_log=None)
