"""Sign-in of people with OpenID Connect: the flow, the attacks on it, and the end of the sessions."""

import re
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import asyncpg
import pytest
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient

from service.identity.members.sign_ins import read_attempt, write_attempt
from service.mutations import store as mutations_store
from tests.console.browsers import RUNS, SIGN_IN, Browser, token_of
from tests.members import add_member
from tests.oidc.issuers import new_signing_key
from tests.oidc.providers import ADA, CLIENT_ID, CLIENT_SECRET, Provider, decode_basic, running_provider
from tests.served import Api, serve

START, CHOOSE, COOKIE = f"{SIGN_IN}/start", f"{SIGN_IN}/choose", "zof_results_sign_in"
BOB = {**ADA, "sub": "bob-1", "email": "bob@example.org", "name": "Bob"}


@dataclass
class Site:
    """A console whose people sign in at a provider, and a browser."""

    provider: Provider
    browser: Browser

    @property
    def api(self) -> Api:
        return self.browser.api

    @property
    def attempt(self) -> str:
        """The cookie of the attempt."""
        return self.api.http.session.cookie_jar.filter_cookies(self.api.http.make_url(START))[COOKIE].value

    async def add_member(self, *args: Any, **values: Any) -> str:
        return await add_member(self.api, *args, **values)

    async def start(self, target: str = "", browser: Browser | None = None) -> str:
        """Begin a sign-in, and return the URL of the provider."""
        response = await (browser or self.browser).send("GET", f"{START}?next={quote(target)}")
        assert response.status == 303, await response.text()
        return response.headers["Location"]

    async def sign_in(self, claims: dict[str, Any], target: str = "", **parameters: str | None) -> ClientResponse:
        """Sign in at the provider, and return the response to the redirect of the browser."""
        return await self.browser.send("GET", self.provider.redirect(await self.start(target), claims, **parameters))

    async def is_signed_in(self) -> bool:
        return (await self.browser.send("GET", RUNS)).status == 200

    async def sign_out(self) -> ClientResponse:
        return await self.browser.post("/console/sign-out", {"form_token": token_of(await self.browser.open(RUNS))})

    def limit_attempts(self, per_second: float) -> None:
        from service.console.sessions import SESSIONS

        assert self.api.http.app is not None
        self.api.http.app[SESSIONS].sign_ins.per_second = per_second


@pytest.fixture
async def site(database_url: str) -> AsyncIterator[Site]:
    async with running_provider() as provider, serve(database_url, **provider.settings) as api:
        opened = Site(provider, Browser(api))
        opened.limit_attempts(1e6)
        yield opened


async def test_person_signs_in_and_out(site: Site) -> None:
    await site.add_member("ada@example.org", role="engineer", project_id="shop")
    page = await site.browser.open(f"{SIGN_IN}?next={RUNS}?branch=main")
    assert f'href="{START}?next=%2Fconsole%2Fruns%3Fbranch%3Dmain">Sign in with single sign-on</a>' in page
    response = await site.browser.send("GET", f"{START}?next={quote(f'{RUNS}?branch=main')}")
    cookie, location = response.headers["Set-Cookie"], response.headers["Location"]
    assert all(part in cookie for part in ("HttpOnly", "SameSite=Lax", "Path=/console/sign-in", "Max-Age=600"))
    query = parse_qs(urlsplit(location).query)
    assert location.startswith(f"{site.provider.url}/auth?response_type=code")
    assert query["redirect_uri"] == ["http://results.test/console/sign-in/callback"]
    assert (query["scope"], query["code_challenge_method"]) == (["openid email profile"], ["S256"])
    response = await site.browser.send("GET", site.provider.redirect(location, ADA))
    assert (response.status, response.headers["Location"]) == (303, f"{RUNS}?branch=main")
    assert f'{COOKIE}=""' in str(response.headers.getall("Set-Cookie"))
    [(authorization, form)] = site.provider.token_requests
    assert decode_basic(authorization) == ("results+console", "s3cret%3Awith%2Fspecial%2Bcharacters")
    assert "client_secret" not in form
    page = await site.browser.open(RUNS)
    assert re.search(r'title="Role engineer, person Ada L\. \(per_[0-9a-f]{32}\), project shop"', page)
    assert f'href="{START}"' not in page  # only one membership
    assert (await site.browser.send("GET", "/console/exports")).status == 200
    response = await site.sign_out()
    end = urlencode({"client_id": CLIENT_ID, "post_logout_redirect_uri": f"http://results.test{SIGN_IN}"})
    page = await response.text()
    assert (response.status, f'url={site.provider.url}/end?{end.replace("&", "&amp;")}"' in page) == (200, True)
    assert "Sign out</button>" not in page
    assert not await site.is_signed_in()
    async with site.api.store.pool.acquire() as connection:
        entries = await mutations_store.list_newest(connection, site.api.org_id, 10)
    person_id = await site.api.store.pool.fetchval("SELECT person_id FROM people")
    assert [(entry["action"], entry["actor"]) for entry in entries] == [
        ("POST /console/sign-out", person_id),
        ("GET /console/sign-in/callback", person_id),
    ]


