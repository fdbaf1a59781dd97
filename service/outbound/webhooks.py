"""The HTTP client that posts events to webhook endpoints. It doesn't know the retry schedule or the database."""

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Final

import aiohttp

from service.domain.addresses import AllowedAddresses
from service.domain.backoff import parse_retry_after
from service.outbound.deadlines import Deadlines
from service.outbound.guarded_sessions import open_guarded_session, read_start
from service.version import user_agent
from service.webhooks.model import AttemptOutcome

_MAX_READ_BYTES: Final = 16 * 1024  # of a response body
_MAX_STORED_CHARS: Final = 1_000  # of a response body or an error
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
                    text = await read_start(response, _MAX_READ_BYTES)
                    error = _describe_redirect(response)
        except TimeoutError:
            error = f"no complete response within {self._timeout_s:g} s"
        except (aiohttp.ClientError, OSError, ValueError) as raised:
            error = f"{type(raised).__name__}: {raised}"[:_MAX_STORED_CHARS]
        latency_ms = round((time.monotonic() - started) * 1000)
        return AttemptOutcome(status, latency_ms, error, _storable_text(text), retry_after_s)


@asynccontextmanager
async def open_webhook_client(
    timeout_s: float, allowed: AllowedAddresses, name_servers: Sequence[str] | None = None
) -> AsyncIterator[WebhookClient]:
    """Open a client that connects only to allowed addresses.

    `name_servers` replaces the name servers of the system, each as `address:port`.
    """
    async with open_guarded_session(allowed, _headers(), name_servers) as session:
        yield WebhookClient(session, timeout_s)  # the dispatcher limits the concurrency


def _headers() -> dict[str, str]:
    return {"Content-Type": "application/json", "User-Agent": f"{_FORMAT} {user_agent()}", "Accept": "*/*"}


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
