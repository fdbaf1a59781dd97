"""Does a mutation in one transaction with its audit entry and its kept answer, once per Idempotency-Key."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from service.domain.errors import Conflict, IdempotencyMismatch, ServiceError
from service.domain.responses import Mutation, StoredResponse
from service.store import audit, idempotency
from service.store.postgres.database import Connection, Pool, as_organization
from service.store.postgres.transactions import notifying_transaction

MutationWork = Callable[[Connection], Awaitable[StoredResponse]]
ErrorResponseFor = Callable[[ServiceError], StoredResponse | None]


class MutationResult(NamedTuple):
    """The answer, and whether it is that of an earlier request."""

    answer: StoredResponse
    replayed: bool = False


async def mutate(
    pool: Pool, mutation: Mutation, work: MutationWork, error_response_for: ErrorResponseFor
) -> MutationResult:
    """Does the work, or answers what was answered before under the same key.

    `error_response_for` returns the response to store for an error of the work, or None to raise the error and store
    nothing.
    Raises Conflict while another request with the key is under way, IdempotencyMismatch where it asked something else.
    """
    async with as_organization(pool, mutation.org_id) as connection, notifying_transaction(connection):
        if mutation.key is None:
            return MutationResult(await _work(connection, mutation, work))
        if not await idempotency.try_lock(connection, mutation):
            raise Conflict("a request with this Idempotency-Key is still under way")
        known = await idempotency.find(connection, mutation)
        if known is not None:
            return _again(mutation, *known)
        answer = await _work_or_refuse(connection, mutation, work, error_response_for)
        await idempotency.keep(connection, mutation, answer)
        return MutationResult(answer)


def _again(mutation: Mutation, fingerprint: bytes, answer: StoredResponse) -> MutationResult:
    if fingerprint != mutation.fingerprint:
        raise IdempotencyMismatch("this Idempotency-Key was used before with another request")
    return MutationResult(answer, replayed=True)


async def _work_or_refuse(
    connection: Connection, mutation: Mutation, work: MutationWork, error_response_for: ErrorResponseFor
) -> StoredResponse:
    """What a failed work has written is undone; the answer that says so is kept all the same."""
    try:
        async with connection.transaction():
            return await _work(connection, mutation, work)
    except ServiceError as error:
        answer = error_response_for(error)
        if answer is None:
            raise
        return answer


async def _work(connection: Connection, mutation: Mutation, work: MutationWork) -> StoredResponse:
    answer = await work(connection)
    action = f"{mutation.method} {mutation.path}"
    await audit.insert(connection, mutation.org_id, mutation.actor, action, answer.location, mutation.request_id)
    return answer
