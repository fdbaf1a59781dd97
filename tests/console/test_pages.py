"""What all pages have in common: errors, headers, permissions, static files, and the root of the API."""

import re

import pytest
from aiohttp import web
from yarl import URL

from service.api import middleware
from service.console import routes
from service.console.pages import ConsoleRoute, page
from service.console.rendering import page_url
from service.domain.errors import Unavailable
from service.runs import pages as runs_pages
from tests.console.browsers import RUNS, SIGN_IN, Browser, token_of
from tests.run_events import result, run_event
from tests.served import serve

WRITE = "/console/write"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self';"
    " base-uri 'none'; frame-ancestors 'none'"
)


async def test_unknown_path_is_a_page_with_the_request_id(browser: Browser) -> None:
    for path in ("/console/nothing", "/console/runs/", "/console/static/x.css"):
        response = await browser.send("GET", path)
        text = await response.text()
        assert (response.status, response.content_type) == (404, "text/html")
        assert response.headers["X-Request-Id"] in text


async def test_wrong_method_is_a_page(signed_in: Browser) -> None:
    response = await signed_in.post(RUNS, {})
    assert (response.status, response.content_type) == (405, "text/html")
    assert response.headers["Allow"] == "GET,HEAD"


async def test_unexpected_exception_is_a_page_without_internals(
    signed_in: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise RuntimeError("the internal cause")

    monkeypatch.setattr(runs_pages, "list_runs", fail)
    text = await signed_in.open(RUNS, 500)
    assert "internal error" in text
    assert "internal cause" not in text


async def test_no_page_shows_escape_sequences(signed_in: Browser) -> None:
    """Names have them, too, for example those of parametrized tests."""
    red = "\x1b[31mred\x1b[0m"
    failure = {"type": red, "message": f"boom {red}", "details": red}
    failed = result(red, "failed", suite=red, file=red, properties={red: red}, failure=failure)
    await signed_in.api.store.ingest(run_event("run_1", [failed]))
    [stored] = (await signed_in.api.get("/v1/results"))["data"]
    [group] = (await signed_in.api.get("/v1/failures", {"run_id": "run_1"}))["data"]
    ids = (f"results/{stored['id']}", f"cases/{stored['case']}", f"failures/{group['id']}", "health?project_id=shop")
    for path in (*ids, "runs/run_1", "runs/run_1/results", "runs/run_1/changes"):
        page_text = await signed_in.open(f"/console/{path}")
        assert ("\x1b" in page_text, "red" in page_text, "[31m" in page_text) == (False, True, False), path


async def test_too_many_connections_are_a_page(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    def reject(*_: object) -> None:
        raise Unavailable("too many open connections; retry later")

    monkeypatch.setattr(middleware, "ApiProtocol", web.RequestHandler)
    monkeypatch.setattr(web.RequestHandler, "check_limit", reject, raising=False)
    assert "too many open connections" in await browser.open(SIGN_IN, 503)
    response = await browser.send("GET", "/v1/runs")
    assert (response.status, response.content_type) == (503, "application/json")


async def test_every_response_has_the_security_headers(signed_in: Browser) -> None:
    for path in (RUNS, "/console/nothing", SIGN_IN, static_url(await signed_in.open(RUNS))):
        headers = (await signed_in.send("GET", path)).headers
        assert headers["Content-Security-Policy"] == POLICY
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "same-origin"
        expected = "public, max-age=31536000, immutable" if "/static/" in path else "no-store"
        assert headers["Cache-Control"] == expected


def static_url(page_text: str) -> str:
    found = re.search(r'src="(/console/static/live\.[0-9a-f]{12}\.js)"', page_text)
    assert found is not None
    return found[1]


async def test_static_file_is_compressed_for_clients_that_accept_it(signed_in: Browser) -> None:
    path = static_url(await signed_in.open(RUNS))
    plain = await signed_in.send("GET", path, Accept_Encoding="identity")
    compressed = await signed_in.send("GET", path, Accept_Encoding="gzip")
    assert (plain.content_type, "Content-Encoding" in plain.headers) == ("text/javascript", False)
    assert compressed.headers["Content-Encoding"] == "gzip"
    assert await compressed.read() == await plain.read()


async def test_role_without_the_permission_can_not_open_a_page_or_send_its_form(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def write(_: web.Request) -> web.Response:
        return web.Response(text="written")

    guarded = page("quarantines:manage", write)
    monkeypatch.setattr(routes, "ROUTES", (*routes.ROUTES, ConsoleRoute("write", WRITE, guarded, guarded)))
    async with serve(database_url) as api:
        browser = Browser(api)
        await browser.sign_in((await api.make_key("viewer")).key)
        token = token_of(await browser.open(RUNS))
        assert "quarantines:manage is required" in await browser.open(WRITE, 403)
        assert (await browser.post(WRITE, {"form_token": token})).status == 403
        await browser.post("/console/sign-out", {"form_token": token})
        await browser.sign_in((await api.make_key("engineer")).key)
        token = token_of(await browser.open(RUNS))
        assert await (await browser.post(WRITE, {"form_token": token})).text() == "written"
        assert (await browser.post(WRITE, {})).status == 403


async def test_path_of_a_page_contains_any_id(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def echo(request: web.Request) -> web.Response:
        return web.Response(text=request.match_info["id"] + request.query.get("q", ""))

    route = ConsoleRoute("echo", "/console/echo/{id}", echo)
    monkeypatch.setattr(routes, "ROUTES", (*routes.ROUTES, route))
    async with serve(database_url) as api:
        assert api.http.app is not None
        for id_ in ("build {linux}", "a/b?c#d&e", "%2F%", "é\N{SNOWMAN}", "+", "\\", '"<', "a..b", "{id}"):
            path = page_url(api.http.app, "echo", {"q": id_, "none": None, "empty": ""}, id=id_)
            response = await api.http.get(URL(path, encoded=True))
            assert await response.text() == id_ + id_, path
            assert "none" not in path


async def test_requests_of_pages_count_for_the_rate_limit_of_the_key(database_url: str) -> None:
    async with serve(database_url, rate_limit="2/hour") as api:
        browser = Browser(api)
        await browser.sign_in()
        await browser.open(RUNS)
        await browser.open(RUNS)
        response = await browser.send("GET", RUNS)
        assert (response.status, response.content_type) == (429, "text/html")
        assert int(response.headers["Retry-After"]) > 0
        assert (await api.send("GET", "/v1/runs")).status == 429


async def test_root_redirects_only_a_browser(browser: Browser) -> None:
    chromium = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
    for accept in (chromium, "text/html, application/json"):
        response = await browser.send("GET", "/", Accept=accept)
        assert (response.status, response.headers["Location"]) == (303, "/console")
    for accept in (
        "*/*",
        "application/json",
        "text/html;q=0.5, application/json",
        "text/html;q=0",
        "text/html;q=x",
        "",
    ):
        response = await browser.send("GET", "/", Accept=accept)
        assert (response.status, (await response.json())["error"]["code"]) == (404, "not_found"), accept


async def test_console_redirects_to_the_runs(browser: Browser) -> None:
    for path in ("/console", "/console/"):
        response = await browser.send("GET", path)
        assert (response.status, response.headers["Location"]) == (303, RUNS)