async def test_attacks_on_the_response_of_the_provider_open_no_session(site: Site) -> None:
    await site.add_member("ada@example.org")
    provider, other = site.provider, new_signing_key()
    for parameters, claims, status, message in (
        ({"state": "other"}, {}, 400, "State: belongs to another sign-in"),
        ({"state": None}, {}, 400, "State: belongs to another sign-in"),
        ({"iss": "https://other.example"}, {}, 400, "Iss: the response isn&#39;t from the provider"),
        ({"code": None}, {}, 400, "Code: is missing"),
        ({"error": "access_denied"}, {}, 401, "did not sign you in: access_denied"),
        ({"error": "<script>é"}, {}, 401, "did not sign you in: unknown error"),
        ({"code": "guessed"}, {}, 401, "which can be used once"),
        ({}, {"nonce": "other"}, 401, "Nonce: the ID token belongs to another sign-in"),
        ({}, {"nonce": None}, 401, "Nonce: the ID token belongs to another sign-in"),
        ({}, {"azp": "other"}, 401, "Azp: the ID token was issued to another client"),
        ({}, {"sub": 7}, 401, "Sub: must be a text"),
        ({}, {"aud": "other"}, 401, "aud: the token is for"),
        ({}, {"aud": [CLIENT_ID, "other"]}, 401, "aud: "),
        ({}, {"iss": "https://other.example"}, 401, "iss: is"),
        ({}, {"exp": 1_000_000_000}, 401, "exp: "),
        ({}, {"email_verified": False}, 403, "hasn't verified this email address"),
        ({}, {"email_verified": "true"}, 403, "hasn't verified this email address"),
        ({}, {"email_verified": 1}, 403, "hasn't verified this email address"),
        ({}, {"email": ["ada@example.org"]}, 403, "states no email address"),
        ({}, {"email": "eve@example.org"}, 403, "<strong>eve@example.org</strong>"),
    ):
        response = await site.sign_in({**ADA, **claims}, **parameters)
        page = await response.text()
        assert (response.status, message in page) == (status, True), (parameters, claims, page)
        assert ("acme" in page, await site.is_signed_in()) == (False, False)
    provider.configuration["authorization_response_iss_parameter_supported"] = True
    provider.key, published = other, provider.key  # a token of another issuer that claims to be this one
    location = await site.start()
    callback = provider.redirect(location, ADA)
    provider.key = published
    assert "can&#39;t be used" in await site.browser.open(callback, 401)
    assert await site.api.store.pool.fetchval("SELECT count(*) FROM sessions") == 0


