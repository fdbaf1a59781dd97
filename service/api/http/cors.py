"""CORS: lets scripts of configured origins read answers. Off unless RESULTS_CORS_ORIGINS names some."""

from typing import Final

from aiohttp import web

_MAX_AGE_S: Final = 600
_METHODS: Final = "GET, HEAD, POST, PUT, PATCH, DELETE"
_REQUEST_HEADERS: Final = (
    "Authorization, Content-Type, Idempotency-Key, If-None-Match, Last-Event-ID, Prefer, X-Request-Id"
)
_RESPONSE_HEADERS: Final = (
    "ETag, Idempotent-Replayed, Link, Location, Retry-After, "
    "X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, X-Request-Id"
)


def is_preflight(request: web.Request) -> bool:
    """Whether a browser asks what it may send."""
    return request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers


def reply_preflight(request: web.Request, origins: frozenset[str]) -> web.Response | None:
    """What a browser may send from this origin; None for an origin that is not configured."""
    if request.headers.get("Origin") not in origins:
        return None
    return web.Response(
        status=204,
        headers={
            "Access-Control-Allow-Methods": _METHODS,
            "Access-Control-Allow-Headers": _REQUEST_HEADERS,
            "Access-Control-Max-Age": str(_MAX_AGE_S),
        },
    )


def allow(request: web.Request, response: web.StreamResponse, origins: frozenset[str]) -> None:
    """Says which origin may read the answer. No credentials: keys come in a header, not in cookies."""
    if not origins:
        return
    response.headers.add("Vary", "Origin")
    origin = request.headers.get("Origin")
    if origin in origins:
        response.headers["Access-Control-Allow-Origin"] = origin or ""
        response.headers["Access-Control-Expose-Headers"] = _RESPONSE_HEADERS
