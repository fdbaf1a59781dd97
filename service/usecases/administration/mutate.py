"""Does a mutation in one transaction with its audit entry and its kept answer, once per Idempotency-Key."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from service.domain.answers import Answer, Mutation
from service.domain.errors import Conflict, IdempotencyMismatch, ServiceError
from service.store import audit, idempotency
from service.store.postgres.database import Connection, Pool, as_organization

Work = Callable[[Connection], Awaitable[Answer]]
Refusal = Callable[[ServiceError], Answer | None]


class Done(NamedTuple):
    """The answer, and whether it is that of an earlier request."""

    answer: Answer
    replayed: bool = False


async def mutate(pool: Pool, mutation: Mutation, work: Work, refusal: Refusal) -> Done:
    """Does the work, or answers what was answered before under the same key.

    `refusal` says what to answer, and keep, for an error of the work; None lets the error through and keeps nothing.
    Raises Conflict while another request with the key is under way, IdempotencyMismatch where it asked something else.
    """
    async with as_organization(pool, mutation.org_id) as connection, connection.transaction():
        if mutation.key is None:
            return Done(await _work(connection, mutation, work))
        if not await idempotency.try_lock(connection, mutation):
            raise Conflict("a request with this Idempotency-Key is still under way")
        known = await idempotency.find(connection, mutation)
        if known is not None:
            return _again(mutation, *known)
        answer = await _work_or_refuse(connection, mutation, work, refusal)
        await idempotency.keep(connection, mutation, answer)
        return Done(answer)


def _again(mutation: Mutation, fingerprint: bytes, answer: Answer) -> Done:
    if fingerprint != mutation.fingerprint:
        raise IdempotencyMismatch("this Idempotency-Key was used before with another request")
    return Done(answer, replayed=True)


async def _work_or_refuse(connection: Connection, mutation: Mutation, work: Work, refusal: Refusal) -> Answer:
    """What a failed work has written is undone; the answer that says so is kept all the same."""
    try:
        async with connection.transaction():
            return await _work(connection, mutation, work)
    except ServiceError as error:
        answer = refusal(error)
        if answer is None:
            raise
        return answer


async def _work(connection: Connection, mutation: Mutation, work: Work) -> Answer:
    answer = await work(connection)
    action = f"{mutation.method} {mutation.path}"
    await audit.insert(connection, mutation.org_id, mutation.actor, action, answer.location, mutation.request_id)
    return answer
