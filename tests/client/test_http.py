"""Requests of the client: rejected parameters, retries, proxies, and certificates."""

import asyncio
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from service.client.http import ClientError, ServerError, open_client
from service.client.servers import open_server
from service.version import user_agent


@asynccontextmanager
async def serving(*responses: web.Response, tls: ssl.SSLContext | None = None) -> AsyncIterator[tuple[str, list[str]]]:
    """Yield the URL of a server that sends these responses in order, and the list of requested URLs."""
    remaining, requested = list(responses), list[str]()

    async def respond(request: web.Request) -> web.Response:
        requested.append(str(request.url))
        return remaining.pop(0)

    app = web.Application()
    app.router.add_get("/{path:.*}", respond)
    server = TestServer(app, scheme="https" if tls else "http")
    await server.start_server(ssl=tls)
    try:
        yield str(server.make_url("/")), requested
    finally:
        await server.close()


async def test_every_request_names_the_version() -> None:
    agents = list[str]()

    async def respond(request: web.Request) -> web.Response:
        agents.append(request.headers["User-Agent"])
        return web.json_response({})

    app = web.Application()
    app.router.add_get("/v1/runs", respond)

    def request(url: str) -> None:
        with open_client() as client:  # of a code host
            client.get(f"{url}v1/runs")

    async with TestServer(app) as server:
        await get(url := str(server.make_url("/")))
        await asyncio.to_thread(request, url)
    assert agents == [user_agent()] * 2


async def get(url: str, retry_s: float = 0) -> Any:
    def request() -> Any:
        with open_server(url, "zof_1", retry_s) as server:
            return server.get("/runs", {"limit": "5"})

    return await asyncio.to_thread(request)


@pytest.mark.parametrize(
    ("message", "printed"),
    [("must be at most 1000", "limit: must be at most 1000 (400)"), ("limit: is invalid", "limit: is invalid (400)")],
)
async def test_rejected_parameter_is_named(message: str, printed: str) -> None:
    error = {"code": "invalid_request", "message": message, "param": "limit"}
    async with serving(web.json_response({"error": error}, status=400)) as (url, _):
        with pytest.raises(ServerError) as caught:
            await get(url)
    assert str(caught.value) == printed


async def test_unavailable_server_is_retried() -> None:
    responses = (web.Response(status=503), web.Response(status=429), web.json_response({"data": []}))
    async with serving(*responses) as (url, requested):
        assert await get(url, retry_s=10) == {"data": []}
    assert len(requested) == 3


async def test_retries_of_a_change_have_one_idempotency_key() -> None:
    sent = list[tuple[str, bytes]]()
    statuses = [503, 204]

    async def respond(request: web.Request) -> web.Response:
        sent.append((request.headers["Idempotency-Key"], await request.read()))
        return web.Response(status=statuses.pop(0))

    app = web.Application()
    app.router.add_post("/v1/quarantines", respond)
    server = TestServer(app)
    await server.start_server()

    def create() -> Any:
        with open_server(str(server.make_url("/")), "zof_1") as opened:
            return opened.send("POST", "/quarantines", {"name": "a"})

    try:
        assert await asyncio.to_thread(create) is None
    finally:
        await server.close()
    assert len(sent) == 2
    assert len(set(sent)) == 1


@pytest.mark.parametrize("status", [429, 503])
async def test_retry_waits_as_long_as_the_server_requests(
    status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    waits: list[float] = []
    monkeypatch.setattr("time.sleep", waits.append)
    error = {"error": {"code": "rate_limit_exceeded", "message": "rate limit exceeded"}}
    rejection = web.json_response(error, status=status, headers={"Retry-After": "7"})
    async with serving(rejection, web.json_response({"data": []})) as (url, _):
        assert await get(url, retry_s=10) == {"data": []}
    assert waits == [7]
    assert capsys.readouterr().err == (f"rate limit exceeded ({status}); retrying after 7 s, as the server requests\n")


async def test_request_is_not_repeated_if_the_server_requests_a_longer_wait() -> None:
    rejection = web.Response(status=429, headers={"Retry-After": "60"})
    async with serving(rejection, web.json_response({})) as (url, requested):
        with pytest.raises(ServerError, match="429"):
            await get(url, retry_s=10)
    assert len(requested) == 1


async def test_rejected_request_is_not_retried() -> None:
    async with serving(web.Response(status=500), web.json_response({})) as (url, requested):
        with pytest.raises(ServerError, match="500"):
            await get(url, retry_s=10)
    assert len(requested) == 1


async def test_rejected_key_names_its_option() -> None:
    error = {"error": {"code": "unauthorized", "message": "Authorization: the API key is invalid"}}
    async with serving(web.json_response(error, status=401)) as (url, _):
        with pytest.raises(ServerError, match=r"is invalid \(401\): check RESULTS_API_KEY or --key"):
            await get(url)


@pytest.mark.parametrize("message", ["no resource exists at this path", "field 'content' is not supported"])
async def test_request_that_the_server_does_not_know_names_a_possible_cause(message: str) -> None:
    error = {"error": {"code": "not_found", "message": message}}
    async with serving(web.json_response(error, status=404)) as (url, _):
        with pytest.raises(ServerError, match=r"\(404\)\. Is the server older than this client\?"):
            await get(url)


async def test_server_that_is_not_running_names_the_option_of_its_url() -> None:
    with pytest.raises(ServerError, match=r"http://127.0.0.1:9 doesn't respond .*: check RESULTS_URL or --url"):
        await get("http://127.0.0.1:9")


async def test_response_without_json_is_an_error() -> None:
    async with serving(web.Response(text="<h1>")) as (url, _):
        with pytest.raises(ServerError, match="responds with invalid JSON"):
            await get(url)


async def test_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(web.json_response({"data": []})) as (proxy_url, requested):
        monkeypatch.setenv("HTTP_PROXY", proxy_url)
        assert await get("http://results.invalid/v1/") == {"data": []}
    assert requested == ["http://results.invalid/v1/runs?limit=5"]


def test_invalid_proxy_of_the_environment_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "ftp://proxy.example")
    with pytest.raises(ClientError, match=r"the variables for proxies or certificates are invalid: .*ftp://proxy"):
        open_client()


async def test_certificate_of_the_environment_is_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, key = create_certificate(tmp_path)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, key)
    async with serving(web.json_response({"data": []}), tls=tls) as (url, _):
        with pytest.raises(ServerError, match="CERTIFICATE_VERIFY_FAILED"):
            await get(url)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert await get(url) == {"data": []}


def create_certificate(folder: Path) -> tuple[Path, Path]:
    """Return the files of a self-signed certificate for 127.0.0.1 and of its private key."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl isn't installed")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    command = (
        "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=results", "-days", "2",
        "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate,
    )  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key
