"""Sign-in and sign-out: the session, its cookie, its end, and the protection of the forms."""

from collections.abc import AsyncIterator
from urllib.parse import quote

import asyncpg

from service.console.sessions import SESSIONS, TTL_S
from service.events.pages import _CHECK_S
from service.identity.keys import operations as keys_operations
from service.identity.keys.model import format_key, new_key_id, new_secret
from service.identity.members.model import form_token, new_session_id
from service.mutations import store as mutations_store
from service.version import describe_build, find_version
from tests.console.browsers import COOKIE, RUNS, SIGN_IN, Browser, token_of
from tests.served import serve


async def test_key_opens_a_session_with_a_protected_cookie(browser: Browser) -> None:
    response = await browser.sign_in()
    assert (response.status, response.headers["Location"]) == (303, RUNS)
    cookie = response.headers["Set-Cookie"]
    assert all(part in cookie for part in ("HttpOnly", "SameSite=Lax", "Path=/console", "Max-Age=43200"))
    page = await browser.open(RUNS)
    assert f"<span>zof-results {describe_build()}</span>" in page
    assert "key test (key_" in page
    assert '<span class="key"> · key &#34;test&#34;</span>' in page


async def test_version_is_shown_only_after_sign_in(browser: Browser) -> None:
    assert find_version() not in await browser.open(SIGN_IN)


async def test_page_without_a_session_returns_to_itself_after_sign_in(browser: Browser) -> None:
    response = await browser.send("GET", f"{RUNS}?branch=main")
    assert (response.status, response.headers["Location"]) == (303, f"{SIGN_IN}?next=%2Fconsole%2Fruns%3Fbranch%3Dmain")
    page = await browser.open(response.headers["Location"])
    assert f'value="{RUNS}?branch=main"' in page
    response = await browser.sign_in(next_path=f"{RUNS}?branch=main")
    assert response.headers["Location"] == f"{RUNS}?branch=main"


async def test_target_outside_of_the_console_is_ignored(browser: Browser) -> None:
    targets = (
        "https://example.com/", "//example.com/", "/\\example.com", "\\\\example.com", "javascript:alert(1)",
        "/console\\..\\..", "/console/../v1/results", "/console/%2e%2E/v1/results", "/consoles", "/console/a b",
        "/console/\r\nSet-Cookie: a=b", "/console/\x00", "/console/" + "x" * 2_000, "/v1/results",
        "/console@example.com", "/console/é", "/console/..#", "/console/%2e%2e#/runs", "/console/.#",
    )  # fmt: skip
    token = token_of(await browser.open(SIGN_IN))
    for target in targets:
        page = await browser.open(f"{SIGN_IN}?next={quote(target)}")
        assert f'name="next" value="{RUNS}"' in page, target
    response = await browser.post(SIGN_IN, {"form_token": token, "key": browser.api.key, "next": "//example.com/"})
    assert response.headers["Location"] == RUNS


async def test_rejected_key_is_not_repeated(browser: Browser) -> None:
    unknown = format_key(new_key_id(), new_secret())
    for key, message in ((unknown, ">The API key is invalid, "), ("secret text", ">Must be a complete API key")):
        response = await browser.sign_in(key)
        page = await response.text()
        assert (response.status, message in page, key in page) == (401, True, False)
    assert (await browser.send("GET", RUNS)).status == 303


async def test_only_the_digest_of_the_session_is_stored(signed_in: Browser) -> None:
    rows = await signed_in.api.store.pool.fetch("SELECT sessions::text AS row FROM sessions")
    assert len(rows) == 1
    assert str(signed_in.session_id) not in rows[0]["row"]
    assert str(signed_in.session_id) not in await signed_in.open(RUNS)


async def test_sign_in_replaces_the_session_id(browser: Browser) -> None:
    """A session ID that an attacker has set in the browser is worthless after the sign-in."""
    planted = new_session_id()
    browser.set_session_id(planted)
    assert (await browser.sign_in()).status == 303
    assert browser.session_id != planted
    browser.set_session_id(planted)
    assert (await browser.send("GET", RUNS)).status == 303


async def test_cookie_is_not_accepted_by_the_api(signed_in: Browser) -> None:
    session_id = signed_in.session_id
    for authorization in ({}, {"Authorization": f"Bearer {session_id}"}):
        response = await signed_in.send("GET", "/v1/runs", Cookie=f"{COOKIE}={session_id}", **authorization)
        assert response.status == 401


async def test_https_uses_a_host_cookie(database_url: str) -> None:
    async with serve(database_url, public_url="https://results.example") as api:
        response = await Browser(api).send("GET", SIGN_IN)
    cookie = response.headers["Set-Cookie"]
    assert cookie.startswith(f"__Host-{COOKIE}=")
    assert all(part in cookie for part in ("Secure", "HttpOnly", "SameSite=Lax", "Path=/;"))
    assert "Domain" not in cookie


