"""How long an answer may wait for what it tells of: `?wait=` says it, or else the header `Prefer` (RFC 7240)."""

import re
from typing import Final

from aiohttp import web

from service.api.http.parsing import parse_query
from service.contracts.queries import LONGEST_WAIT_S, WaitQuery

_PREFERRED: Final = re.compile(r'wait\s*=\s*"?([0-9]{1,9})"?(?:\s*;.*)?', re.IGNORECASE)


def requested_wait_s(request: web.Request) -> int:
    """Seconds; a preference is only that: one that makes no sense is ignored, one that is too long is cut."""
    query = parse_query(request, WaitQuery)
    return query.wait if "wait" in query.model_fields_set else _preferred_s(request)


def _preferred_s(request: web.Request) -> int:
    """The first wait that is preferred, as the RFC has it."""
    given = (part.strip() for value in request.headers.getall("Prefer", ()) for part in value.split(","))
    waits = (match[1] for match in map(_PREFERRED.fullmatch, given) if match)
    return min(int(next(waits, 0)), LONGEST_WAIT_S)
