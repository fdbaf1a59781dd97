"""HTTP handlers of splits."""

from typing import Final

from aiohttp import web
from yarl import URL

from service.http.authentication import get_caller
from service.http.mutations import mutate
from service.http.parsing import parse_body, parse_query
from service.http.process import RESOURCES
from service.http.responses import reply
from service.http.routes import Operation, Route
from service.mutations.operations import Transaction
from service.splits import operations
from service.splits.contract import Split, SplitIn, SplitQuery


async def put_split(request: web.Request) -> web.Response:
    """Plan a split, or return the plan of an earlier request."""
    body, caller = await parse_body(request, SplitIn), get_caller(request)
    ref = operations.split_ref(caller, request.match_info["key"], body)
    location = URL("/v1/splits") / ref.key % {"project_id": ref.project_id}

    async def put(transaction: Transaction) -> web.Response:
        split, is_new = await operations.put_split(transaction, caller, ref, body)
        return reply(split, 201, {"Location": str(location)}) if is_new else reply(split)

    return await mutate(request, put, unchanged=200)


async def get_split(request: web.Request) -> web.Response:
    """Return one split."""
    query, pool, key = parse_query(request, SplitQuery), request.app[RESOURCES].pool, request.match_info["key"]
    return reply(await operations.find_split(pool, get_caller(request), key, query))


ROUTES: Final = (
    Route("PUT", "/splits/{key}", put_split, "reports:create", Operation(
        "put_split", "Distribute the items of a test suite to parallel jobs", {200: Split, 201: Split}, body=SplitIn,
        errors=("conflict",),
        description="All jobs send all items, in any order, and get the plan of the first request (201). Responds with"
        " 409 and the difference for another unit, total, or variant, and for other items, and if the pipeline or run"
        " has 20 splits. The longest items are assigned first, by the 75th percentile of their durations in the newest"
        " 20 runs of the default branch. The key of a CI job plans only for its own pipeline.",
    )),
    Route("GET", "/splits/{key}", get_split, "results:read", Operation(
        "get_split", "Get the newest split with a key", {200: Split}, SplitQuery, errors=("not_found",),
    )),
)  # fmt: skip
