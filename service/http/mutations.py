"""Mutations over HTTP: one transaction with Idempotency-Key and an audit entry.

A handler parses the request and passes a function that changes data in that transaction:

    async def create_webhook(request: web.Request) -> web.Response:
        body, caller = await parse_body(request, WebhookIn), get_caller(request)

        async def create(transaction: Transaction) -> web.Response:
            webhook, secret = await operations.create_webhook(transaction, caller, body)
            return reply({**webhook, "secret": secret}, 201, {"Location": …})

        return await mutate(request, create, shown_once="secret")

If the response is the object that one operation returns, `mutate_object` writes it:

        return await mutate_object(request, operations.change_webhook, ref, changes)

An operation can open a transaction itself, which becomes a savepoint. An exception rolls back everything.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from hashlib import sha256
from typing import Final, TypeVarTuple

import orjson
from aiohttp import web

from service.domain.errors import InvalidRequest, ServiceError
from service.http.authentication import get_caller
from service.http.bodies import read_body
from service.http.errors import error_response
from service.http.process import RESOURCES
from service.http.responses import REQUEST_ID, reply
from service.mutations import operations as mutations_operations
from service.mutations.model import Mutation, StoredResponse
from service.mutations.operations import Transaction

OperationArguments = TypeVarTuple("OperationArguments")
MutationChange = Callable[[Transaction], Awaitable[web.Response]]

_HEADER: Final = "Idempotency-Key"
_RETRY_AFTER_S: Final = "1"  # an accepted job can be finished after this time
_KEY: Final = re.compile(r'"([\x20\x21\x23-\x7e]{1,255})"|([\x21\x23-\x7e]{1,255})')


async def mutate(
    request: web.Request,
    change: MutationChange,
    *,
    shown_once: str | None = None,
    fingerprint: bytes | None = None,
    one_snapshot: bool = False,
    unchanged: int | None = None,
) -> web.Response:
    """Apply the change and return its response, or return the stored response for the same Idempotency-Key.

    `shown_once` names a field of the response that isn't stored; a replayed response has null there. `fingerprint`
    identifies the request body if the handler doesn't read it completely. With `one_snapshot`, the change reads the
    rows of one point in time, and is repeated after a conflict. A response with the status `unchanged` means that
    nothing was changed: it gets no audit entry.
    """

    async def work(transaction: Transaction) -> StoredResponse:
        return _to_stored(await change(transaction), shown_once)

    def error_response_for(error: ServiceError) -> StoredResponse | None:
        response = error_response(request, error)
        return _to_stored(response) if response.status < 500 and response.status != 429 else None

    mutation = await _mutation(request, fingerprint, unchanged)
    stored, replayed = await mutations_operations.mutate(
        request.app[RESOURCES].pool, mutation, work, error_response_for, one_snapshot=one_snapshot
    )
    return _to_response(stored, replayed=replayed)


async def mutate_object(
    request: web.Request,
    operation: Callable[[Transaction, *OperationArguments], Awaitable[Mapping[str, object] | None]],
    *arguments: *OperationArguments,
    status: int = 200,
    collection: str | None = None,
) -> web.Response:
    """Call the operation like `mutate`, and reply with the object that it returns, or with 204 if it returns None.

    `collection` is the path of the list to which the object was added, for the header Location.
    """

    async def change_and_reply(transaction: Transaction) -> web.Response:
        changed = await operation(transaction, *arguments)
        if changed is None:
            return web.Response(status=204)
        return reply(changed, status, {"Location": f"{collection}/{changed['id']}"} if collection else None)

    return await mutate(request, change_and_reply)


async def _mutation(request: web.Request, fingerprint: bytes | None, unchanged: int | None) -> Mutation:
    caller, key = get_caller(request), _idempotency_key(request)
    if caller.is_public:  # its users are strangers to each other, and their uploads are repeatable without a key
        key = None
    digest = sha256(request.query_string.encode() + b"\n")
    if key is not None:
        digest.update(await read_body(request) if fingerprint is None else fingerprint)
    return Mutation(
        caller.org_id,
        caller.actor_id,
        request.method,
        request.path,
        request[REQUEST_ID],
        key,
        digest.digest(),
        unchanged,
        caller.job and caller.job.job,
        caller.idempotency_holder,
    )


def _idempotency_key(request: web.Request) -> str | None:
    """Return the key. The IETF draft requires quotes, which most clients omit: accept both."""
    value = request.headers.get(_HEADER)
    if value is None:
        return None
    match = _KEY.fullmatch(value.strip())
    if match is None:
        raise InvalidRequest(f"{_HEADER}: must have 1 to 255 printable ASCII characters, no space or quote", _HEADER)
    return match[1] or match[2]


def _to_stored(response: web.Response, shown_once: str | None = None) -> StoredResponse:
    body = bytes(response.body) if isinstance(response.body, bytes | bytearray) else b""
    stored_body = orjson.dumps(orjson.loads(body) | {shown_once: None}) if shown_once and body else None
    return StoredResponse(response.status, body, response.headers.get("Location"), stored_body)


def _to_response(stored: StoredResponse, *, replayed: bool) -> web.Response:
    response = web.Response(status=stored.status, body=stored.body or None)
    if stored.body:
        response.content_type = "application/json"
    if stored.location:
        response.headers["Location"] = stored.location
    if stored.status == 202:
        response.headers["Retry-After"] = _RETRY_AFTER_S
    if replayed:
        response.headers["Idempotent-Replayed"] = "true"
    return response