async def test_sign_out_ends_the_session(signed_in: Browser) -> None:
    session_id, token = str(signed_in.session_id), token_of(await signed_in.open(RUNS))
    response = await signed_in.post("/console/sign-out", {"form_token": token})
    assert (response.status, response.headers["Location"]) == (303, SIGN_IN)
    assert signed_in.session_id is None
    signed_in.set_session_id(session_id)
    assert (await signed_in.send("GET", RUNS)).status == 303
    assert await signed_in.api.store.pool.fetchval("SELECT count(*) FROM sessions") == 0
    async with signed_in.api.store.pool.acquire() as connection:
        entries = await mutations_store.list_newest(connection, signed_in.api.org_id, 10)
    assert [entry["action"] for entry in entries] == ["POST /console/sign-out", "POST /console/sign-in"]


async def test_session_ends_with_its_secret(browser: Browser) -> None:
    api = browser.api
    for end in ("rotate", "revoke", "expire", "delete"):
        created = await api.make_key("viewer")
        assert (await browser.sign_in(created.key)).status == 303
        await browser.open(RUNS)
        async with api.store.pool.acquire() as connection:
            if end == "rotate":
                await keys_operations.rotate_key(connection, api.org_id, created.key_id)
            elif end == "revoke":
                await keys_operations.revoke_key(connection, api.org_id, created.key_id)
            elif end == "expire":
                await connection.execute("UPDATE api_keys SET expires_at = now() WHERE key_id = $1", created.key_id)
            else:
                await connection.execute("DELETE FROM api_keys WHERE key_id = $1", created.key_id)
        browser.end_caches()
        assert (await browser.send("GET", RUNS)).status == 303, end


async def test_session_expires(signed_in: Browser, database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    await connection.execute("UPDATE sessions SET expires_at = now()")
    await connection.close()
    signed_in.end_caches()
    assert (await signed_in.send("GET", RUNS)).status == 303


async def test_previous_secret_of_a_rotated_key_opens_no_session(browser: Browser) -> None:
    created = await browser.api.make_key()
    async with browser.api.store.pool.acquire() as connection:
        rotated = await keys_operations.rotate_key(connection, browser.api.org_id, created.key_id)
    response = await browser.sign_in(created.key)
    assert (response.status, "was rotated" in await response.text()) == (401, True)
    assert (await browser.sign_in(rotated.key)).status == 303


def test_ended_session_is_noticed_within_five_seconds() -> None:
    assert TTL_S + _CHECK_S < 5


async def test_wrong_form_token_is_rejected(signed_in: Browser) -> None:
    for token in ("", "0" * 64, "é", form_token(new_session_id())):
        for path in ("/console/sign-out", SIGN_IN):
            response = await signed_in.post(path, {"form_token": token, "key": signed_in.api.key})
            assert (response.status, "the form is outdated; load the page again" in await response.text()) == (
                403,
                True,
            )
    await signed_in.open(RUNS)


async def test_form_of_another_origin_is_rejected(signed_in: Browser) -> None:
    token = token_of(await signed_in.open(RUNS))
    sites = ({"Sec_Fetch_Site": site, "Origin": "http://127.0.0.1"} for site in ("cross-site", "same-site", "none"))
    origins = ({"Origin": origin} for origin in ("https://example.com", "null", "http://["))
    for headers in (*sites, *origins, {}):
        response = await signed_in.send("POST", "/console/sign-out", {"form_token": token}, **headers)
        assert response.status == 403, headers
    await signed_in.open(RUNS)


async def test_form_of_the_same_origin_is_accepted(signed_in: Browser) -> None:
    """A browser sends no Sec-Fetch-Site over HTTP to a host other than localhost."""
    token, url = token_of(await signed_in.open(RUNS)), signed_in.api.http.make_url("/")
    response = await signed_in.send("POST", "/console/sign-out", {"form_token": token}, Origin=str(url.origin()))
    assert response.status == 303


async def test_malformed_form_is_an_error(signed_in: Browser) -> None:
    url_encoded, too_many = "application/x-www-form-urlencoded", b"&".join(b"a=%d" % number for number in range(300))
    for media_type, body, status in (
        (url_encoded, b"\xff", 400),
        (url_encoded, b"a=%ff", 400),
        (url_encoded, too_many, 400),
        (url_encoded, b"x" * 100_000, 413),
        ("text/plain", b"", 415),
    ):
        headers = {"Content_Type": media_type, "Sec_Fetch_Site": "same-origin"}
        assert (await signed_in.send("POST", "/console/sign-out", body, **headers)).status == status


async def test_large_form_without_a_content_length_is_rejected(browser: Browser) -> None:

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"a=" + b"x" * 2**15

    headers = {"Content_Type": "application/x-www-form-urlencoded", "Sec_Fetch_Site": "same-origin"}
    response = await browser.send("POST", SIGN_IN, chunks(), **headers)
    assert (response.status, response.content_type) == (413, "text/html")


async def test_sign_ins_of_one_address_are_limited(browser: Browser) -> None:
    token = token_of(await browser.open(SIGN_IN))
    statuses = [(await browser.post(SIGN_IN, {"form_token": token, "key": "zof_nonsense"})).status for _ in range(31)]
    assert statuses == [401] * 30 + [429]
    response = await browser.post(SIGN_IN, {"form_token": token, "key": browser.api.key})
    assert response.status == 429
    assert int(response.headers["Retry-After"]) > 0
    assert browser.api.http.app is not None
    browser.api.http.app[SESSIONS].sign_ins.per_second = 1e6
    assert (await browser.sign_in()).status == 303
