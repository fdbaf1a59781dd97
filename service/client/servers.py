"""A server, opened with a stored key or with the keys of a CI job."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Final, TypeAlias
from urllib.parse import quote

import httpx

from service.client.http import ClientError, Server, base_url, open_client, read_list, send_with_retries
from service.client.job_keys import JobAuth, JobKeys, SeveralProjects
from service.domain.errors import did_you_mean

ServerKey: TypeAlias = str | JobKeys

_RETRY_S: Final = 60
_PAGE: Final = 1_000  # projects
_TIMEOUT: Final = httpx.Timeout(60, connect=10)


@contextmanager
def open_server(
    url: str, key: ServerKey, retry_s: float = 30, project: str | None = None, **options: Any
) -> Iterator[Server]:
    """Open the server at this URL. Requests are retried for `retry_s` seconds while it is unavailable.

    A CI job without a stored key gets one for `project`, or else for RESULTS_PROJECT, or else for the only project
    that accepts the job. HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY, SSL_CERT_FILE, and SSL_CERT_DIR apply. `options`
    are those of httpx.Client, such as another `timeout`.
    """
    options = {"timeout": _TIMEOUT, **options}
    if isinstance(key, str):
        with open_client({"Authorization": f"Bearer {key}"}, **options) as client:
            yield Server(client, url, retry_s)
        return
    project = project or key.default_project
    with open_client(**options) as client:
        client.auth = JobAuth(client, key, base_url(url), project)
        yield Server(client, url, retry_s, project)


@contextmanager
def open_servers(url: str, key: ServerKey, retry_s: float, project: str | None = None) -> Iterator[Sequence[Server]]:
    """Open the server once for each project that accepts this CI job, or once with a stored key or for `project`.

    Raises ClientError.
    """
    projects = [project] if project or isinstance(key, str) else find_projects(url, key, retry_s)
    with ExitStack() as stack:
        yield [stack.enter_context(open_server(url, key, retry_s, each)) for each in projects]


def server_of(servers: Sequence[Server], project: str) -> Server:
    """Return the server that is opened for a project. A stored key can have several projects."""
    return next((server for server in servers if server.project == project), servers[0])


def find_projects(url: str, key: JobKeys, retry_s: float = _RETRY_S) -> Sequence[str | None]:
    """Return the projects that accept this CI job: None if the server doesn't state the only one. Raises ClientError.

    A JobKeys remembers the key of the only project.
    """
    with open_client(timeout=_TIMEOUT) as client:
        try:
            return [send_with_retries(lambda: key.get(client, base_url(url), None).project, retry_s)]
        except SeveralProjects as several:
            return several.projects


def check_project(server: Server, project: str) -> None:
    """Raise ClientError, with the project that is probably meant, if this one doesn't exist."""
    if server.find(f"/projects/{quote(project, safe='')}") is None:
        listed = read_list(server, "/projects", {"limit": str(_PAGE)}, stop_after=_PAGE)
        hint = did_you_mean(project, [each["project_id"] for each in listed])
        raise ClientError(f"--project: {project!r} doesn't exist, or has no results that the key can read{hint}")
