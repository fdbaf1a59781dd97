"""HTTP requests to an issuer of OpenID Connect: its configuration, its keys, and its token endpoint."""

import asyncio
import base64
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple
from urllib.parse import quote_plus, urlsplit

import aiohttp
import orjson

from service.domain.addresses import AllowedAddresses, is_loopback, parse_address
from service.outbound.guarded_sessions import open_guarded_session, read_start
from service.outbound.json_web_keys import BrokenKeySet, KeySet, read_keys
from service.version import user_agent

_MAX_BYTES: Final = 256 * 1024  # of a document; those of CI systems have at most 10 KiB
_DEADLINE_S: Final = 5.0  # of all requests that a caller waits for
_MAX_URL_CHARS: Final = 2_000
_MAX_REASON_CHARS: Final = 1_000
_SUPPORTS_ISS: Final = "authorization_response_iss_parameter_supported"
_AUTHENTICATION: Final = "token_endpoint_auth_methods_supported"
_BASIC: Final = "client_secret_basic"
_URLS: Final = ("authorization_endpoint", "token_endpoint", "end_session_endpoint", "userinfo_endpoint")


class IssuerUnavailable(Exception):
    """The issuer doesn't respond, or its documents can't be used. `reason` is for admins and logs.

    It can contain internal addresses, so don't show it to callers who aren't admins. `status` is that of a response
    with another status than 200.
    """

    def __init__(self, reason: str, status: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status


class Endpoints(NamedTuple):
    """The endpoints of a provider at which people sign in, as its configuration states them."""

    authorization_endpoint: str
    token_endpoint: str
    end_session_endpoint: str | None
    userinfo_endpoint: str | None
    accepts_basic: bool  # the secret of the client in the header Authorization, else in the form
    supports_iss_parameter: bool  # of the response to an authorization request (RFC 9207)


class IssuerDocuments(NamedTuple):
    """What the service uses of the configuration of an issuer, and its keys."""

    urls: Mapping[str, str]
    accepts_basic: bool
    supports_iss_parameter: bool
    keys: KeySet


class IssuerClient:
    """A client of issuers. Each method ends within 5 s and raises only IssuerUnavailable."""

    def __init__(self, session: aiohttp.ClientSession, *, allows_loopback: bool) -> None:
        self._session = session
        self._allows_loopback = allows_loopback

    async def read_documents(self, issuer: str) -> IssuerDocuments:
        """Read the configuration of an issuer and its keys."""
        if "?" in issuer or "#" in issuer:
            raise IssuerUnavailable(f"{issuer!r:.200}: must have no query and no fragment")
        url = f"{issuer.rstrip('/')}/.well-known/openid-configuration"
        async with _deadline(url):
            configuration = await self._get(url)
            stated, keys_url = configuration.get("issuer"), configuration.get("jwks_uri")
            if stated != issuer:
                raise IssuerUnavailable(f"{url}: states the issuer {stated!r:.200}, which must be {issuer!r:.200}")
            if not isinstance(keys_url, str):
                raise IssuerUnavailable(f"{url}: has no jwks_uri")
            document = await self._get(keys_url)
        try:
            return _read_configuration(configuration, read_keys(document))
        except BrokenKeySet as error:
            raise IssuerUnavailable(f"{keys_url}: {error}") from None

    async def post_form(
        self, url: str, form: Mapping[str, str], basic_auth: tuple[str, str] | None = None
    ) -> tuple[int, dict[str, Any]]:
        """Post a form. Return the status and the JSON object of the response, also of an error."""
        self.check_url(url)
        headers = {"Authorization": _basic_credentials(*basic_auth)} if basic_auth else None
        request = self._session.post(url, data=form, headers=headers, allow_redirects=False)
        async with _deadline(url), request as response:
            return response.status, await _read_object(url, response)

    async def get_object(self, url: str, access_token: str) -> dict[str, Any]:
        """Return the JSON object at a URL that needs an access token."""
        async with _deadline(url):
            return await self._get(url, {"Authorization": f"Bearer {access_token}"})

    def find_endpoints(self, issuer: str, documents: IssuerDocuments) -> Endpoints:
        """Return the endpoints for the sign-in of people."""
        authorization, token, end_session, userinfo = (documents.urls.get(name) for name in _URLS)
        if authorization is None or token is None:
            raise IssuerUnavailable(f"{issuer}: its configuration needs {_URLS[0]} and {_URLS[1]}")
        for url in documents.urls.values():
            self.check_url(url)
        return Endpoints(
            authorization, token, end_session, userinfo, documents.accepts_basic, documents.supports_iss_parameter
        )

    def check_url(self, url: str) -> None:
        """Raise IssuerUnavailable unless a URL uses HTTPS, or HTTP with a loopback address in development."""
        try:
            parts = urlsplit(url)
            host, _ = parts.hostname, parts.port
        except ValueError:
            raise IssuerUnavailable(f"{url!r:.200}: must be a valid URL") from None
        is_local = self._allows_loopback and host is not None and _is_loopback(host)
        if not host or parts.username is not None or len(url) > _MAX_URL_CHARS or not url.isprintable() or " " in url:
            raise IssuerUnavailable(
                f"{url!r:.200}: must have a host, no user name or spaces, and at most {_MAX_URL_CHARS} characters"
            )
        if parts.scheme != "https" and not (is_local and parts.scheme == "http"):
            raise IssuerUnavailable(f"{url}: must start with https://")

    async def _get(self, url: str, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
        self.check_url(url)
        async with self._session.get(url, headers=headers, allow_redirects=False) as response:
            if response.status != 200:
                redirect = ", and redirects aren't followed" if 300 <= response.status < 400 else ""
                message = f"{url}: responds with the status {response.status}{redirect}"
                raise IssuerUnavailable(message, response.status)
            return await _read_object(url, response)


@asynccontextmanager
async def open_issuer_client(allowed: AllowedAddresses) -> AsyncIterator[IssuerClient]:
    """Open a client that connects only to allowed addresses."""
    headers = {"User-Agent": user_agent(), "Accept": "application/json", "Accept-Encoding": "identity"}
    async with open_guarded_session(allowed, headers) as session:
        yield IssuerClient(session, allows_loopback=allowed.loopback)


@asynccontextmanager
async def _deadline(url: str) -> AsyncIterator[None]:
    """Limit the time of the block, and convert the errors of its requests to IssuerUnavailable."""
    try:
        async with asyncio.timeout(_DEADLINE_S):
            yield
    except TimeoutError:
        raise IssuerUnavailable(f"{url}: no complete response within {_DEADLINE_S:g} s") from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise IssuerUnavailable(f"{url}: {type(error).__name__}: {error}"[:_MAX_REASON_CHARS]) from error


async def _read_object(url: str, response: aiohttp.ClientResponse) -> dict[str, Any]:
    body = await read_start(response, _MAX_BYTES + 1)
    if len(body) > _MAX_BYTES:
        raise IssuerUnavailable(f"{url}: the response has more than {_MAX_BYTES // 1024} KiB")
    try:
        value = orjson.loads(body)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise IssuerUnavailable(f"{url}: the response with the status {response.status} isn't a JSON object")
    return value


def _basic_credentials(client_id: str, secret: str) -> str:
    """Return the value of a header Authorization, with both parts encoded as RFC 6749, section 2.3.1, requires."""
    return f"Basic {base64.b64encode(f'{quote_plus(client_id)}:{quote_plus(secret)}'.encode()).decode()}"


def _read_configuration(configuration: Mapping[str, Any], keys: KeySet) -> IssuerDocuments:
    """Return the values that the service uses; a configuration can be large, and is cached."""
    urls = {name: configuration.get(name) for name in _URLS}
    methods = configuration.get(_AUTHENTICATION, [_BASIC])
    return IssuerDocuments(
        {name: url for name, url in urls.items() if isinstance(url, str) and len(url) <= _MAX_URL_CHARS},
        isinstance(methods, list) and _BASIC in methods,
        configuration.get(_SUPPORTS_ISS) is True,
        keys,
    )


def _is_loopback(host: str) -> bool:
    address = parse_address(host)
    return is_loopback(address) if address else host == "localhost"
