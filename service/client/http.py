"""Requests to a server of ours, with its errors as errors of ours; a server that is away for a moment is waited for."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import aiohttp
import click

from service.domain.backoff import Backoff
from service.domain.errors import ServiceError

Params = Mapping[str, str] | Sequence[tuple[str, str]]

_LONGEST_WAIT_S: Final = 10.0
_TIMEOUT: Final = aiohttp.ClientTimeout(total=None, connect=10, sock_read=60)
_PATIENT_TRIES: Final = 2  # before it says what it waits for
_COMES_BACK: Final = frozenset({429, 502, 503, 504})


class ServerError(ServiceError):
    """The server refused a request, or does not answer. `code` is its own word for why."""

    def __init__(self, message: str, status: int | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class BrokenAnswer(ServerError):
    """An answer has begun and did not come to its end."""


class Server:
    """A server as one key sees it. Every path begins with a slash and stands below /v1."""

    def __init__(self, session: aiohttp.ClientSession, url: str, patience_s: float) -> None:
        self.url = url.rstrip("/").removesuffix("/v1")
        self._session = session
        self._patience_s = patience_s

    async def get(self, path: str, params: Params = ()) -> Any:
        """The JSON of an answer. Raises ServerError."""
        async with self.open("GET", path, params=params) as response:
            return await response.json()

    @asynccontextmanager
    async def open(self, method: str, path: str, **sent: Any) -> AsyncIterator[aiohttp.ClientResponse]:
        """A successful answer, to be read inside. What may help to try again is tried again for a while.

        So it is for requests that may arrive twice: send an Idempotency-Key with one that changes something.
        """
        response = await self._send(method, path, **sent)
        try:
            yield response
        except (aiohttp.ClientError, TimeoutError) as error:
            raise BrokenAnswer(f"{self.url}: the answer broke off: {error!r}") from error
        finally:
            response.release()

    async def _send(self, method: str, path: str, **sent: Any) -> aiohttp.ClientResponse:
        deadline = asyncio.get_running_loop().time() + self._patience_s
        for count, wait_s in enumerate(Backoff(0.2, _LONGEST_WAIT_S)):
            try:
                response = await self._session.request(method, f"{self.url}/v1{path}", **sent)
                if response.status < 400:
                    return response
                failure = await self._failure(response)
            except (aiohttp.ClientError, TimeoutError) as error:
                failure = ServerError(f"{self.url} does not answer: {str(error) or 'no answer in time'}")
            may_help = failure.status is None or failure.status in _COMES_BACK
            if not may_help or asyncio.get_running_loop().time() + wait_s > deadline:
                raise failure
            if count == _PATIENT_TRIES:
                click.echo(f"{failure}; trying again for up to {self._patience_s:g} s", err=True)
            await asyncio.sleep(wait_s)
        raise AssertionError("the delays never end")

    async def _failure(self, response: aiohttp.ClientResponse) -> ServerError:
        """What the server says is wrong, in its own words where it has some."""
        try:
            error = (await response.json())["error"]
            return ServerError(f"{error['message']} ({response.status})", response.status, str(error["code"]))
        except (aiohttp.ClientError, ValueError, KeyError, TypeError):
            said = f"{self.url} answers with {response.status} {response.reason}, which is not how a Results API does"
            return ServerError(said, response.status)
        finally:
            response.release()


@asynccontextmanager
async def open_server(url: str, key: str, patience_s: float = 30) -> AsyncIterator[Server]:
    """The server at this URL, with this key; it may be away for so many seconds."""
    headers = {"Authorization": f"Bearer {key}", "User-Agent": "zof-results"}
    async with aiohttp.ClientSession(headers=headers, timeout=_TIMEOUT, trust_env=True) as session:
        yield Server(session, url, patience_s)
