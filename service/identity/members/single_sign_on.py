"""Single sign-on: the requests to the provider at which people sign in, and the sessions of people."""

from typing import Any, Final

from service.database.database import Connection, Pool, as_organization
from service.domain.errors import Unauthorized, Unavailable
from service.domain.ids import new_id
from service.identity.keys.model import Caller
from service.identity.members import store
from service.identity.members.model import SESSION_LIFETIME, Identity, Membership, session_digest, strongest_memberships
from service.identity.members.sign_ins import (
    SIGN_IN_LIFETIME,
    OidcClient,
    SignInAttempt,
    StatedIdentity,
    add_user_info,
    authorization_url,
    check_token,
    hide_narrower,
    is_complete,
    read_code,
    read_identity,
    sign_out_url,
)
from service.log import log
from service.outbound.issuers import Endpoints, Issuers, IssuerUnavailable, TokenRefused

_UNAVAILABLE: Final = "the sign-in provider doesn't respond; try again later, or sign in with an API key"

_NO_USER_INFO: Final = (
    "the sign-in provider responds to the request for the user info (userinfo_endpoint) with the status {}; ask the"
    " operator of this console to check the provider, or sign in with an API key"
)


async def find_authorization_url(
    issuers: Issuers, client: OidcClient, attempt: SignInAttempt, *, as_other: bool = False
) -> str:
    """Return the URL of the provider at which the person signs in. Raises Unavailable."""
    endpoints = await _find_endpoints(issuers, client)
    return authorization_url(client, endpoints.authorization_endpoint, attempt, as_other=as_other)


async def find_sign_out_url(issuers: Issuers, client: OidcClient, return_to: str) -> str | None:
    """Return the URL of the provider at which the person signs out. None if the provider has none or is down."""
    try:
        endpoints = await _find_endpoints(issuers, client)
    except Unavailable:
        return None
    end_session = endpoints.end_session_endpoint
    return None if end_session is None else sign_out_url(client, end_session, return_to)


async def identify(
    issuers: Issuers, client: OidcClient, attempt: SignInAttempt, query: list[tuple[str, str]]
) -> StatedIdentity:
    """Return who has signed in at the provider, which has redirected the browser with this query.

    Raises InvalidRequest, Unauthorized, and Unavailable.
    """
    endpoints = await _find_endpoints(issuers, client)
    code = read_code(query, client.issuer, requires_issuer=endpoints.supports_iss_parameter)
    try:
        tokens = await _redeem(issuers, client, endpoints, attempt, code)
        claims = await _verify(issuers, client, tokens.get("id_token"))
        check_token(client, attempt, claims)
        claims = await _complete(issuers, client, endpoints, claims, tokens.get("access_token"))
    except IssuerUnavailable as error:
        raise _unavailable(error) from error
    return read_identity(client, claims)


async def find_choices(pool: Pool, identity: Identity) -> list[Membership]:
    """Return the memberships among which a person chooses."""
    return hide_narrower(await find_memberships(pool, identity))


async def find_memberships(pool: Pool, identity: Identity) -> list[Membership]:
    """Return the memberships of a person, of which the person chooses one, sorted by organization and project.

    A member of an email matches the person who signed in with it first, and before that anyone whose verified email it
    is. A member of a group matches everyone in the group.
    """
    return strongest_memberships(await store.find_memberships(pool, identity))


async def recognize(pool: Pool, membership: Membership, identity: Identity) -> Caller:
    """Return the caller who signs in with this membership. Raises Unauthorized if the membership was removed."""
    org_id = membership.org_id
    async with as_organization(pool, org_id) as connection, connection.transaction():
        person_id = await record_sign_in(connection, membership, identity)
    return Caller(org_id, person_id, membership.role, membership.project_id)


async def record_sign_in(connection: Connection, membership: Membership, identity: Identity) -> str:
    """Record a person who signs in with a membership, and return the ID of the person (per_…).

    Binds the members with the email of the person to the person. Raises Unauthorized if the membership was removed, or
    bound to another person, since it was found. The connection must belong to the organization of the membership.
    """
    person_id = await store.record_person(connection, membership.org_id, new_id("per"), identity)
    if identity.email is not None:
        await store.bind_email(connection, membership.org_id, person_id, identity.email)
    if not await store.confirm(connection, membership, person_id, list(identity.groups)):
        raise Unauthorized("the membership was removed; sign in again")
    return person_id


