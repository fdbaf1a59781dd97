"""The keys of a CI job without a stored key: exchanged for its ID token, kept in memory, and renewed."""

import base64
import json
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import httpx

from service.client.http import (
    ClientError,
    ServerError,
    TemporaryFailure,
    describe_http_error,
    open_client,
    requested_wait_s,
    send_with_retries,
)
from service.failures.model import to_line
from service.identity.publishers.model import PROVIDERS

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
_GRANT_TYPE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
_JWT: Final = "urn:ietf:params:oauth:token-type:jwt"
_SCOPE: Final = "project:"
_RENEWED_S: Final = 60.0  # before the end of a key
_RETRYABLE: Final = frozenset({429, 500, 502, 503, 504})
_UNKNOWN_PATH: Final = frozenset({401, 404, 405})  # of servers without the exchange, which needs no key


class JobNotTrusted(ClientError):
    """The CI system gives a job no ID token, or the server gives it no key."""


class SeveralProjects(JobNotTrusted):
    """The job must request its key for one of these projects: it stated none of several, or another one."""

    def __init__(self, projects: Sequence[str], requested: str | None) -> None:
        names = ", ".join(projects)
        super().__init__(
            f"trusted publishers of several projects accept this job: {names}. State one of them with --project or"
            " RESULTS_PROJECT"
            if requested is None
            else f"no trusted publisher of the project {requested!r} accepts this job, only of: {names}. State one of"
            " them with --project or RESULTS_PROJECT, or add a publisher"
        )
        self.projects = projects


class IdTokenSource(NamedTuple):
    """The source of the ID tokens of a job. `read` returns a token for an audience, and raises ClientError.

    `renewal` states what to do after the token has expired.
    """

    name: str
    read: Callable[[str], str]
    renewal: str = "Run the job again"


class JobKey(NamedTuple):
    """A key of a project. `renewed_at` is in the time of `time.monotonic`."""

    value: str
    project: str | None
    renewed_at: float


class JobKeys:
    """The keys of a CI job, by project. None stands for the only project that the server gives the job.

    `default_project` is used by commands that read one project and don't state it. Threads can share the keys. A
    message never contains an ID token or a key.
    """

    def __init__(
        self, source: IdTokenSource, organization: str | None = None, default_project: str | None = None
    ) -> None:
        self.default_project = default_project
        self._source = source
        self._organization = organization
        self._keys: dict[str | None, JobKey] = {}
        self._lock = threading.Lock()

    def get(self, client: httpx.Client, url: str, project: str | None, rejected: str | None = None) -> JobKey:
        """Return a valid key of the project, which isn't the `rejected` one. Raises JobNotTrusted and ServerError."""
        with self._lock:
            key = self._keys.get(project)
            if key is None or key.value == rejected or time.monotonic() >= key.renewed_at:
                key = self._exchange(client, url, project)
                self._keys |= {project: key, key.project: key}
        return key

    def _exchange(self, client: httpx.Client, url: str, project: str | None) -> JobKey:
        """Exchange an ID token for a key (RFC 8693)."""
        token = self._source.read(url)
        form = {"grant_type": _GRANT_TYPE, "subject_token": token, "subject_token_type": _JWT}
        if project is not None:
            form["scope"] = f"{_SCOPE}{project}"
        if self._organization:
            form["organization"] = self._organization
        try:
            # Without a key, and without sending the token to another server.
            response = client.post(f"{url}/v1/token", data=form, auth=httpx.Auth(), follow_redirects=False)
        except httpx.HTTPError as error:
            raise TemporaryFailure(f"{url} doesn't respond ({describe_http_error(error)})") from error
        if not response.is_success:
            raise self._failure(response, url, token, project)
        return _read_key(response, project)

    def _failure(self, response: httpx.Response, url: str, token: str, requested: str | None) -> ClientError:
        """Return the error of a rejected exchange. Only a temporary failure is repeated."""
        status, document = response.status_code, _read_object(response.content)
        if response.has_redirect_location:
            target = to_line(response.headers["Location"])
            return JobNotTrusted(
                f"{url} redirects the exchange of the ID token to {target}. Change RESULTS_URL or --url"
            )
        if status in _UNKNOWN_PATH:
            return JobNotTrusted(
                f"{url} doesn't exchange ID tokens ({status}), because it is older than this client. Set"
                " RESULTS_API_KEY or use --key"
            )
        reason = _read_reason(document).replace(token, "…") or response.reason_phrase
        if status in _RETRYABLE:
            return TemporaryFailure(f"{reason} ({status})", status, None, requested_wait_s(response) or 0)
        if isinstance(projects := document.get("projects"), list):
            return SeveralProjects([str(project) for project in projects], requested)
        return JobNotTrusted(f"{self._source.name} is rejected: {reason} ({status}). {self._describe(token)}")

    def _describe(self, token: str) -> str:
        """Return what to check about a rejected token: that it is valid, or the values that a publisher must have."""
        claims = _read_claims(token)
        expires_at = claims.get("exp")
        if isinstance(expires_at, (int, float)) and expires_at < time.time():
            return f"It has expired. {self._source.renewal}"
        known = [provider.required_claims for provider in PROVIDERS.values()]
        identity = next((names for names in known if names and claims.keys() >= set(names)), ())
        stated = ", ".join(f"{name}={claims[name]}" for name in ("iss", "aud", *identity) if name in claims)
        of_organization = (
            f" of the organization {self._organization!r} (RESULTS_ORGANIZATION)" if self._organization else ""
        )
        return (
            f"The token states {to_line(stated) or 'no claims'}. A trusted publisher{of_organization} must have this"
            " issuer and these claims, and the audience must be the RESULTS_PUBLIC_URL of the server"
        )


