"""Changes by forms: one transaction with its audit entry, then a redirect, so that a reload repeats no change."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from aiohttp import web

from service.console.authentication import redirect
from service.http.process import RESOURCES
from service.http.responses import REQUEST_ID
from service.identity.keys.model import Caller
from service.mutations.model import Mutation, StoredResponse
from service.mutations.operations import Transaction, mutate

_CHANGED, _UNCHANGED = 303, 200  # distinguish the outcomes for the audit trail; both are redirects


class Unchanged(NamedTuple):
    """The path to redirect to if nothing was changed. The audit trail gets no entry."""

    path: str


async def apply_change(
    request: web.Request,
    caller: Caller,
    change: Callable[[Transaction], Awaitable[str | Unchanged]],
    *,
    one_snapshot: bool = False,
) -> web.Response:
    """Apply the change, and redirect to the path that it returns. The audit trail has the same entries as for the API.

    With `one_snapshot`, the change reads the rows of one point in time, and is repeated after a conflict.
    """

    async def work(transaction: Transaction) -> StoredResponse:
        outcome = await change(transaction)
        if isinstance(outcome, Unchanged):
            return StoredResponse(_UNCHANGED, b"", outcome.path)
        return StoredResponse(_CHANGED, b"", outcome)

    mutation = Mutation(
        caller.org_id, caller.actor_id, request.method, request.path, request[REQUEST_ID], None, b"", _UNCHANGED
    )
    pool = request.app[RESOURCES].pool
    response, _ = await mutate(pool, mutation, work, lambda _: None, one_snapshot=one_snapshot)
    return redirect(response.location or "")
