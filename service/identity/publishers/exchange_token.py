"""Exchange the ID token of a CI job for a key of 15 minutes (RFC 8693)."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from service.database.database import Connection, Pool, as_organization
from service.domain.errors import Unavailable
from service.domain.texts import is_storable
from service.identity.keys.model import format_key, new_key_id, new_secret, secret_digest
from service.identity.publishers import store
from service.identity.publishers.job_claims import describe_job, find_unsafe, name_repository
from service.identity.publishers.model import (
    JobClaims,
    Publisher,
    default_name,
    describe_mismatch,
    identities_of,
    matches,
)
from service.identity.publishers.store import NewExchange
from service.identity.publishers.token_exchanges import (
    KEY_LIFETIME,
    MAX_EXCHANGES,
    ExchangeRefused,
    choose_publisher,
    find_of_repository,
    refuse_unknown,
    shown_claims,
    token_digest,
)
from service.log import log
from service.outbound.id_tokens import read_token
from service.outbound.issuers import Issuers, IssuerUnavailable, TokenRefused

_MAX_KEY_NAME: Final = 200
_KNOWN_S: Final = 60.0
_RETRY_S: Final = 5.0


class TokenRequest(NamedTuple):
    """A token, and what the key is for. A scope names a project."""

    token: str
    scope: str | None
    organization: str | None


class IssuedKey(NamedTuple):
    """The new key of a job, which isn't stored, and its project."""

    key: str
    project_id: str


class AuthenticToken(NamedTuple):
    """A token whose signature is valid, with its claims."""

    issuer: str
    digest: bytes
    claims: Mapping[str, Any]

    def job(self, publisher: Publisher) -> JobClaims:
        """Return the job that the token describes."""
        return describe_job(publisher.publisher_id, publisher.provider, self.issuer, self.claims)


