"""API keys over HTTP. A caller whose key is bound to a project can manage only keys of that project."""

from typing import Final

from aiohttp import web

from service.contracts.queries import PageQuery
from service.http.authentication import get_caller
from service.http.mutations import mutate, mutate_object
from service.http.parsing import parse_body, parse_query
from service.http.process import RESOURCES
from service.http.responses import reply, reply_page
from service.http.routes import Operation, Route, page_of
from service.identity.keys import operations
from service.identity.keys.contract import ApiKey, ApiKeyWithSecret, KeyRequest
from service.mutations.operations import Transaction


async def list_keys(request: web.Request) -> web.Response:
    """Return a page of keys, including revoked ones, newest first."""
    query, caller = parse_query(request, PageQuery), get_caller(request)
    return reply_page(await operations.list_keys(request.app[RESOURCES].pool, caller, query))


async def create_key(request: web.Request) -> web.Response:
    """Create a key. Only this response contains the key itself."""
    body, caller = await parse_body(request, KeyRequest), get_caller(request)
    org_id, project_id = caller.org_id, operations.choose_project(caller, body.project_id)

    async def create(transaction: Transaction) -> web.Response:
        new = await operations.create_key(transaction, org_id, body.name, body.role, project_id, body.expires_at)
        key = await operations.read_new_key(transaction, org_id, new)
        return reply(key, 201, {"Location": f"/v1/api-keys/{new.key_id}"})

    return await mutate(request, create, shown_once="key")


async def rotate_key(request: web.Request) -> web.Response:
    """Replace the secret of a key. The previous secret remains valid for 24 hours."""
    caller, key_id = get_caller(request), _key_id(request)

    async def rotate(transaction: Transaction) -> web.Response:
        new = await operations.rotate_key(transaction, caller.org_id, key_id, caller.project_id)
        return reply(await operations.read_new_key(transaction, caller.org_id, new))

    return await mutate(request, rotate, shown_once="key")


async def delete_key(request: web.Request) -> web.Response:
    """Revoke a key. Every process rejects it within five seconds."""
    caller, key_id = get_caller(request), _key_id(request)
    return await mutate_object(request, operations.revoke_key, caller.org_id, key_id, caller.project_id)


def _key_id(request: web.Request) -> str:
    key_id = request.match_info["id"]
    operations.check_key_id(key_id)
    return key_id


ROUTES: Final = (
    Route("GET", "/api-keys", list_keys, "keys:manage", Operation(
        "list_keys", "List API keys, newest first", page_of(ApiKey), PageQuery,
        description="Includes revoked keys.",
    )),
    Route("POST", "/api-keys", create_key, "keys:manage", Operation(
        "create_key", "Create an API key", {201: ApiKeyWithSecret}, body=KeyRequest,
        description="Only this response contains the key.",
    )),
    Route("POST", "/api-keys/{id}/rotate", rotate_key, "keys:manage", Operation(
        "rotate_key", "Replace the secret of an API key", {200: ApiKeyWithSecret}, errors=("not_found",),
        description="Only this response contains the new key. The previous one remains valid for 24 hours.",
    )),
    Route("DELETE", "/api-keys/{id}", delete_key, "keys:manage", Operation(
        "delete_key", "Revoke an API key", {204: None}, errors=("not_found",),
        description="The service rejects the key within five seconds.",
    )),
)  # fmt: skip
