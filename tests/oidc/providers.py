"""A provider of OpenID Connect in the test process: it signs any person in, and misbehaves as a test requests."""

import base64
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from html import escape
from secrets import token_urlsafe
from time import time
from typing import Any, Final
from urllib.parse import parse_qs, urlencode, urlsplit

from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.oidc.issuers import CONFIGURATION, KEYS, SigningKey, new_signing_key

CLIENT_ID: Final = "results console"
CLIENT_SECRET: Final = "s3cret:with/special+characters"
ADA: Final[dict[str, Any]] = {
    "sub": "ada-1", "email": "Ada@example.org", "email_verified": True, "name": "Ada L.", "groups": [],
}  # fmt: skip


@dataclass
class Provider:
    """A provider and its only client. `settings` are those of the server that uses it."""

    url: str
    key: SigningKey = field(default_factory=new_signing_key)
    configuration: dict[str, Any] = field(default_factory=dict)  # in addition to the usual one
    user_info: dict[str, Any] = field(default_factory=dict)
    token_requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)  # Authorization, and the form
    people: dict[str, Mapping[str, Any]] = field(default_factory=dict)  # the claims by the text of a link for browsers
    console: str = ""  # the URL of the console that browsers use
    _codes: dict[str, tuple[str, str]] = field(default_factory=dict)  # the challenge and the ID token by code

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "public_url": "http://results.test", "oidc_issuer": self.url, "oidc_client_id": CLIENT_ID,
            "oidc_client_secret": CLIENT_SECRET, "issuer_allow_loopback": True,
        }  # fmt: skip

    def redirect(self, location: str, claims: Mapping[str, Any], **parameters: str | None) -> str:
        """Return the path to which the browser returns after a sign-in. `None` omits a claim or a parameter."""
        query = {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}
        code, now = token_urlsafe(16), int(time())
        standard = {"iss": self.url, "aud": CLIENT_ID, "iat": now, "exp": now + 60, "nonce": query["nonce"]}
        signed = {name: value for name, value in {**standard, **claims}.items() if value is not None}
        self._codes[code] = query["code_challenge"], self.key.sign(signed)
        returned = {"code": code, "state": query["state"], **parameters}
        sent = {name: value for name, value in returned.items() if value is not None}
        return f"{urlsplit(query['redirect_uri']).path}?{urlencode(sent)}"

    async def respond(self, request: web.Request) -> web.Response:
        """Return the response to any request."""
        if request.path == CONFIGURATION:
            endpoints = {"authorization_endpoint": "/auth", "token_endpoint": "/token", "userinfo_endpoint": "/me"}
            urls = {name: self.url + path for name, path in {**endpoints, "end_session_endpoint": "/end"}.items()}
            urls |= {"issuer": self.url, "jwks_uri": self.url + KEYS}
            return web.json_response({**urls, **self.configuration})
        if request.path == KEYS:
            return web.json_response({"keys": [self.key.jwk]})
        if request.path == "/token":
            return self._redeem(request.headers.get("Authorization", ""), await _form_of(request))
        if request.path == "/favicon.ico":
            return web.Response(status=204)
        if request.path in ("/auth", "/end"):
            return web.Response(text=self._page(str(request.url)), content_type="text/html")
        if request.path == "/me" and request.headers.get("Authorization") == "Bearer access":
            return web.json_response(self.user_info)
        raise web.HTTPNotFound

    def _page(self, url: str) -> str:
        """Return the page that lists the people who can sign in, or the page of the sign-out."""
        if urlsplit(url).path == "/end":
            return "<title>Provider</title>Signed out at the provider"
        links = {text: self.console + self.redirect(url, claims) for text, claims in self.people.items()}
        return "".join(f'<p><a href="{escape(link)}">{escape(text)}</a>' for text, link in links.items())

    def _redeem(self, authorization: str, form: dict[str, str]) -> web.Response:
        self.token_requests.append((authorization, form))
        challenge, id_token = self._codes.pop(form["code"], ("", ""))
        digest = sha256(form["code_verifier"].encode()).digest()
        if challenge != base64.urlsafe_b64encode(digest).decode().rstrip("="):
            return web.json_response({"error": "invalid_grant"}, status=400)
        return web.json_response({"id_token": id_token, "access_token": "access", "token_type": "Bearer"})


@asynccontextmanager
async def running_provider() -> AsyncIterator[Provider]:
    """Run a provider on loopback."""
    provider, app = Provider(""), web.Application()
    app.router.add_route("*", "/{path:.*}", provider.respond)
    async with TestServer(app) as server:
        provider.url = str(server.make_url("")).rstrip("/")
        yield provider


async def _form_of(request: web.Request) -> dict[str, str]:
    return {name: str(value) for name, value in (await request.post()).items()}


def decode_basic(authorization: str) -> tuple[str, str]:
    """Return the login and the password of the header, as they were sent."""
    login, _, password = base64.b64decode(authorization.removeprefix("Basic ")).decode().partition(":")
    return login, password