class PublisherIssuers:
    """The issuers of all publishers, which are read at most once a minute, however many tokens strangers send."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._issuers: set[str] = set()
        self._due_at = 0.0
        self._lock = asyncio.Lock()

    async def contain(self, issuer: str) -> bool:
        """Return whether a publisher had this issuer at the last time. Raises Unavailable."""
        async with self._lock:
            if (now := time.monotonic()) >= self._due_at:
                self._due_at = now + _RETRY_S
                self._issuers = await store.list_issuers(self._pool)
                self._due_at = now + _KNOWN_S
        return issuer in self._issuers


async def is_authentic(known: PublisherIssuers, issuers: Issuers, audience: str | None, token: str) -> bool:
    """Return whether an issuer of a publisher signed the token for this service, without a query for each token.

    The keys of the issuer are read if they aren't cached: strangers behind the proxy of the jobs can use up the limit
    of failed exchanges after a start, before the first keys are read. Raises Unavailable.
    """
    try:
        issuer = read_token(token).issuer
        if audience is None or not await known.contain(issuer):
            return False
        await _read_claims(issuers, issuer, audience, token)
    except TokenRefused:
        return False
    return True


async def exchange_token(pool: Pool, issuers: Issuers, audience: str | None, request: TokenRequest) -> IssuedKey:
    """Return a new key of the job. `audience` is the URL of this service, or None if an operator hasn't set it.

    The exchange is recorded for the admins of an organization, also a refused one if the token is authentic and its IDs
    are the IDs of a publisher. Only issuers that a publisher names are contacted. Raises ExchangeRefused, and
    Unavailable if the keys of the issuer aren't known.
    """
    if audience is None:
        raise ExchangeRefused(
            "invalid_request",
            "subject_token: this server exchanges no tokens, because its operator hasn't set RESULTS_PUBLIC_URL, the"
            " audience of tokens",
        )
    issuer = _read_issuer(request.token)
    if not (is_storable(issuer) and await store.knows_issuer(pool, issuer)):
        raise _refuse("the issuer is that of no publisher", issuer, audience)
    token = await _verify(pool, issuers, issuer, audience, request)
    of_repository = await _find_of_repository(pool, issuer, request, token.claims)
    accepting = [publisher for publisher in of_repository if matches(publisher, token.claims)]
    if not accepting:
        await _record_refusals(pool, of_repository, token, None)
        raise _refuse("no publisher matches its claims", issuer, audience)
    publisher = choose_publisher(accepting, request.scope)
    if reason := find_unsafe(publisher.provider, token.claims):
        await _record_refusals(pool, [publisher], token, reason)
        raise _refuse_token(reason)
    issued, refusal = await _issue(pool, publisher, token)
    if issued is None:
        if refusal is None:
            raise _refuse("the publisher was changed meanwhile", issuer, audience)
        await _record_refusals(pool, [publisher], token, refusal)
        raise _refuse_token(refusal)
    return issued


def _read_issuer(token: str) -> str:
    """Return the unverified issuer. A malformed token is refused before anything depends on the publishers."""
    try:
        return read_token(token).issuer
    except TokenRefused as refused:
        raise _refuse_token(refused.reason) from None


async def _find_of_repository(
    pool: Pool, issuer: str, request: TokenRequest, claims: Mapping[str, Any]
) -> list[Publisher]:
    """Return the publishers of the organization with the IDs of an authentic token. Raises ExchangeRefused."""
    found = await store.find_by_ids(pool, issuer, identities_of(claims))
    organization = request.organization
    return find_of_repository([each for each in found if organization in (None, each.slug)], claims)


async def _verify(pool: Pool, issuers: Issuers, issuer: str, audience: str, request: TokenRequest) -> AuthenticToken:
    """Return the authentic token. The reason of a refusal is only for the jobs of a publisher, and for its admins."""
    token = request.token
    try:
        claims = await _read_claims(issuers, issuer, audience, token)
    except TokenRefused as refused:
        if refused.claims is not None:
            authentic = AuthenticToken(issuer, token_digest(token, {**refused.claims, "iss": issuer}), refused.claims)
            if of_repository := await _find_of_repository(pool, issuer, request, refused.claims):
                await _record_refusals(pool, of_repository, authentic, refused.reason)
                raise _refuse_token(refused.reason) from None
        raise _refuse(refused.reason, issuer, audience) from None
    return AuthenticToken(issuer, token_digest(token, claims), claims)


async def _read_claims(issuers: Issuers, issuer: str, audience: str, token: str) -> dict[str, Any]:
    """Return the claims of an authentic token. Raises TokenRefused and Unavailable."""
    try:
        return await issuers.verify(token, issuer, audience)
    except IssuerUnavailable as error:
        log.warning("issuer_unavailable", issuer=issuer, reason=error.reason)
        raise Unavailable("the keys of the issuer of the token can't be read; try again later") from None


async def _issue(pool: Pool, publisher: Publisher, token: AuthenticToken) -> tuple[IssuedKey | None, str | None]:
    """Insert the key, or return why the token gets no further one. Both are None if the publisher was changed."""
    async with as_organization(pool, publisher.org_id) as connection, connection.transaction():
        use = await store.lock_token(connection, publisher.org_id, token.digest)
        if use.revoked:
            return None, "the keys of this token were revoked; request a new token"
        if use.keys >= MAX_EXCHANGES:
            return None, f"this token was already exchanged {MAX_EXCHANGES} times; request a new token"
        if not await store.use(connection, publisher, *_default_names(publisher, token)):
            return None, None
        return await _insert(connection, publisher, token), None


def _default_names(publisher: Publisher, token: AuthenticToken) -> tuple[str, str]:
    """Return the default name of the publisher before its first token, and the one with the name of the repository."""
    origin = publisher.provider, token.issuer, publisher.claims
    return default_name(*origin), default_name(*origin, name_repository(publisher.provider, token.claims))


async def _insert(connection: Connection, publisher: Publisher, token: AuthenticToken) -> IssuedKey:
    key_id, secret, job = new_key_id(), new_secret(), token.job(publisher)
    await store.insert_job_key(
        connection, publisher.org_id, key_id, job.job[:_MAX_KEY_NAME], publisher.role, publisher.project_id,
        secret_digest(secret), KEY_LIFETIME, token.digest, job,
    )  # fmt: skip
    await store.insert_exchange(connection, publisher.org_id, _exchange(publisher, token, key_id, None))
    return IssuedKey(format_key(key_id, secret), publisher.project_id)


async def _record_refusals(
    pool: Pool, of_repository: Sequence[Publisher], token: AuthenticToken, reason: str | None
) -> None:
    """Record the refusal for each project with a publisher of the repository.

    Without a reason, it's the difference between the claims of the token and the claims of the publisher.
    """
    known = {(publisher.org_id, publisher.project_id): publisher for publisher in reversed(of_repository)}
    for (org_id, _), publisher in known.items():
        refusal = reason or describe_mismatch(publisher, token.claims)
        async with as_organization(pool, org_id) as connection:
            await store.insert_exchange(connection, org_id, _exchange(publisher, token, None, refusal))


def _exchange(publisher: Publisher, token: AuthenticToken, key_id: str | None, refusal: str | None) -> NewExchange:
    claims = shown_claims(publisher, token.claims)
    return NewExchange(
        publisher.publisher_id, token.issuer, token.digest, token.job(publisher).job, publisher.project_id, key_id,
        refusal, claims,
    )  # fmt: skip


def _refuse_token(reason: str) -> ExchangeRefused:
    return ExchangeRefused("invalid_request", f"subject_token: {reason}")


def _refuse(reason: str, issuer: str, audience: str) -> ExchangeRefused:
    """Log the reason, which isn't for strangers."""
    log.info("token_refused", issuer=issuer, reason=reason)
    return refuse_unknown(audience)
