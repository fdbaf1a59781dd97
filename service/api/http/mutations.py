"""Handlers that change something: each in one transaction, repeatable under an Idempotency-Key, kept in the trail.

A handler parses, then hands over what is to be done with a connection inside that transaction:

    async def create_webhook(request: web.Request) -> web.Response:
        body = await parse_body(request, WebhookIn)

        async def create(connection: Connection) -> web.Response:
            made = await webhooks.create_webhook(connection, caller(request).org_id, body.to_domain())
            return reply(WebhookOut.of(made), 201, {"Location": …})

        return await mutate(request, create, shown_once="secret")

A use case may open `connection.transaction()` itself: it becomes a savepoint. What it raises undoes everything.
"""

import re
from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import Final

import orjson
from aiohttp import web

from service.api.http.authentication import caller
from service.api.http.bodies import read_body
from service.api.http.errors import error_response
from service.api.http.responses import REQUEST_ID
from service.api.server.resources import RESOURCES
from service.domain.errors import InvalidRequest, ServiceError
from service.domain.responses import Mutation, StoredResponse
from service.store.postgres.database import Connection
from service.usecases.administration import mutate as usecase

Change = Callable[[Connection], Awaitable[web.Response]]

_HEADER: Final = "Idempotency-Key"
_LOOK_AGAIN_S: Final = "1"  # what was only accepted may be done by then
_KEY: Final = re.compile(r'"([\x20\x21\x23-\x7e]{1,255})"|([\x21\x23-\x7e]{1,255})')


async def mutate(
    request: web.Request, change: Change, *, shown_once: str | None = None, fingerprint: bytes | None = None
) -> web.Response:
    """Makes the change and answers, or answers again what was answered under the same key.

    `shown_once` names a field of the answer that is not kept: a repetition has null there. `fingerprint` stands for
    the body where the handler has not read it whole.
    """

    async def work(connection: Connection) -> StoredResponse:
        return _answer(await change(connection), shown_once)

    def refusal(error: ServiceError) -> StoredResponse | None:
        response = error_response(request, error)
        return _answer(response) if response.status < 500 and response.status != 429 else None

    mutation = await _mutation(request, fingerprint)
    answer, replayed = await usecase.mutate(request.app[RESOURCES].pool, mutation, work, refusal)
    return _response(answer, replayed=replayed)


async def _mutation(request: web.Request, fingerprint: bytes | None) -> Mutation:
    who, key = caller(request), _key(request)
    digest = sha256(request.query_string.encode() + b"\n")
    if key is not None:
        digest.update(await read_body(request) if fingerprint is None else fingerprint)
    return Mutation(who.org_id, who.key_id, request.method, request.path, request[REQUEST_ID], key, digest.digest())


def _key(request: web.Request) -> str | None:
    """The key, which the draft of the standard puts in quotes and most clients don't."""
    given = request.headers.get(_HEADER)
    if given is None:
        return None
    match = _KEY.fullmatch(given.strip())
    if match is None:
        raise InvalidRequest(f"{_HEADER}: 1 to 255 printable ASCII characters are expected, no space or quote", _HEADER)
    return match[1] or match[2]


def _answer(response: web.Response, shown_once: str | None = None) -> StoredResponse:
    body = bytes(response.body) if isinstance(response.body, bytes | bytearray) else b""
    kept = orjson.dumps(orjson.loads(body) | {shown_once: None}) if shown_once and body else None
    return StoredResponse(response.status, body, response.headers.get("Location"), kept)


def _response(answer: StoredResponse, *, replayed: bool) -> web.Response:
    response = web.Response(status=answer.status, body=answer.body or None)
    if answer.body:
        response.content_type = "application/json"
    if answer.location:
        response.headers["Location"] = answer.location
    if answer.status == 202:
        response.headers["Retry-After"] = _LOOK_AGAIN_S
    if replayed:
        response.headers["Idempotent-Replayed"] = "true"
    return response
