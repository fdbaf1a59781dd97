"""The access log: one log line per request, if it's enabled. It contains no query, header, or body."""

from typing import Final

from aiohttp import web

from service.api.http.authentication import find_caller
from service.log import log

_MAX_PATH: Final = 500


def log_request(request: web.Request, response: web.StreamResponse, duration_s: float) -> None:
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
