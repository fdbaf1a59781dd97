"""Issuers of ID tokens: verifies tokens with the cached keys of their issuers."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from cachetools import LRUCache

from service.domain.addresses import AllowedAddresses
from service.outbound.id_tokens import TokenRefused, check_claims, check_issuer_of, read_token, verify_signature
from service.outbound.issuer_documents import (
    Endpoints,
    IssuerClient,
    IssuerDocuments,
    IssuerUnavailable,
    open_issuer_client,
)
from service.outbound.json_web_keys import VerificationKey
from service.stopping import end_tasks

__all__ = ["Endpoints", "IssuerUnavailable", "Issuers", "TokenRefused", "open_issuers"]

_MAX_ISSUERS: Final = 256  # with at most 100 keys each, about 60 MB; usually, an issuer has 3 keys
_REFRESH_S: Final = 3600.0  # a key that an issuer has withdrawn is accepted for this time
# Issuers publish a key a day or more before they sign with it, and their outages are shorter than a day. Older keys
# aren't used, because the issuer can have withdrawn them in the meantime.
_MAX_AGE_S: Final = 24 * 3600.0
_SEARCH_S: Final = 60.0  # between two refreshes because of tokens with unknown keys, which anyone can send
_RETRY_S: Final = 10.0  # after a failure
_PATIENCE_S: Final = 1.0  # for a refresh while the cached keys can be used


class Issuers:
    """The issuers of a process, whose documents are cached. An issuer is requested only if a caller names it."""

    def __init__(self, client: IssuerClient, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._clock = clock
        self._issuers: LRUCache[str, CachedIssuer] = LRUCache(_MAX_ISSUERS)
        self._refreshes: set[asyncio.Task[None]] = set()

    async def verify(self, token: str, issuer: str, audience: str) -> dict[str, Any]:
        """Return the claims of a token of this issuer for this audience.

        Raises TokenRefused, or IssuerUnavailable if the keys of the issuer aren't known.
        """
        unverified = read_token(token)
        check_issuer_of(unverified, issuer)
        key = await self._cached(issuer).find_key(unverified.key_id, unverified.algorithm)
        claims = verify_signature(unverified, key)
        check_claims(claims, audience, time.time())
        return claims

    async def find_endpoints(self, issuer: str) -> Endpoints:
        """Return the endpoints at which people sign in. Raises IssuerUnavailable."""
        documents = await self._cached(issuer).find_documents()
        return self._client.find_endpoints(issuer, documents)

    async def post_form(
        self, url: str, form: Mapping[str, str], basic_auth: tuple[str, str] | None = None
    ) -> tuple[int, dict[str, Any]]:
        """Post a form to an endpoint. Return the status and the JSON object of the response.

        `basic_auth` are the ID and the secret of a client. Raises IssuerUnavailable, also if the response isn't a JSON
        object.
        """
        return await self._client.post_form(url, form, basic_auth)

    async def get_object(self, url: str, access_token: str) -> dict[str, Any]:
        """Return the JSON object at a URL that needs an access token, such as that of userinfo.

        Raises IssuerUnavailable, also for a status other than 200.
        """
        return await self._client.get_object(url, access_token)

    async def close(self) -> None:
        """End the refreshes in progress."""
        await end_tasks(self._refreshes)

    def _cached(self, issuer: str) -> "CachedIssuer":
        cached = self._issuers.get(issuer)
        if cached is None:
            cached = self._issuers[issuer] = CachedIssuer(issuer, self._client, self._clock, self._refreshes)
        return cached


class CachedIssuer:
    """The documents of one issuer. A failed refresh never replaces documents that were read before."""

    def __init__(
        self, issuer: str, client: IssuerClient, clock: Callable[[], float], refreshes: set[asyncio.Task[None]]
    ) -> None:
        self._issuer = issuer
        self._client = client
        self._clock = clock
        self._refreshes = refreshes  # keeps the tasks of all issuers alive
        self._refresh_task: asyncio.Task[None] | None = None
        self._documents: IssuerDocuments | None = None
        self._read_at = -math.inf
        self._reads = 0
        self._failure: str | None = None  # of the last refresh
        self._failed_at = -math.inf
        self._searched_at = -math.inf

    async def find_key(self, key_id: str | None, algorithm: str) -> VerificationKey:
        """Return a key. Raises TokenRefused if the issuer doesn't have it, or IssuerUnavailable."""
        reads = self._reads
        documents = await self.find_documents()
        key = documents.keys.find(key_id, algorithm)
        if key is None and self._reads == reads:  # else the keys were read while this token waited
            documents = await self._search()
            key = documents.keys.find(key_id, algorithm)
        if key is None:
            named = "without an ID" if key_id is None else f"with the ID {key_id!r:.100}"
            raise TokenRefused(
                f"kid: the issuer {self._issuer} has no key {named} for {algorithm}; request a new token"
            )
        return key

    async def find_documents(self) -> IssuerDocuments:
        """Return the documents, after a refresh if it's due. Raises IssuerUnavailable if none are known."""
        age_s = self._clock() - self._read_at
        if self._documents and age_s < _REFRESH_S:
            return self._documents
        is_due = self._clock() >= self._failed_at + _RETRY_S or self._refresh_task
        if is_due:
            patience_s = _PATIENCE_S if self._documents and age_s < _MAX_AGE_S else None
            await asyncio.wait({self._refresh()}, timeout=patience_s)
        if self._documents and self._clock() - self._read_at < _MAX_AGE_S:
            return self._documents
        raise IssuerUnavailable(self._failure or f"{self._issuer}: no keys")

    async def _search(self) -> IssuerDocuments:
        """Read the documents again, unless this was done a short time ago. Raises IssuerUnavailable."""
        is_due = self._clock() >= self._searched_at + _SEARCH_S
        if is_due or self._refresh_task:
            if is_due:
                self._searched_at = self._clock()
            await asyncio.wait({self._refresh()})
        if self._failure or not self._documents:
            raise IssuerUnavailable(self._failure or f"{self._issuer}: no keys")
        return self._documents

    def _refresh(self) -> asyncio.Task[None]:
        """Start a refresh, or return the one in progress. Its callers share it, and none of them can cancel it."""
        if self._refresh_task is None:
            self._refresh_task = asyncio.create_task(self._read())
            self._refreshes.add(self._refresh_task)
            self._refresh_task.add_done_callback(self._end_refresh)
        return self._refresh_task

    async def _read(self) -> None:
        started_at = self._clock()
        try:
            self._documents = await self._client.read_documents(self._issuer)
        except IssuerUnavailable as error:
            self._failure, self._failed_at = error.reason, self._clock()
        else:
            self._failure, self._failed_at, self._read_at = None, -math.inf, started_at
            self._reads += 1

    def _end_refresh(self, task: asyncio.Task[None]) -> None:
        self._refresh_task = None
        self._refreshes.discard(task)


@asynccontextmanager
async def open_issuers(allowed: AllowedAddresses) -> AsyncIterator[Issuers]:
    """Open the issuers of a process, which are requested only at allowed addresses."""
    async with open_issuer_client(allowed) as client:
        issuers = Issuers(client)
        try:
            yield issuers
        finally:
            await issuers.close()
