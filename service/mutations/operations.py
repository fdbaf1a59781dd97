"""Mutations: one transaction with the audit entry and the stored response, once per Idempotency-Key."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from service.database.database import Connection, Pool, as_organization
from service.database.transactions import notifying_transaction, retry_on_conflict
from service.domain.errors import Conflict, IdempotencyMismatch, ServiceError
from service.mutations import store
from service.mutations.model import Mutation, StoredResponse

Transaction = Connection  # of a mutation; handlers pass it to operations without importing the database
MutationWork = Callable[[Transaction], Awaitable[StoredResponse]]
ErrorResponseFor = Callable[[ServiceError], StoredResponse | None]


class MutationResult(NamedTuple):
    """The response, and whether it is the stored response to an earlier request."""

    response: StoredResponse
    replayed: bool = False


async def mutate(
    pool: Pool,
    mutation: Mutation,
    work: MutationWork,
    error_response_for: ErrorResponseFor,
    *,
    one_snapshot: bool = False,
) -> MutationResult:
    """Run the work once, or return the stored response to an earlier request with the same Idempotency-Key.

    `error_response_for` returns the response to store for an error of the work, or None to raise the error and store
    nothing. With `one_snapshot`, the work reads the rows of one point in time, and is repeated after a conflict.
    Raises Conflict while another request with the key is in progress, and IdempotencyMismatch if the earlier request
    with the key was different.
    """

    async def attempt() -> MutationResult:
        async with notifying_transaction(connection, one_snapshot=one_snapshot):
            return await _mutate_once(connection, mutation, work, error_response_for)

    async with as_organization(pool, mutation.org_id) as connection:
        return await (retry_on_conflict(attempt) if one_snapshot else attempt())


async def _mutate_once(
    connection: Connection, mutation: Mutation, work: MutationWork, error_response_for: ErrorResponseFor
) -> MutationResult:
    if mutation.key is None:
        return MutationResult(await _work(connection, mutation, work))
    if not await store.try_lock(connection, mutation):
        raise Conflict("Idempotency-Key: a request with this key is in progress; retry later")
    stored = await store.find(connection, mutation)
    if stored is not None:
        fingerprint, earlier_response = stored
        if fingerprint != mutation.fingerprint:
            raise IdempotencyMismatch("Idempotency-Key: already used with a different request; use a new key")
        return MutationResult(earlier_response, replayed=True)
    response = await _work_or_error(connection, mutation, work, error_response_for)
    await store.insert_response(connection, mutation, response)
    return MutationResult(response)


async def _work_or_error(
    connection: Connection, mutation: Mutation, work: MutationWork, error_response_for: ErrorResponseFor
) -> StoredResponse:
    """Run the work in a savepoint. If it fails, roll back its writes but return an error response to store."""
    try:
        async with connection.transaction():
            return await _work(connection, mutation, work)
    except ServiceError as error:
        response = error_response_for(error)
        if response is None:
            raise
        return response


async def _work(connection: Connection, mutation: Mutation, work: MutationWork) -> StoredResponse:
    """Run the work, and insert the audit entry of a change."""
    response = await work(connection)
    if response.status != mutation.unchanged:
        action = f"{mutation.method} {mutation.path}"
        entry = mutation.actor, action, response.location, mutation.request_id, mutation.job
        await store.insert_entry(connection, mutation.org_id, *entry)
    return response
