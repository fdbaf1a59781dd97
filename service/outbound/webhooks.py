"""Posts events to the endpoints of webhooks. Knows HTTP and nothing of schedules or rows."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

import aiohttp

from service.domain.deliveries import AttemptOutcome
from service.outbound.guard import guarded_sockets

_TIMEOUT_S: Final = 15  # for all of an attempt
_MAX_RESPONSE: Final = 16 * 1024  # bytes of an answer that are read at all
_KEPT_RESPONSE: Final = 1_000  # characters of it that are kept
_KEEP_ALIVE_S: Final = 30
_DNS_CACHE_S: Final = 10
_HEADERS: Final = {"Content-Type": "application/json", "User-Agent": "zof-results-webhooks/1", "Accept": "*/*"}


class WebhookClient:
    """Posts over connections that are kept and used again."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> AttemptOutcome:
        """One attempt. Never raises for what the other side does; follows no redirect."""
        started = time.monotonic()
        status, response, retry_after_s, error = None, b"", None, None
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                async with self._session.post(url, data=body, headers=headers, allow_redirects=False) as answer:
                    status, retry_after_s = answer.status, _retry_after_s(answer.headers.get("Retry-After"))
                    response = await _read_start(answer)
        except TimeoutError:
            error = f"no complete answer within {_TIMEOUT_S} s"
        except (aiohttp.ClientError, OSError, ValueError) as fault:
            error = f"{type(fault).__name__}: {fault}"[:_KEPT_RESPONSE]
        latency_ms = round((time.monotonic() - started) * 1000)
        return AttemptOutcome(status, latency_ms, error, _as_text(response), retry_after_s)


@asynccontextmanager
async def open_webhook_client(*, allow_loopback: bool) -> AsyncIterator[WebhookClient]:
    """A client that connects to public addresses, and to this machine's own where that is allowed."""
    connector = aiohttp.TCPConnector(
        limit=0,  # the caller decides how much goes out at once
        ttl_dns_cache=_DNS_CACHE_S,
        keepalive_timeout=_KEEP_ALIVE_S,
        socket_factory=guarded_sockets(allow_loopback=allow_loopback),
    )
    async with aiohttp.ClientSession(
        connector=connector,
        headers=_HEADERS,
        cookie_jar=aiohttp.DummyCookieJar(),  # what one organization's endpoint sets is not another's to get
        timeout=aiohttp.ClientTimeout(total=None),
        auto_decompress=False,  # sixteen compressed kilobytes can be very many plain ones
    ) as session:
        yield WebhookClient(session)


async def _read_start(answer: aiohttp.ClientResponse) -> bytes:
    """The beginning of the body. A longer one is cut, and its connection closed instead of drained."""
    read = bytearray()
    while len(read) < _MAX_RESPONSE:
        if answer.content.at_eof():
            return bytes(read)
        read += await answer.content.read(_MAX_RESPONSE - len(read))
    answer.close()
    return bytes(read)


def _as_text(response: bytes) -> str:
    """Storable text: PostgreSQL knows no NUL."""
    return response[: 4 * _KEPT_RESPONSE].decode(errors="replace").replace("\0", "\ufffd")[:_KEPT_RESPONSE]


def _retry_after_s(value: str | None) -> float | None:
    """Seconds, written as such or as a date."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value[:10])
    try:
        moment = parsedate_to_datetime(value)
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return max(0.0, (aware - datetime.now(UTC)).total_seconds())
    except (ValueError, OverflowError):  # no date, or one that no calendar has
        return None
