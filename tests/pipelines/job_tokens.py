"""The ID tokens of CI jobs: their claims, and how each system gives them to its jobs.

It follows the public documentation of GitHub, GitLab, Buildkite, and CircleCI.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port

from tests.report_api import Reports

Claims = Mapping[str, Any]

_UUIDS: Final = {
    "organization_id": "0184990a-477b-4fa8-9968-496074483cee", "pipeline_id": "0184990a-4782-42b5-afc1-16715b10b1ff",
}  # fmt: skip
PROJECT: Final = "c4f71a53-e979-40be-b383-c1a7738b52f7"  # of CircleCI

# The claims of the trusted publishers of each system.
PUBLISHED: Final[Mapping[str, Claims]] = {
    "github": {"repository_id": "1296269", "repository_owner_id": "583231"},
    "gitlab": {"project_id": "62099837", "namespace_id": "9970"},
    "buildkite": _UUIDS,
    "circleci": {"oidc.circleci.com/project-id": PROJECT},
}

# A program that a job calls: it prints the token of an audience, or ends with an error for other arguments.
_PROGRAM: Final = """#!{python}
import json, os, sys, urllib.parse, urllib.request
{arguments}
query = urllib.parse.urlencode({{"audience": audience, "claims": ",".join(claims)}})
print(urllib.request.urlopen(os.environ["TOKEN_URL"] + "?" + query).read().decode())
"""
_PROGRAMS: Final = {
    "buildkite-agent": """\
if sys.argv[1:2] == ["meta-data"]: sys.exit()
assert sys.argv[1:4] == ["oidc", "request-token", "--audience"], sys.argv
audience, options = sys.argv[4], sys.argv[5:]
assert set(options[::2]) == {"--claim"}, options
claims = options[1::2]""",
    "circleci": """\
