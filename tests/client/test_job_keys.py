"""Keys of CI jobs: found ID tokens, exchanges, renewal, and the messages of refusals."""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from click.testing import CliRunner, Result

from service.client.__main__ import client
from service.client.ci import SYSTEMS
from service.client.http import ServerError, TemporaryFailure
from service.client.job_keys import JobKeys, JobNotTrusted, find_job_keys, find_source
from service.client.servers import find_projects, open_server, open_servers
from tests.client.token_server import TokenServer, id_token, refuse, serving_tokens

VARIABLES = ("RESULTS_API_KEY", "RESULTS_URL", "RESULTS_PROJECT", "RESULTS_ID_TOKEN", "RESULTS_ORGANIZATION")
GITHUB = ("ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN")


@pytest.fixture(autouse=True)
def outside_of_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*SYSTEMS, *VARIABLES, *GITHUB):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
async def tokens() -> AsyncIterator[TokenServer]:
    async with serving_tokens() as serving:
        yield serving


def job_keys(**variables: str) -> JobKeys:
    keys = find_job_keys({"RESULTS_ID_TOKEN": "token", **variables})
    assert keys
    return keys


async def request(tokens: TokenServer, keys: JobKeys, project: str | None = None, *, count: int = 1) -> None:
    def send() -> None:
        with open_server(f"{tokens.url}/v1/", keys, 0, project) as server:
            for _ in range(count):
                server.get("/runs")

    await asyncio.to_thread(send)


async def run(*arguments: str, **variables: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, client, arguments, env=variables)


async def test_key_is_exchanged_once_for_the_project(tokens: TokenServer) -> None:
    keys = job_keys(RESULTS_ORGANIZATION="acme")
    await request(tokens, keys, "shop", count=2)
    await request(tokens, keys, "shop")
    assert tokens.forms == [
        {
            "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange", "subject_token": "token",
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt", "scope": "project:shop",
            "organization": "acme",
        }
    ]  # fmt: skip
    assert tokens.keys == ["zof_1_shop"] * 3


async def test_only_project_is_the_default(tokens: TokenServer) -> None:
    keys = job_keys()
    assert await asyncio.to_thread(find_projects, tokens.url, keys, 0) == ["shop"]
    await request(tokens, keys, "shop")
    await request(tokens, job_keys(RESULTS_PROJECT="docs"))
    assert [form.get("scope") for form in tokens.forms] == [None, "project:docs"]
    assert tokens.keys == ["zof_1_shop", "zof_2_docs"]


async def test_server_is_opened_once_per_project(tokens: TokenServer) -> None:
    tokens.answer = lambda form: (
        refuse("invalid_scope", "…", projects=["docs", "shop"]) if "scope" not in form else None
    )

    def read() -> list[str | None]:
        with open_servers(tokens.url, job_keys(RESULTS_PROJECT="docs"), 0) as servers:
            for server in servers:
                server.get("/runs")
            return [server.project for server in servers]

    assert await asyncio.to_thread(read) == ["docs", "shop"]
    assert tokens.keys == ["zof_2_docs", "zof_3_shop"]
    with pytest.raises(JobNotTrusted, match=r"several projects accept this job: docs, shop\. State one"):
        await request(tokens, job_keys())
    tokens.answer = lambda _: refuse("invalid_scope", "…", projects=["docs"])
    with pytest.raises(JobNotTrusted, match=r"no trusted publisher of the project 'shop' .* only of: docs\. State"):
        await request(tokens, job_keys(), "shop")


async def test_key_is_renewed_before_its_end_and_after_a_rejection(tokens: TokenServer) -> None:
    tokens.lifetime_s = 0
    keys = job_keys()
    await request(tokens, keys, count=2)
    assert tokens.keys == ["zof_1_shop", "zof_2_shop"]

    tokens.lifetime_s = 900
    keys = job_keys()
    await request(tokens, keys)
    tokens.ended = {"zof_3_shop"}
    await request(tokens, keys)
    assert tokens.keys[2:] == ["zof_3_shop", "zof_3_shop", "zof_4_shop"]
    tokens.ended |= {"zof_4_shop", "zof_5_shop"}
    with pytest.raises(ServerError, match=r"is invalid \(401\)"):
        await request(tokens, keys)
    assert len(tokens.forms) == 5


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        (
            {
                "iss": "https://ci.example", "aud": "https://x.example", "project_id": "7", "namespace_id": 8,
                "pipeline_id": 9, "exp": time.time() + 86_400,
            },
            "no trusted publisher accepts this token (400). The token states iss=https://ci.example,"
            " aud=https://x.example, project_id=7, namespace_id=8. A trusted publisher must have this issuer and these"
            " claims, and the audience must be the RESULTS_PUBLIC_URL of the server",
        ),
        ({"exp": 1}, "It has expired. In GitLab, `id_tokens` last as long as the `timeout` of their job"),
        ({"iss": ["\n::error::x"]}, r"iss=['\n::error::x']"),
    ],
    ids=["claims", "expired", "another type"],
)  # fmt: skip
async def test_refusal_states_what_to_check(tokens: TokenServer, claims: Mapping[str, Any], expected: str) -> None:
    token = id_token(**claims)
    tokens.answer = lambda _: refuse("invalid_request", "no trusted publisher accepts this token")
    result = await run("gate", "--run-id", "1", "--timeout", "30", RESULTS_URL=tokens.url, RESULTS_ID_TOKEN=token)
    assert result.exit_code == 3
    assert expected in result.stderr
    assert token not in result.output
    assert len(tokens.forms) == 1  # not repeated
    with pytest.raises(JobNotTrusted, match=r"publisher of the organization 'acme' \(RESULTS_ORGANIZATION\) must have"):
        await request(tokens, job_keys(RESULTS_ORGANIZATION="acme"))


