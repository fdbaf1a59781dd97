"""Responses on the wire: conditional requests, compression, Link, CORS, and metrics."""

import gzip
from collections.abc import Callable
from typing import Any

import orjson
import pytest
import zstandard
from yarl import URL

from tests.run_events import result, run_event
from tests.served import Api, serve

UNPACK: dict[str | None, Callable[[bytes], bytes]] = {
    "gzip": gzip.decompress,
    "zstd": zstandard.decompress,
    None: bytes,
}


@pytest.fixture
async def stored(api: Api) -> Api:
    await api.store.ingest(run_event("run_1", [result(f"case {number}") for number in range(30)]))
    return api


async def addresses(api: Api) -> list[str]:
    item = (await api.get("/v1/results"))["data"][0]
    return ["/v1/runs/run_1", f"/v1/results/{item['id']}", f"/v1/cases/{item['case']}"]


async def test_unchanged_object_returns_304(stored: Api) -> None:
    for path in await addresses(stored):
        tag = (await stored.send("GET", path)).headers["ETag"]
        for known in (tag, f'"other", {tag}', "*", tag.removeprefix("W/")):
            response = await stored.send("GET", path, If_None_Match=known)
            assert (response.status, await response.read(), response.headers["ETag"]) == (304, b"", tag)
        assert (await stored.send("GET", path, If_None_Match='"other"')).status == 200


@pytest.mark.parametrize("malformed", ['"unclosed, *', "*, unquoted", "W/*, *"])
async def test_malformed_if_none_match_is_ignored(stored: Api, malformed: str) -> None:
    """aiohttp ignores an invalid list; a parser that splits at commas would find the * and return 304."""
    path = "/v1/runs/run_1"
    assert (await stored.send("GET", path, If_None_Match=malformed)).status == 200


async def test_responses_have_cache_control_and_server_headers(stored: Api) -> None:
    tag = (await stored.send("GET", "/v1/runs/run_1")).headers["ETag"]
    sent: list[tuple[str, dict[str, Any], str]] = [
        ("/v1/runs/run_1", {}, "private, no-cache"),
        ("/v1/runs/run_1", {"If_None_Match": tag}, "private, no-cache"),
        ("/v1/runs", {}, "no-store"),
        ("/results", {}, "no-store"),
        ("/v1/runs/none", {}, "no-store"),
        ("/v1/runs", {"key": "zof_wrong"}, "no-store"),
        ("/docs/swagger-ui.css", {}, "max-age=86400"),
    ]
    for path, more, expected in sent:
        response = await stored.send("GET", path, **more)
        assert (response.headers["Cache-Control"], response.headers["Server"]) == (expected, "zof-results"), path


async def test_change_of_the_object_changes_its_etag(stored: Api) -> None:
    before = (await stored.send("GET", "/v1/runs/run_1")).headers["ETag"]
    await stored.store.ingest(run_event("run_1", [result("one more")], time="2026-05-20T13:00:00Z"))
    assert (await stored.send("GET", "/v1/runs/run_1", If_None_Match=before)).status == 200


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [("gzip", "gzip"), ("gzip, zstd", "zstd"), ("zstd;q=0, gzip;q=0.5", "gzip"), ("identity", None), ("br", None)],
)
async def test_large_response_is_compressed_with_an_accepted_encoding(
    stored: Api, accepted: str, encoding: str | None
) -> None:
    stored.http.session._auto_decompress = False
    headers: dict[str, Any] = {"Accept_Encoding": accepted}
    response = await stored.send("GET", "/v1/results", {"limit": "30"}, **headers)
    assert response.headers.get("Content-Encoding") == encoding
    assert response.headers["Vary"] == "Accept-Encoding"
    body = await response.read()
    assert len(orjson.loads(UNPACK[encoding](body))["data"]) == 30


async def test_small_response_is_not_compressed(stored: Api) -> None:
    response = await stored.send("GET", "/healthz", Accept_Encoding="gzip, zstd")
    assert "Content-Encoding" not in response.headers


async def test_page_has_a_link_to_the_next(stored: Api) -> None:
    first = await stored.send("GET", "/v1/results", {"limit": "20", "status": "passed"})
    link = URL(first.links["next"]["url"])
    assert link.path == "/v1/results"
    second = await stored.send("GET", f"{link.path}?{link.query_string}")
    assert len((await second.json())["data"]) == 10
    assert "Link" not in second.headers


async def test_other_origins_are_not_allowed_by_default(stored: Api) -> None:
    response = await stored.send("GET", "/v1/runs", Origin="https://ci.example")
    assert "Access-Control-Allow-Origin" not in response.headers
    preflight = await stored.http.options(
        "/v1/runs", headers={"Origin": "https://ci.example", "Access-Control-Request-Method": "GET"}
    )
    assert preflight.status == 405


async def test_only_a_configured_origin_is_allowed(database_url: str) -> None:
    async with serve(database_url, cors_origins="https://ci.example, https://b.example/") as api:
        preflight_headers = {"Origin": "https://b.example", "Access-Control-Request-Method": "POST"}
        preflight = await api.http.options("/v1/api-keys", headers=preflight_headers)
        assert preflight.status == 204
        assert "Idempotency-Key" in preflight.headers["Access-Control-Allow-Headers"]
        for origin, allowed in (("https://ci.example", "https://ci.example"), ("https://evil.example", None)):
            response = await api.send("GET", "/v1/runs", Origin=origin)
            assert response.headers.get("Access-Control-Allow-Origin") == allowed
            assert "Origin" in response.headers["Vary"]


async def test_requests_are_counted_by_route(stored: Api) -> None:
    await stored.get("/v1/runs/run_1")
    await stored.error("/v1/runs/none", 404)
    text = await (await stored.send("GET", "/metrics", key="")).text()
    for status in ("200", "404"):
        assert (
            f'results_http_request_seconds_count{{method="GET",route="/v1/runs/{{run_id}}",status="{status}"}}' in text
        )
