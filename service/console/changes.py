"""Changes by forms: one transaction with its audit entry, then a redirect, so that a reload repeats no change."""

from collections.abc import Awaitable, Callable

from aiohttp import web

from service.api.http.responses import REQUEST_ID
from service.api.server.resources import RESOURCES
from service.console.authentication import redirect
from service.domain.keys import Caller
from service.domain.responses import Mutation, StoredResponse
from service.store.postgres.database import Connection
from service.usecases.administration.mutate import mutate


async def apply_change(
    request: web.Request,
    caller: Caller,
    change: Callable[[Connection], Awaitable[str]],
    *,
    one_snapshot: bool = False,
) -> web.Response:
    """Apply the change, and redirect to the path that it returns. The audit trail has the same entries as for the API.

    With `one_snapshot`, the change reads the rows of one point in time, and is repeated after a conflict.
    """

    async def work(connection: Connection) -> StoredResponse:
        return StoredResponse(303, b"", await change(connection))

    mutation = Mutation(
        caller.org_id, caller.key_id, request.method, request.path, request[REQUEST_ID], None, fingerprint=b""
    )
    pool = request.app[RESOURCES].pool
    response, _ = await mutate(pool, mutation, work, lambda _: None, one_snapshot=one_snapshot)
    return redirect(response.location or "")