class JobAuth(httpx.Auth):
    """Authorizes the requests of a client with a key of the job, and renews the key if the server rejects it."""

    def __init__(self, client: httpx.Client, keys: JobKeys, url: str, project: str | None) -> None:
        self._client = client
        self._keys = keys
        self._url = url
        self._project = project

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Yield the request, and again after a 401 because its key has ended."""
        key = self._keys.get(self._client, self._url, self._project)
        request.headers["Authorization"] = f"Bearer {key.value}"
        response = yield request
        if response.status_code == httpx.codes.UNAUTHORIZED:
            renewed = self._keys.get(self._client, self._url, self._project, rejected=key.value)
            request.headers["Authorization"] = f"Bearer {renewed.value}"
            yield request


def find_job_keys(variables: Mapping[str, str]) -> JobKeys | None:
    """Return the keys of the CI job that these variables describe, or None if it has no ID token."""
    source = find_source(variables)
    return JobKeys(source, variables.get("RESULTS_ORGANIZATION"), variables.get("RESULTS_PROJECT")) if source else None


def _read_key(response: httpx.Response, project: str | None) -> JobKey:
    document = _read_object(response.content)
    try:
        value, lifetime_s = str(document["access_token"]), float(document["expires_in"])
    except (LookupError, TypeError, ValueError):
        raise ServerError(f"{response.url} responds with an invalid key", response.status_code) from None
    scope = str(document.get("scope") or "")
    granted = scope.removeprefix(_SCOPE) if scope.startswith(_SCOPE) else project
    return JobKey(value, granted, time.monotonic() + lifetime_s - min(_RENEWED_S, lifetime_s / 2))


def _read_reason(document: Mapping[str, Any]) -> str:
    """Return the reason of an error, in the form of RFC 6749 or of the API."""
    error = document.get("error")
    stated = error.get("message") if isinstance(error, dict) else document.get("error_description") or error
    return to_line(str(stated or ""))


def _read_claims(token: str) -> Mapping[str, Any]:
    """Return the claims of a token without verifying it, for messages."""
    _, _, rest = token.partition(".")
    payload = rest.partition(".")[0]
    try:
        return _read_object(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except ValueError:
        return {}


def _read_object(content: bytes) -> Mapping[str, Any]:
    try:
        document = json.loads(content)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


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
