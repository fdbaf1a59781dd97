"""The REST APIs of GitHub and GitLab: comments on pull requests and merge requests."""

import contextlib
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import quote

import httpx

from service.client.http import ClientError, TemporaryFailure, describe_http_error, requested_wait_s

_PAGE: Final = 100
_MAX_PAGES: Final = 30
_FORBIDDEN: Final = 403
_NOT_FOUND: Final = 404  # hides a private project from a token without access
_LIMITED: Final = (403, 429, 503)
_UNSTATED_LIMIT_S: Final = 60.0  # GitHub requires this wait if the response states none


class WriteDenied(ClientError):
    """The token can't write comments, for example because the pull request is from a fork."""


class NotVisible(WriteDenied):
    """The object doesn't exist, or the token can't read it."""


class HostedComment(NamedTuple):
    """A comment of the user of the token. Later comments have higher IDs."""

    comment_id: int
    text: str


class CommentTarget(Protocol):
    """A pull request or merge request, whose comments can be written and have at most `max_length` characters."""

    max_length: int

    def list_comments(self) -> list[HostedComment]:
        """Return the own comments, oldest first. Raises WriteDenied and ClientError."""

    def create_comment(self, text: str) -> None:
        """Create a comment. Raises WriteDenied and ClientError."""

    def update_comment(self, comment_id: int, text: str) -> None:
        """Replace the text of a comment. Raises WriteDenied and ClientError."""

    def delete_comment(self, comment_id: int) -> None:
        """Delete a comment, which can be deleted already. Raises WriteDenied and ClientError."""


