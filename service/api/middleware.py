"""The middleware around every request: request ID, conversion of errors to responses, log, CORS, and common headers."""

import re
import time
from secrets import token_hex
from typing import Final

import structlog
from aiohttp import web

from service.api.metrics import method_and_route, record_request
from service.api.server.connections import PROBE_PATHS, ApiProtocol, reject_ambiguous_body
from service.http.authentication import ApiHandler, find_caller
from service.http.errors import error_response
from service.http.process import RESOURCES
from service.http.rate_limits import RATE_LIMIT_STATUS, rate_limit_headers
from service.http.responses import NEXT_CURSOR, REQUEST_ID, SERVER, encode_response
from service.log import log
from service.tracing import spans

_MAX_PATH: Final = 500
# Probes are frequent, and the trace of a stream would have no end.
_UNTRACED: Final = PROBE_PATHS | {"/v1/events/stream", "/console/stream"}
_WELL_FORMED_ID: Final = re.compile(r"[\w.:/+=@-]{1,128}", re.ASCII)
_MAX_AGE_S: Final = 600
_METHODS: Final = "GET, HEAD, POST, PUT, PATCH, DELETE"
_REQUEST_HEADERS: Final = (
    "Authorization, Content-Type, Idempotency-Key, If-None-Match, Last-Event-ID, Prefer, X-Request-Id"
)
_RESPONSE_HEADERS: Final = (
    "ETag, Idempotent-Replayed, Link, Location, Retry-After, "
    "X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, X-Request-Id"
)


@web.middleware
async def handle_request(request: web.Request, handler: ApiHandler) -> web.StreamResponse:
    """Assign the request ID, call the handler, convert its exceptions to responses, and record the duration.

    The request ID stays bound to the log until the end of the task, because each request has its own task.
    """
    started = time.perf_counter()
    request_id = _request_id(request)
    request[REQUEST_ID] = request_id
    structlog.contextvars.bind_contextvars(request_id=request_id)
    with _span(request, request_id) as span:
        response = encode_response(request, await _respond(request, handler))
        duration_s = time.perf_counter() - started
        record_request(request, response, duration_s)
        spans.set_response(span, response.status)
        if request.app[RESOURCES].settings.access_log:
            _log_request(request, response, duration_s)
    return response


def _request_id(request: web.Request) -> str:
    """Return the client's request ID if it's well-formed, otherwise a new one."""
    request_id = request.headers.get("X-Request-Id", "")
    return request_id if _WELL_FORMED_ID.fullmatch(request_id) else token_hex(16)


def _span(request: web.Request, request_id: str) -> spans.SpanBlock:
    if not spans.is_on() or request.path in _UNTRACED:
        return spans.NO_SPAN
    attributes = {"url.path": request.path, "url.scheme": request.scheme, "results.request_id": request_id}
    return spans.server_span(*method_and_route(request), request.headers, attributes)


async def _respond(request: web.Request, handler: ApiHandler) -> web.StreamResponse:
    try:
        preflight = _preflight(request)
        return await handler(request) if preflight is None else preflight
    except Exception as error:
        return error_response(request, error)


def _preflight(request: web.Request) -> web.Response | None:
    """Return the methods and headers that a configured origin can use, or None for any other request."""
    is_preflight = request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers
    if not is_preflight or request.headers.get("Origin") not in request.app[RESOURCES].settings.allowed_origins:
        return None
    headers = {
        "Access-Control-Allow-Methods": _METHODS,
        "Access-Control-Allow-Headers": _REQUEST_HEADERS,
        "Access-Control-Max-Age": str(_MAX_AGE_S),
    }
    return web.Response(status=204, headers=headers)


def _log_request(request: web.Request, response: web.StreamResponse, duration_s: float) -> None:
    """Log a request. The line also has the request ID, which is bound to the log of the request.

    The query is left out, because it can contain a cursor and the names of cases.
    """
    caller = find_caller(request)
    fields = {
        "method": request.method,
        "path": request.path[:_MAX_PATH],
        "status": response.status,
        "duration_ms": round(duration_s * 1000, 1),
        "key_id": caller and caller.credential_id,
        "org_id": caller and caller.org_id,
    }
    log.info("http_request", **fields)


@web.middleware
async def limit_connections(request: web.Request, handler: ApiHandler) -> web.StreamResponse:
    """Reject requests of too many connections, and requests that a proxy can read differently."""
    if isinstance(request.protocol, ApiProtocol):
        request.protocol.check_limit(request.path)
    rejection = reject_ambiguous_body(request)
    return await handler(request) if rejection is None else rejection


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Add the common headers, also to streams: request ID, rate limit, Link to the next page, caching, CORS.

    By default, no cache stores a response without an ETag, and a cache revalidates a response with an ETag.
    """
    headers, settings = response.headers, request.app[RESOURCES].settings
    headers["Server"] = SERVER
    headers.setdefault("Cache-Control", "private, no-cache" if "ETag" in headers else "no-store")
    if REQUEST_ID in request:
        headers["X-Request-Id"] = request[REQUEST_ID]
    if RATE_LIMIT_STATUS in request:
        headers.update(rate_limit_headers(request[RATE_LIMIT_STATUS]))
    if NEXT_CURSOR in response:
        next_url = str(request.rel_url.update_query(starting_after=response[NEXT_CURSOR]))
        headers["Link"] = f'<{settings.link_base}{next_url}>; rel="next"'
    _add_cors_headers(request, response, settings.allowed_origins)


def _add_cors_headers(request: web.Request, response: web.StreamResponse, origins: frozenset[str]) -> None:
    """Allow a configured origin to read the response, without credentials: API keys are not in cookies."""
    if not origins:
        return
    response.headers.add("Vary", "Origin")
    origin = request.headers.get("Origin")
    if origin in origins:
        response.headers["Access-Control-Allow-Origin"] = origin or ""
        response.headers["Access-Control-Expose-Headers"] = _RESPONSE_HEADERS