@pytest.mark.parametrize("text", ["", "header.%%%.x", "a.b", "a.W10.c"])
async def test_refused_token_without_claims_is_described(tokens: TokenServer, text: str) -> None:
    tokens.answer = lambda form: refuse("invalid_request", f"{form['subject_token']} is no token")
    with pytest.raises(JobNotTrusted) as caught:
        await request(tokens, job_keys(RESULTS_ID_TOKEN=text or "x"))
    assert "The token states no claims" in str(caught.value)
    assert "rejected: … is no token (400)" in str(caught.value)


async def test_other_failures_of_an_exchange(tokens: TokenServer) -> None:
    def fail(response: Callable[[], web.Response]) -> None:
        tokens.answer = lambda _: response()

    fail(lambda: web.Response(status=404))
    with pytest.raises(JobNotTrusted, match=r"doesn't exchange ID tokens \(404\), because it is older than this"):
        await request(tokens, job_keys())
    fail(lambda: web.Response(status=307, headers={"Location": "http://127.0.0.1:9/v1/token"}))
    with pytest.raises(
        JobNotTrusted, match=r"redirects the exchange of the ID token to http://127.0.0.1:9/v1/token\. Ch"
    ):
        await request(tokens, job_keys())
    limited = {"error": {"code": "rate_limit_exceeded", "message": "too many exchanges"}}
    fail(lambda: web.json_response(limited, status=429, headers={"Retry-After": "7"}))
    with pytest.raises(TemporaryFailure, match=r"too many exchanges \(429\)") as caught:
        await request(tokens, job_keys())
    assert caught.value.retry_after_s == 7
    fail(lambda: web.json_response({"access_token": "zof_1"}))
    with pytest.raises(ServerError, match="responds with an invalid key"):
        await request(tokens, job_keys())


def write_program(folder: Path, name: str, text: str) -> None:
    program = folder / name
    program.write_text(f"#!{sys.executable}\nimport json, sys\n{text}\n")
    program.chmod(0o755)


async def test_each_system_gives_its_token(
    tokens: TokenServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    async def read(**variables: str) -> str | None:
        source = find_source(variables)
        return await asyncio.to_thread(source.read, "https://r.example") if source else None

    assert await read() is None
    assert await read(RESULTS_ID_TOKEN=" token\n", GITLAB_CI="true") == "token"
    assert await read(RESULTS_ID_TOKEN="", GITLAB_CI="true") is None

    github = dict(zip(GITHUB, (f"{tokens.url}/id-token?api-version=2.0", "request-token"), strict=True))
    assert await read(**github) == "token-1"
    assert await read(**github) == "token-2"  # each request returns a new one
    assert tokens.audiences == ["https://r.example"] * 2
    with pytest.raises(JobNotTrusted, match="GitHub Actions gives no ID token: 404 Not Found"):
        await read(**{**github, GITHUB[0]: f"{tokens.url}/other"})

    for system, name in (("BUILDKITE", "buildkite-agent"), ("CIRCLECI", "circleci")):
        assert await read(**{system: "true"}) is None
        write_program(tmp_path, name, "print(json.dumps(sys.argv[1:]))")
    assert json.loads(await read(BUILDKITE="true") or "") == [
        "oidc", "request-token", "--audience", "https://r.example", "--claim", "organization_id", "--claim",
        "pipeline_id", "--claim", "build_id",
    ]  # fmt: skip
    assert json.loads(await read(CIRCLECI="true", CIRCLE_OIDC_TOKEN_V2="token") or "") == [
        "run", "oidc", "get", "--claims", '{"aud": "https://r.example"}',
    ]  # fmt: skip
    write_program(tmp_path, "circleci", "print('token'); sys.exit('no\\nnetwork')")
    with pytest.raises(JobNotTrusted, match="CircleCI gives no ID token: `circleci run oidc`: no network") as caught:
        await read(CIRCLECI="true")
    assert "token'" not in str(caught.value)


async def test_job_of_a_fork_whose_token_is_refused_is_skipped(tokens: TokenServer) -> None:
    tokens.answer = lambda _: refuse("invalid_request", "no trusted publisher accepts this token")
    fork = {
        "GITLAB_CI": "true", "CI_PIPELINE_ID": "1", "CI_MERGE_REQUEST_SOURCE_PROJECT_ID": "9",
        "CI_MERGE_REQUEST_PROJECT_ID": "3", "RESULTS_ID_TOKEN": id_token(), "RESULTS_URL": tokens.url,
    }  # fmt: skip
    for command in (("report", "a.xml"), ("gate", "--pipeline"), ("comment", "--pipeline")):
        result = await run(*command, **fork)
        assert (result.exit_code, result.stdout) == (0, "")
        assert "skipped, because the jobs of a pull request from a fork have no API key" in result.stderr
    result = await run("gate", "--pipeline", **{**fork, "CI_MERGE_REQUEST_SOURCE_PROJECT_ID": "3"})
    assert (result.exit_code, "no trusted publisher" in result.stderr) == (3, True)


async def test_untrusted_report_needs_a_key(tokens: TokenServer) -> None:
    result = await run("report", "--untrusted", "a.xml", RESULTS_URL=tokens.url, RESULTS_ID_TOKEN="token")
    assert (result.exit_code, "--untrusted: needs a key with the role public" in result.stderr) == (2, True)
    assert tokens.forms == []