async def test_response_belongs_to_one_browser_and_is_used_once(site: Site) -> None:
    await site.add_member("ada@example.org")
    for target in ("https://example.com/", "//example.com/", "/console\\..", "/v1/runs", "/console/%2e%2e"):
        assert (await site.sign_in(ADA, target)).headers["Location"] == RUNS
    callback = site.provider.redirect(await site.start(), ADA)
    forged = write_attempt(read_attempt(site.attempt, time.time())._replace(target="//example.com/"))
    site.browser.api.http.session.cookie_jar.update_cookies({COOKIE: forged}, site.api.http.make_url(START))
    assert (await site.browser.send("GET", callback)).headers["Location"] == RUNS
    callback = site.provider.redirect(await site.start(), ADA)
    stolen = site.attempt
    other: TestClient[Any, Any]
    async with TestClient(site.api.http.server) as other:
        victim = Browser(Api(site.api.store, other))
        await site.start(browser=victim)
        for _ in range(2):
            assert "State: belongs to another sign-in or browser" in await victim.open(callback, 400)
        assert (await site.browser.send("GET", callback)).status == 303
        assert "has not started a sign-in" in await site.browser.open(callback, 400)
        other.session.cookie_jar.clear()
        replayed = await victim.send("GET", callback, Cookie=f"{COOKIE}={stolen}")
        assert (replayed.status, "can be used once" in await replayed.text()) == (401, True)
        for cookie in ("", "x", "W10=", "W251bGxd", "W1tbW1tb", "é"):
            response = await victim.send("GET", callback, Cookie=f"{COOKIE}={quote(cookie)}")
            assert response.status == 400, cookie
        assert (await victim.send("GET", RUNS)).status == 303


async def test_session_ends_with_the_membership(site: Site) -> None:
    member_id = await site.add_member("ada@example.org", role="admin")
    assert (await site.sign_in(ADA)).status == 303
    second = await site.sign_in({**ADA, "sub": "ada-2"})  # such as a new account with the address of a former employee
    assert second.status == 403
    await site.browser.open("/console/exports")
    pool = site.api.store.pool
    await pool.execute("UPDATE members SET role = 'viewer', last_seen_at = NULL")
    site.browser.end_caches()
    assert "the role viewer of this membership doesn&#39;t" in await site.browser.open("/console/exports", 403)
    assert await site.is_signed_in()
    assert await pool.fetchval("SELECT last_seen_at FROM members") is not None
    await pool.execute("UPDATE members SET removed_at = now() WHERE member_id = $1", member_id)
    site.browser.end_caches()
    assert not await site.is_signed_in()
    assert (await site.sign_in(ADA)).status == 403
    await site.add_member(group="qa")
    assert (await site.sign_in({**ADA, "groups": ["qa"]})).status == 303
    assert await site.is_signed_in()
    await pool.execute("DELETE FROM people")  # as the erasure of a person does
    site.browser.end_caches()
    assert not await site.is_signed_in()


async def test_person_with_several_memberships_selects_one(site: Site) -> None:
    org_id, _ = await site.api.make_organization("other")
    await site.add_member("ada@example.org", role="engineer")
    await site.add_member(group="qa", role="viewer", project_id="hidden")
    await site.add_member(group="qa", role="admin", project_id="shop")
    member_id = await site.add_member("ada@example.org", role="viewer", org_id=org_id)
    foreign = await site.add_member("bob@example.org", role="admin")
    ada = {**ADA, "groups": ["qa", 7, None, ["qa"], "x" * 300, "a\0b"]}
    response = await site.sign_in(ada, f"{RUNS}?branch=main")
    assert response.headers["Location"] == f"{CHOOSE}?next=%2Fconsole%2Fruns%3Fbranch%3Dmain"
    page = await site.browser.open(response.headers["Location"])
    shown = re.findall(r'strong">(\w+)</span> <span class="wrap small muted">([^<]+)<', page)
    assert shown == [("acme", "engineer · all projects"), ("acme", "admin · shop"), ("other", "viewer · all projects")]
    form = {"form_token": token_of(page), "next": f"{RUNS}?branch=main"}
    assert not await site.is_signed_in()
    assert (await site.browser.post(CHOOSE, {**form, "form_token": "0", "member_id": member_id})).status == 403
    assert (await site.browser.post(CHOOSE, {**form, "member_id": foreign})).status == 400
    response = await site.browser.post(CHOOSE, {**form, "member_id": member_id})
    assert (response.status, response.headers["Location"]) == (303, f"{RUNS}?branch=main")
    page = await site.browser.open(RUNS)
    assert ("other</span>" in page, f'href="{START}"' in page) == (True, True)
    assert "has expired" in await site.browser.open(CHOOSE, 401)
    assert await site.api.store.pool.fetchval("SELECT count(*) FROM sign_ins") == 0
    first_session = site.browser.session_id
    page = await site.browser.open((await site.sign_in(ada)).headers["Location"])  # the link Switch
    [shop] = re.findall(r'value="(mem_\w+)"><span class="wrap strong">acme</span> <span [^>]*>admin · shop', page)
    assert (await site.browser.post(CHOOSE, {"form_token": token_of(page), "member_id": shop})).status == 303
    assert "admin · shop" in await site.browser.open(RUNS)
    site.browser.set_session_id(str(first_session))
    assert not await site.is_signed_in()