async def sign_in(
    connection: Connection, caller: Caller, member_id: str, session_id: str, *, has_choices: bool
) -> None:
    """Create a session of a recognized person, and store only the digest of its ID.

    `has_choices` states whether the person has other memberships.
    """
    ids = caller.org_id, caller.credential_id, member_id
    digest = session_digest(session_id)
    await store.insert_of_person(connection, *ids, digest, SESSION_LIFETIME, has_choices=has_choices)


async def postpone(pool: Pool, identity: Identity, sign_in_id: str) -> None:
    """Store a person who still has to choose a membership."""
    await store.insert_sign_in(pool, session_digest(sign_in_id), identity, SIGN_IN_LIFETIME)


async def find_postponed(pool: Pool, sign_in_id: str) -> Identity | None:
    """Return the person who still has to choose a membership, or None if the sign-in is unknown or has expired."""
    return await store.find_sign_in(pool, session_digest(sign_in_id))


async def end_postponed(pool: Pool, sign_in_id: str) -> None:
    """Delete the sign-in of a person who has chosen a membership."""
    await store.delete_sign_in(pool, session_digest(sign_in_id))


async def _find_endpoints(issuers: Issuers, client: OidcClient) -> Endpoints:
    try:
        return await issuers.find_endpoints(client.issuer)
    except IssuerUnavailable as error:
        raise _unavailable(error) from error


async def _redeem(
    issuers: Issuers, client: OidcClient, endpoints: Endpoints, attempt: SignInAttempt, code: str
) -> dict[str, Any]:
    """Return the response of the token endpoint. Raises Unauthorized, and IssuerUnavailable."""
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": client.redirect_uri,
        "code_verifier": attempt.verifier,
    }
    secret = (client.client_id, client.client_secret) if endpoints.accepts_basic else None
    if secret is None:
        form |= {"client_id": client.client_id, "client_secret": client.client_secret}
    status, body = await issuers.post_form(endpoints.token_endpoint, form, secret)
    if status == 200:
        return body
    error = str(body.get("error"))[:100]
    log.warning("sign_in_code_rejected", status=status, error=error)
    if error == "invalid_grant":
        raise Unauthorized("the provider rejects the code of this sign-in, which can be used once; start again")
    raise Unauthorized("the provider rejects the requests of this console; ask its operator to check RESULTS_OIDC_…")


async def _verify(issuers: Issuers, client: OidcClient, id_token: object) -> dict[str, Any]:
    """Return the claims of an ID token. Raises Unauthorized, and IssuerUnavailable."""
    if not isinstance(id_token, str):
        raise Unauthorized("the provider returned no ID token; ask the operator of this console to check the client")
    try:
        return await issuers.verify(id_token, client.issuer, client.client_id)
    except TokenRefused as error:
        log.warning("sign_in_token_rejected", reason=error.reason)
        raise Unauthorized(f"the ID token of the provider can't be used: {error.reason}") from error


async def _complete(
    issuers: Issuers, client: OidcClient, endpoints: Endpoints, claims: dict[str, Any], access_token: object
) -> dict[str, Any]:
    """Return the claims, with the claims of the user info if the ID token lacks some.

    Raises IssuerUnavailable, and Unavailable with the status if the provider rejects the request.
    """
    url = endpoints.userinfo_endpoint
    if is_complete(client, claims) or url is None or not isinstance(access_token, str):
        return claims
    try:
        user_info = await issuers.get_object(url, access_token)
    except IssuerUnavailable as error:
        if error.status is None:
            raise
        log.warning("sign_in_provider_unavailable", reason=error.reason)
        raise Unavailable(_NO_USER_INFO.format(error.status)) from error
    return add_user_info(client, claims, user_info)


def _unavailable(error: IssuerUnavailable) -> Unavailable:
    log.warning("sign_in_provider_unavailable", reason=error.reason)
    return Unavailable(_UNAVAILABLE)
