"""CORS: lets scripts of the origins in RESULTS_CORS_ORIGINS read responses. Off by default."""

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
    """Return whether the request is a CORS preflight request."""
    return request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers


def preflight_response(request: web.Request, origins: frozenset[str]) -> web.Response | None:
    """Return the allowed methods and headers, or None if the origin isn't configured."""
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


def add_cors_headers(request: web.Request, response: web.StreamResponse, origins: frozenset[str]) -> None:
    """Allow a configured origin to read the response, without credentials: API keys are not in cookies."""
    if not origins:
        return
    response.headers.add("Vary", "Origin")
    origin = request.headers.get("Origin")
    if origin in origins:
        response.headers["Access-Control-Allow-Origin"] = origin or ""
        response.headers["Access-Control-Expose-Headers"] = _RESPONSE_HEADERS