async def test_user_info_completes_the_token_and_the_secret_can_be_in_the_form(site: Site, database_url: str) -> None:
    await site.add_member(group="qa")
    site.provider.configuration["token_endpoint_auth_methods_supported"] = ["client_secret_post"]
    thin = {"sub": "ada-1", "name": None}
    site.provider.user_info = {**ADA, "groups": "qa"}
    assert (await site.sign_in(thin)).status == 303
    assert site.provider.token_requests[0][1]["client_secret"] == CLIENT_SECRET
    assert site.provider.token_requests[0][0] == ""
    page = await site.browser.open(RUNS)
    assert ("person Ada L. (" in page, f'href="{START}"' in page) == (True, False)
    superuser = await asyncpg.connect(database_url)
    await superuser.execute("UPDATE sessions SET has_choices = NULL")  # stored by an earlier version
    await superuser.close()
    site.browser.end_caches()
    assert f'href="{START}"' in await site.browser.open(RUNS)
    site.provider.user_info["sub"] = "bob-1"
    assert "that of another person" in await (await site.sign_in(thin)).text()


async def test_missing_user_info_names_the_endpoint_and_its_status(site: Site) -> None:
    await site.add_member(group="qa")
    site.provider.configuration["userinfo_endpoint"] = f"{site.provider.url}/none"
    response = await site.sign_in({"sub": "ada-1", "name": None})
    page = await response.text()
    assert response.status == 503
    assert "the user info (userinfo_endpoint) with the status 404" in page
    assert site.provider.url not in page


async def test_provider_that_is_down_leaves_the_sign_in_with_a_key(site: Site) -> None:
    site.provider.configuration["issuer"] = "https://other.example"
    response = await site.browser.send("GET", START)
    page = await response.text()
    assert (response.status, "provider doesn&#39;t respond" in page, 'name="key"' in page) == (503, True, True)
    assert (await site.browser.sign_in()).status == 303
    assert f'href="{START}"' not in await site.browser.open(RUNS)
    assert (await site.sign_out()).headers["Location"] == SIGN_IN


async def test_attempts_of_one_address_are_limited(site: Site) -> None:
    site.limit_attempts(0.001)
    callback = site.provider.redirect(await site.start(), ADA)
    other: TestClient[Any, Any]
    async with TestClient(site.api.http.server) as other:
        statuses = [(await Browser(Api(site.api.store, other)).send("GET", START)).status for _ in range(30)]
        assert statuses == [303] * 29 + [429]
        response = await site.browser.send("GET", callback)
        assert (response.status, int(response.headers["Retry-After"]) > 0) == (429, True)
        assert "too many attempts" in await response.text()
        assert site.provider.token_requests == []


async def test_guessed_choices_of_one_address_are_limited(site: Site) -> None:
    from service.console.sessions import SESSIONS

    assert site.api.http.app is not None
    limit = site.api.http.app[SESSIONS].unknown.addresses
    limit.per_second = 0.001
    for _ in range(199):
        limit.spend("127.0.0.1")
    guessed = f"{COOKIE}={'a' * 43}"
    assert "The sign-in has expired" in await site.browser.open(CHOOSE, 401, Cookie=guessed)
    assert "too many unknown sessions" in await site.browser.open(CHOOSE, 429, Cookie=guessed)


async def test_without_a_provider_there_is_only_the_key(browser: Browser) -> None:
    assert "single sign-on" not in await browser.open(SIGN_IN)
    for path in (START, f"{SIGN_IN}/callback"):
        assert (await browser.send("GET", path)).status == 404
