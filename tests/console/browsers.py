"""A browser without scripts: cookies, pages, and forms of the console."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from html import unescape
from typing import Any

from aiohttp import ClientResponse

from tests.served import Api

SIGN_IN = "/console/sign-in"
RUNS = "/console/runs"
COOKIE = "zof_results_session"


@dataclass
class Browser:
    """A browser with the cookies of the client of the API."""

    api: Api

    async def open(self, path: str, status: int = 200, **headers: str) -> str:
        """Return the HTML of a page, which must have this status."""
        response = await self.send("GET", path, **headers)
        text = await response.text()
        assert response.status == status, text
        assert response.content_type == "text/html"
        return text

    async def send(self, method: str, path: str, data: Any = None, **headers: str) -> ClientResponse:
        """Return the response to a request, without following redirects."""
        sent = {"Accept": "text/html", **{name.replace("_", "-"): value for name, value in headers.items()}}
        return await self.api.http.request(method, path, data=data, headers=sent, allow_redirects=False)

    async def post(self, path: str, fields: Mapping[str, str], **headers: str) -> ClientResponse:
        """Send a form with exactly these fields from a page of the same origin."""
        return await self.send("POST", path, fields, **{"Sec_Fetch_Site": "same-origin", **headers})

    async def sign_in(self, key: str | None = None, next_path: str = "") -> ClientResponse:
        """Sign in with the form of the sign-in page."""
        token = token_of(await self.open(SIGN_IN))
        return await self.post(SIGN_IN, {"form_token": token, "key": key or self.api.key, "next": next_path})

    @property
    def session_id(self) -> str | None:
        cookies = self.api.http.session.cookie_jar.filter_cookies(self.api.http.make_url("/console"))
        return cookies[COOKIE].value if COOKIE in cookies else None

    def set_session_id(self, value: str) -> None:
        self.api.http.session.cookie_jar.update_cookies({COOKIE: value}, self.api.http.make_url("/console/"))

    def end_caches(self) -> None:
        """Let the process look up keys and sessions again, as it does within 5 s."""
        from service.console.sessions import SESSIONS

        assert self.api.http.app is not None
        self.api.http.app[SESSIONS].cache.clear()
        self.api.resources.key_cache.clear()


def token_of(page: str) -> str:
    found = re.search(r'name="form_token" value="([^"]+)"', page)
    assert found is not None, page
    return unescape(found[1])