class CodeHostApi:
    """The API of a code host."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def set_headers(self, headers: Mapping[str, str]) -> None:
        """Set headers of all requests."""
        self._client.headers.update(headers)

    def pages(self, url: str) -> Iterator[dict[str, Any]]:
        """Yield the items of a list. Raises WriteDenied and ClientError."""
        for page in range(1, _MAX_PAGES + 1):
            items = self.send("GET", url, params={"per_page": _PAGE, "page": page})
            yield from items
            if len(items) < _PAGE:
                return
        raise ClientError(f"{url} has more than {_PAGE * _MAX_PAGES} items")

    def send(self, method: str, url: str, **request: Any) -> Any:
        """Return the JSON of a successful response, or None without content. Raises WriteDenied and ClientError.

        Raises TemporaryFailure if the code host limits its rate or requests a wait.
        """
        try:
            response = self._client.request(method, url, **request)
        except httpx.HTTPError as error:
            raise ClientError(f"{url} doesn't respond: {describe_http_error(error)}") from error
        _check(response, f"{method} {url} responds with {response.status_code}")
        try:
            return response.json() if response.content else None
        except ValueError:
            raise ClientError(f"{method} {url} responds with invalid JSON") from None

    def delete(self, url: str) -> None:
        """Delete an object. It's no error if it doesn't exist. Raises WriteDenied and ClientError."""
        with contextlib.suppress(NotVisible):
            self.send("DELETE", url)


class GitHubPullRequest:
    """A pull request on GitHub."""

    max_length = 65_536

    def __init__(self, api: CodeHostApi, variables: Mapping[str, str], number: str) -> None:
        base = variables.get("GITHUB_API_URL", "https://api.github.com")
        self._repository = f"{base}/repos/{variables['GITHUB_REPOSITORY']}"
        self._graphql_url = variables.get("GITHUB_GRAPHQL_URL", f"{base}/graphql")
        self._number = quote(number, safe="")
        self._api = api
        api.set_headers(
            {"Authorization": f"Bearer {variables['GITHUB_TOKEN']}", "Accept": "application/vnd.github+json"}
        )

    def list_comments(self) -> list[HostedComment]:
        """Return the own comments, oldest first. Raises WriteDenied and ClientError.

        The REST API doesn't return the user of the token of a job; GraphQL does.
        """
        viewer = self._api.send("POST", self._graphql_url, json={"query": "query { viewer { login } }"})
        try:
            login = viewer["data"]["viewer"]["login"]
        except (KeyError, TypeError):
            raise ClientError(f"{self._graphql_url} doesn't return the user of the token") from None
        comments = self._api.pages(f"{self._repository}/issues/{self._number}/comments")
        return sorted(
            HostedComment(comment["id"], comment["body"] or "")
            for comment in comments
            if (comment["user"] or {}).get("login") == login  # null for a deleted user
        )

    def create_comment(self, text: str) -> None:
        """Create a comment. Raises WriteDenied and ClientError."""
        self._api.send("POST", f"{self._repository}/issues/{self._number}/comments", json={"body": text})

    def update_comment(self, comment_id: int, text: str) -> None:
        """Replace the text of a comment. Raises WriteDenied and ClientError."""
        self._api.send("PATCH", f"{self._repository}/issues/comments/{comment_id}", json={"body": text})

    def delete_comment(self, comment_id: int) -> None:
        """Delete a comment, which can be deleted already. Raises WriteDenied and ClientError."""
        self._api.delete(f"{self._repository}/issues/comments/{comment_id}")


class GitLabMergeRequest:
    """A merge request on GitLab. It belongs to the target project, also if the pipeline belongs to a fork."""

    max_length = 1_000_000

    def __init__(self, api: CodeHostApi, variables: Mapping[str, str], number: str) -> None:
        self._api_url = variables["CI_API_V4_URL"]
        project = quote(variables.get("CI_MERGE_REQUEST_PROJECT_ID") or variables["CI_PROJECT_ID"], safe="")
        self._notes = f"{self._api_url}/projects/{project}/merge_requests/{quote(number, safe='')}/notes"
        self._api = api
        api.set_headers({"PRIVATE-TOKEN": variables["GITLAB_TOKEN"]})

    def list_comments(self) -> list[HostedComment]:
        """Return the own comments, oldest first. Raises WriteDenied and ClientError."""
        user = self._api.send("GET", f"{self._api_url}/user")
        notes = self._api.pages(self._notes)
        return sorted(HostedComment(note["id"], note["body"]) for note in notes if note["author"]["id"] == user["id"])

    def create_comment(self, text: str) -> None:
        """Create a comment. Raises WriteDenied and ClientError."""
        self._api.send("POST", self._notes, json={"body": text})

    def update_comment(self, comment_id: int, text: str) -> None:
        """Replace the text of a comment. Raises WriteDenied and ClientError."""
        self._api.send("PUT", f"{self._notes}/{comment_id}", json={"body": text})

    def delete_comment(self, comment_id: int) -> None:
        """Delete a comment, which can be deleted already. Raises WriteDenied and ClientError."""
        self._api.delete(f"{self._notes}/{comment_id}")


def _check(response: httpx.Response, described: str) -> None:
    """Raise TemporaryFailure, WriteDenied, or ClientError unless the response is successful."""
    wait_s = _wait_s(response)
    if wait_s is not None:
        message = f"{described}: the request can be repeated after {wait_s:.0f} s"
        raise TemporaryFailure(message, response.status_code, retry_after_s=wait_s)
    if response.status_code == _NOT_FOUND:
        raise NotVisible(described)
    if response.status_code == _FORBIDDEN:
        raise WriteDenied(described)
    if not response.is_success:
        raise ClientError(f"{described} {response.reason_phrase}")


def _wait_s(response: httpx.Response) -> float | None:
    """Return the seconds after which the request can be repeated, or None if the response doesn't permit that.

    GitHub responds with 403 to requests that exceed a rate limit, as for missing permissions.
    """
    if response.status_code not in _LIMITED:
        return None
    stated_s = requested_wait_s(response)
    if stated_s is None and response.headers.get("x-ratelimit-remaining") == "0":
        stated_s = _seconds_until(response.headers.get("x-ratelimit-reset", ""))
    if stated_s is None and (response.status_code == 429 or "rate limit" in response.text):
        return _UNSTATED_LIMIT_S
    return stated_s


def _seconds_until(unix_time: str) -> float | None:
    return max(0.0, int(unix_time) - time.time()) if unix_time.isdecimal() else None
