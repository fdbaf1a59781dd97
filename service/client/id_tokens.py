"""Where the ID token of a CI job comes from. Its audience is the URL of the server."""

import json
import shutil
import subprocess
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import httpx

from service.client.http import (
    ClientError,
    TemporaryFailure,
    describe_http_error,
    open_client,
    requested_wait_s,
    send_with_retries,
)
from service.domain.failures import to_line

_VARIABLE: Final = "RESULTS_ID_TOKEN"
_GITHUB: Final = ("ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN")
_BUILDKITE: Final = "buildkite-agent"
_CIRCLECI: Final = "circleci"
_RETRY_S: Final = 20.0
_TIMEOUT_S: Final = 30
_SERVER_ERROR: Final = 500
_MAX_REASON: Final = 300  # characters of the error of a program
_MISSING: Final[Mapping[str, str]] = {  # by a variable that only this system sets
    "GITHUB_ACTIONS": "give the job `permissions: id-token: write`",
    "GITLAB_CI": f"declare `id_tokens` with the variable {_VARIABLE}, whose `aud` is the URL of the server",
    "BUILDKITE": f"make the program `{_BUILDKITE}` available to the command",
    "CIRCLECI": f"make the program `{_CIRCLECI}` available to the command",
}


class JobNotTrusted(ClientError):
    """The CI system gives a job no ID token, or the server gives it no key."""


class IdTokenSource(NamedTuple):
    """The source of the ID tokens of a job. `read` returns a token for an audience, and raises ClientError.

    `renewal` states what to do after the token has expired.
    """

    name: str
    read: Callable[[str], str]
    renewal: str = "Run the job again"


def find_source(variables: Mapping[str, str]) -> IdTokenSource | None:
    """Return the source of the ID tokens of the job that these variables describe, or None if it has none."""
    if token := variables.get(_VARIABLE, "").strip():
        return IdTokenSource(
            f"the ID token in {_VARIABLE}", lambda _: token,
            "In GitLab, `id_tokens` last as long as the `timeout` of their job: use a longer one, or run the job again",
        )  # fmt: skip
    url, request_token = (variables.get(name) for name in _GITHUB)
    if url and request_token:
        return IdTokenSource(
            "the ID token of GitHub Actions", lambda audience: _request_from_github(url, request_token, audience)
        )
    if variables.get("BUILDKITE") and shutil.which(_BUILDKITE):
        return IdTokenSource("the ID token of Buildkite", _request_from_buildkite)
    if variables.get("CIRCLECI") and shutil.which(_CIRCLECI):
        return IdTokenSource("the ID token of CircleCI", _request_from_circleci)
    return None


def describe_missing_source(variables: Mapping[str, str]) -> str:
    """Return how a CI job gets a key without a secret."""
    stated = [text for marker, text in _MISSING.items() if variables.get(marker)]
    way = stated[0] if stated else f"set {_VARIABLE} to an ID token of the job"
    return f"Set it, or let a trusted publisher accept this CI job and {way}"


def _request_from_github(url: str, request_token: str, audience: str) -> str:
    """Request a token, as the toolkit of GitHub Actions does. Each request returns a new token."""

    def attempt() -> httpx.Response:
        try:
            response = client.get(url, params={**httpx.URL(url).params, "audience": audience})
        except httpx.HTTPError as error:
            raise TemporaryFailure(f"GitHub Actions gives no ID token: {describe_http_error(error)}") from error
        if response.is_success:
            return response
        failure = f"GitHub Actions gives no ID token: {response.status_code} {response.reason_phrase}"
        if response.status_code >= _SERVER_ERROR or response.status_code == httpx.codes.TOO_MANY_REQUESTS:
            raise TemporaryFailure(failure, response.status_code, None, requested_wait_s(response) or 0)
        raise JobNotTrusted(failure)

    with open_client({"Authorization": f"Bearer {request_token}"}, timeout=_TIMEOUT_S) as client:
        response = send_with_retries(attempt, _RETRY_S)
    try:
        return str(response.json()["value"])
    except (ValueError, LookupError, TypeError):
        raise JobNotTrusted("GitHub Actions gives no ID token: the response contains no `value`") from None


def _request_from_buildkite(audience: str) -> str:
    """Request a token with the IDs of publishers and of the build: Buildkite adds them only on request."""
    claims = ("--claim", "organization_id", "--claim", "pipeline_id", "--claim", "build_id")
    return _run("Buildkite", _BUILDKITE, "oidc", "request-token", "--audience", audience, *claims)


def _request_from_circleci(audience: str) -> str:
    """Request a token. CIRCLE_OIDC_TOKEN_V2 can't be used, because its audience is the organization."""
    return _run("CircleCI", _CIRCLECI, "run", "oidc", "get", "--claims", json.dumps({"aud": audience}))


def _run(system: str, *command: str) -> str:
    """Return the token that a program prints. Raises JobNotTrusted. The output of a failed program isn't shown."""
    try:
        finished = subprocess.run(command, check=True, capture_output=True, text=True, timeout=_TIMEOUT_S)
    except subprocess.CalledProcessError as error:
        reason = to_line(error.stderr)[:_MAX_REASON] or f"exit code {error.returncode}"
        raise JobNotTrusted(f"{system} gives no ID token: `{' '.join(command[:3])}`: {reason}") from None
    except (OSError, subprocess.SubprocessError) as error:
        raise JobNotTrusted(f"{system} gives no ID token: {error}") from error
    return finished.stdout.strip()
