"""The keys of a CI job without a stored key: exchanged for its ID token, kept in memory, and renewed."""

import base64
import json
import threading
import time
from collections.abc import Generator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import httpx

from service.client.http import (
    ClientError,
    ServerError,
    TemporaryFailure,
    describe_http_error,
    requested_wait_s,
)
from service.client.id_tokens import IdTokenSource, JobNotTrusted, find_source
from service.domain.failures import to_line
from service.domain.publishers import PROVIDERS

_GRANT_TYPE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
_JWT: Final = "urn:ietf:params:oauth:token-type:jwt"
_SCOPE: Final = "project:"
_RENEWED_S: Final = 60.0  # before the end of a key
_RETRYABLE: Final = frozenset({429, 500, 502, 503, 504})
_UNKNOWN_PATH: Final = frozenset({401, 404, 405})  # of servers without the exchange, which needs no key


class JobKey(NamedTuple):
    """A key of a project. `renewed_at` is in the time of `time.monotonic`."""

    value: str
    project: str | None
    renewed_at: float


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
