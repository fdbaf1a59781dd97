"""The HTTP client that posts events to webhook endpoints. It doesn't know the retry schedule or the database."""

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Final

import aiohttp

from service.domain.addresses import AllowedAddresses
from service.domain.deliveries import AttemptOutcome
from service.domain.retry_after import parse_retry_after
from service.outbound.deadlines import Deadlines
from service.outbound.guard import guarded_socket_factory
from service.outbound.resolver import EndpointResolver
from service.version import user_agent

_MAX_READ_BYTES: Final = 16 * 1024  # of a response body
_MAX_STORED_CHARS: Final = 1_000  # of a response body or an error
_KEEP_ALIVE_S: Final = 30
_DNS_CACHE_S: Final = 10
_FORMAT: Final = "zof-results-webhooks/1"  # the first product of User-Agent; it stays when the version changes


class WebhookClient:
    """A client that reuses its connections. Every attempt ends within `timeout_s` seconds."""

    def __init__(self, session: aiohttp.ClientSession, timeout_s: float) -> None:
        self._session = session
        self._timeout_s = timeout_s
        self._deadlines = Deadlines(timeout_s)

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> AttemptOutcome:
        """Make one attempt. Errors of the receiver or the network are in the outcome; redirects aren't followed."""
        started = time.monotonic()
        status, text, retry_after_s, error = None, b"", None, None
        try:
            with self._deadlines.start():
                async with self._session.post(url, data=body, headers=headers, allow_redirects=False) as response:
                    status, retry_after_s = response.status, _retry_after_s(response)
                    text = await _read_start(response)
                    error = _describe_redirect(response)
        except TimeoutError:
            error = f"no complete response within {self._timeout_s:g} s"
        except (aiohttp.ClientError, OSError, ValueError) as raised:
            error = f"{type(raised).__name__}: {raised}"[:_MAX_STORED_CHARS]
        latency_ms = round((time.monotonic() - started) * 1000)
        return AttemptOutcome(status, latency_ms, error, _storable_text(text), retry_after_s)


@asynccontextmanager
async def _open_resolver(name_servers: Sequence[str] | None) -> AsyncIterator[EndpointResolver]:
    resolver = EndpointResolver(name_servers)
    try:
        yield resolver
    finally:
        await resolver.close()  # a connector closes only the resolver that it has created


@asynccontextmanager
async def open_webhook_client(
    timeout_s: float, allowed: AllowedAddresses, name_servers: Sequence[str] | None = None
) -> AsyncIterator[WebhookClient]:
    """Open a client that connects only to allowed addresses.

    `name_servers` replaces the name servers of the system, each as `address:port`.
    """
    async with _open_resolver(name_servers) as resolver:
        connector = aiohttp.TCPConnector(
            limit=0,  # the dispatcher limits the concurrency
            resolver=resolver,
            ttl_dns_cache=_DNS_CACHE_S,
            keepalive_timeout=_KEEP_ALIVE_S,
            socket_factory=guarded_socket_factory(allowed),
        )
        async with aiohttp.ClientSession(
            connector=connector,
            headers=_headers(),
            cookie_jar=aiohttp.DummyCookieJar(),  # a cookie of one organization's endpoint must not reach another's
            timeout=aiohttp.ClientTimeout(total=None),
            auto_decompress=False,  # 16 KiB of compressed data can expand to many megabytes
            skip_auto_headers=["Accept-Encoding"],  # the stored start of a response must be readable
        ) as session:
            yield WebhookClient(session, timeout_s)


def _headers() -> dict[str, str]:
    return {"Content-Type": "application/json", "User-Agent": f"{_FORMAT} {user_agent()}", "Accept": "*/*"}


async def _read_start(response: aiohttp.ClientResponse) -> bytes:
    """Read the start of the body. If the body is longer, close the connection instead of draining it."""
    read = bytearray()
    while len(read) < _MAX_READ_BYTES:
        if response.content.at_eof():
            return bytes(read)
        read += await response.content.read(_MAX_READ_BYTES - len(read))
    response.close()
    return bytes(read)


def _describe_redirect(response: aiohttp.ClientResponse) -> str | None:
    """Return the reason why a redirect is a failure, or None for any other response."""
    if not 300 <= response.status < 400:
        return None
    location = response.headers.get("Location", "")
    target = f" to {_storable_text(location.encode(errors='replace'))}" if location else ""
    return f"redirects aren't followed, and the endpoint redirects{target}"[:_MAX_STORED_CHARS]


def _storable_text(body: bytes) -> str:
    """Decode the start of a body. PostgreSQL can't store NUL characters."""
    return body[: 4 * _MAX_STORED_CHARS].decode(errors="replace").replace("\0", "\ufffd")[:_MAX_STORED_CHARS]


def _retry_after_s(response: aiohttp.ClientResponse) -> float | None:
    return parse_retry_after(response.headers.get("Retry-After"), datetime.now(UTC))