assert sys.argv[1:5] == ["run", "oidc", "get", "--claims"], sys.argv
audience, claims = json.loads(sys.argv[5])["aud"], []""",
}


def claims_of(system: str, variables: Mapping[str, str]) -> dict[str, Any]:
    """Return the claims of the job that these variables describe, except for those of the issuer and of the time."""
    return _CLAIMS[system](variables)


def _github(job: Mapping[str, str]) -> dict[str, Any]:
    repository = job["GITHUB_REPOSITORY"]
    return {
        **PUBLISHED["github"], "sub": f"repo:{repository}:ref:{job['GITHUB_REF']}", "repository": repository,
        "ref": job["GITHUB_REF"], "head_ref": job["GITHUB_HEAD_REF"], "base_ref": job["GITHUB_BASE_REF"],
        "event_name": job["GITHUB_EVENT_NAME"], "run_id": job["GITHUB_RUN_ID"], "sha": job["GITHUB_SHA"],
        "run_attempt": job["GITHUB_RUN_ATTEMPT"],
    }  # fmt: skip


def _gitlab(job: Mapping[str, str]) -> dict[str, Any]:
    ref = job["CI_COMMIT_REF_NAME"]
    return {
        **PUBLISHED["gitlab"], "sub": f"project_path:acme/shop:ref_type:branch:ref:{ref}", "project_path": "acme/shop",
        "ref": ref, "ref_type": "branch", "sha": job["CI_COMMIT_SHA"], "pipeline_id": job["CI_PIPELINE_ID"],
        "job_id": job["CI_JOB_ID"], "pipeline_source": job["CI_PIPELINE_SOURCE"],
    }  # fmt: skip


def _buildkite(job: Mapping[str, str]) -> dict[str, Any]:
    """Return also the optional claims, which the token contains only if the job requests them."""
    return {
        **_UUIDS, "organization_slug": "acme", "pipeline_slug": "shop-tests", "build_id": job["BUILDKITE_BUILD_ID"],
        "build_number": int(job["BUILDKITE_BUILD_NUMBER"]), "build_branch": job["BUILDKITE_BRANCH"],
        "build_commit": job["BUILDKITE_COMMIT"], "job_id": job["BUILDKITE_JOB_ID"],
        "step_key": job["BUILDKITE_STEP_KEY"], "sub": "organization:acme:pipeline:shop-tests",
    }  # fmt: skip


def _circleci(job: Mapping[str, str]) -> dict[str, Any]:
    name = "oidc.circleci.com"
    return {
        **PUBLISHED["circleci"], "sub": f"org/1/project/{PROJECT}/user/1",
        f"{name}/vcs-ref": f"refs/heads/{job['CIRCLE_BRANCH']}", f"{name}/pipeline-id": job["CIRCLE_PIPELINE_ID"],
        f"{name}/workflow-id": job["CIRCLE_WORKFLOW_ID"], f"{name}/job-id": job["CIRCLE_WORKFLOW_JOB_ID"],
    }  # fmt: skip


_CLAIMS: Final[Mapping[str, Callable[[Mapping[str, str]], dict[str, Any]]]] = {
    "github": _github, "gitlab": _gitlab, "buildkite": _buildkite, "circleci": _circleci,
}  # fmt: skip
_OPTIONAL: Final = ("organization_id", "pipeline_id", "build_id")


@dataclass
class JobTokens:
    """Gives ID tokens to jobs. `sign` is that of an issuer."""

    sign: Callable[[Claims], str]
    url: str = ""
    claims: dict[str, Claims] = field(default_factory=dict)  # of jobs by their number

    async def variables(
        self, system: str, job: Mapping[str, str], audience: str, folder: Path, claims: Claims = MappingProxyType({})
    ) -> dict[str, str]:
        """Return the variables with which a job gets its token. Programs are written into the folder, which is on PATH.

        `audience` is that of `id_tokens` in the configuration of GitLab. `claims` replace those of the job.
        """
        number = str(len(self.claims) + 1)
        self.claims[number] = {**claims_of(system, job), **claims}
        url = f"{self.url}/{system}/{number}"
        if system == "github":
            return {
                "ACTIONS_ID_TOKEN_REQUEST_URL": f"{url}?api-version=2.0",
                "ACTIONS_ID_TOKEN_REQUEST_TOKEN": f"request-{number}",
            }
        if system == "gitlab":
            return {"RESULTS_ID_TOKEN": await self._new_token(self.claims[number], audience)}
        name = "circleci" if system == "circleci" else "buildkite-agent"
        _install(folder, name)
        default = {"CIRCLE_OIDC_TOKEN_V2": await self._new_token(self.claims[number], "8c7f0be9")}
        return {"TOKEN_URL": url, **(default if system == "circleci" else {})}

    async def give(self, request: web.Request) -> web.Response:
        """Give a job a new token for the requested audience."""
        system, number = request.match_info["system"], request.match_info["number"]
        claims = self.claims[number]
        if system == "buildkite":
            requested = request.query["claims"].split(",")
            claims = {name: claims[name] for name in claims if name in requested or name not in _OPTIONAL}
        token = await self._new_token(claims, request.query["audience"])
        if system != "github":
            return web.Response(text=token)
        if request.headers["Authorization"] != f"Bearer request-{number}" or request.query["api-version"] != "2.0":
            return web.Response(status=401)
        return web.json_response({"count": len(token), "value": token})

    async def _new_token(self, claims: Claims, audience: str) -> str:
        return await asyncio.to_thread(self.sign, {**claims, "aud": audience})


def _install(folder: Path, name: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(_PROGRAM.format(python=sys.executable, arguments=_PROGRAMS[name]))
    (folder / name).chmod(0o755)


@asynccontextmanager
async def giving_tokens(sign: Callable[[Claims], str]) -> AsyncIterator[JobTokens]:
    """Run the endpoints that give ID tokens to jobs."""
    tokens = JobTokens(sign)
    app = web.Application()
    app.router.add_get("/{system}/{number}", tokens.give)
    async with TestServer(app) as server:
        tokens.url = str(server.make_url("")).rstrip("/")
        yield tokens


async def publish(reports: Reports, system: str, project: str, issuer: str) -> None:
    """Create a trusted publisher of the jobs of a system."""
    body = {"provider": system, "issuer": issuer, "claims": PUBLISHED[system], "project_id": project}
    response = await reports.api.send("POST", "/v1/publishers", json=body)
    assert response.status == 201, await response.text()


def new_public_url() -> str:
    """Return the URL of a server that isn't started yet. It is the audience of ID tokens."""
    return f"http://127.0.0.1:{unused_port()}"
