"""The REST APIs of GitHub and GitLab: comments on pull requests and merge requests."""

from collections.abc import Iterator, Mapping
from typing import Any, Final, Protocol
from urllib.parse import quote

import httpx

from service.client.http import ClientError

_PAGE: Final = 100
_MAX_PAGES: Final = 30
_DENIED: Final = (403, 404)  # 404 hides a private project from a token without access


class WriteDenied(ClientError):
    """The token can't write comments, for example because the pull request is from a fork."""


class CommentTarget(Protocol):
    """A pull request or merge request, whose comments can be written."""

    def find_comment(self, marker: str) -> str | None:
        """Return the ID of the own comment that contains the marker, or None. Raises WriteDenied and ClientError."""

    def create_comment(self, text: str) -> None:
        """Create a comment. Raises WriteDenied and ClientError."""

    def update_comment(self, comment_id: str, text: str) -> None:
        """Replace the text of a comment. Raises WriteDenied and ClientError."""


class GitHubPullRequest:
    """A pull request on GitHub."""

    def __init__(self, client: httpx.Client, variables: Mapping[str, str], number: str) -> None:
        base = variables.get("GITHUB_API_URL", "https://api.github.com")
        self._repository = f"{base}/repos/{variables['GITHUB_REPOSITORY']}"
        self._graphql_url = variables.get("GITHUB_GRAPHQL_URL", f"{base}/graphql")
        self._number = quote(number, safe="")
        self._client = client
        client.headers["Authorization"] = f"Bearer {variables['GITHUB_TOKEN']}"
        client.headers["Accept"] = "application/vnd.github+json"

    def find_comment(self, marker: str) -> str | None:
        """Return the ID of the own comment that contains the marker, or None. Raises WriteDenied and ClientError.

        The REST API doesn't return the user of the token of a job; GraphQL does.
        """
        viewer = _send(self._client, "POST", self._graphql_url, json={"query": "query { viewer { login } }"})
        try:
            login = viewer["data"]["viewer"]["login"]
        except (KeyError, TypeError):
            raise ClientError(f"{self._graphql_url} doesn't return the user of the token") from None
        for comment in _pages(self._client, f"{self._repository}/issues/{self._number}/comments"):
            author = comment["user"] or {}  # null for a deleted user
            if author.get("login") == login and marker in (comment["body"] or ""):
                return str(comment["id"])
        return None

    def create_comment(self, text: str) -> None:
        """Create a comment. Raises WriteDenied and ClientError."""
        _send(self._client, "POST", f"{self._repository}/issues/{self._number}/comments", json={"body": text})

    def update_comment(self, comment_id: str, text: str) -> None:
        """Replace the text of a comment. Raises WriteDenied and ClientError."""
        _send(self._client, "PATCH", f"{self._repository}/issues/comments/{comment_id}", json={"body": text})


class GitLabMergeRequest:
    """A merge request on GitLab."""

    def __init__(self, client: httpx.Client, variables: Mapping[str, str], number: str) -> None:
        self._api_url = variables["CI_API_V4_URL"]
        project = quote(variables["CI_PROJECT_ID"], safe="")
        self._notes = f"{self._api_url}/projects/{project}/merge_requests/{quote(number, safe='')}/notes"
        self._client = client
        client.headers["PRIVATE-TOKEN"] = variables["GITLAB_TOKEN"]

    def find_comment(self, marker: str) -> str | None:
        """Return the ID of the own comment that contains the marker, or None. Raises WriteDenied and ClientError."""
        user = _send(self._client, "GET", f"{self._api_url}/user")
        for note in _pages(self._client, self._notes):
            if note["author"]["id"] == user["id"] and marker in note["body"]:
                return str(note["id"])
        return None

    def create_comment(self, text: str) -> None:
        """Create a comment. Raises WriteDenied and ClientError."""
        _send(self._client, "POST", self._notes, json={"body": text})

    def update_comment(self, comment_id: str, text: str) -> None:
        """Replace the text of a comment. Raises WriteDenied and ClientError."""
        _send(self._client, "PUT", f"{self._notes}/{comment_id}", json={"body": text})


def _pages(client: httpx.Client, url: str) -> Iterator[dict[str, Any]]:
    for page in range(1, _MAX_PAGES + 1):
        items = _send(client, "GET", url, params={"per_page": _PAGE, "page": page})
        yield from items
        if len(items) < _PAGE:
            return


def _send(client: httpx.Client, method: str, url: str, **request: Any) -> Any:
    try:
        response = client.request(method, url, **request)
    except httpx.HTTPError as error:
        raise ClientError(f"{url} doesn't respond: {str(error) or type(error).__name__}") from error
    if response.status_code in _DENIED:
        raise WriteDenied(f"{method} {url} responds with {response.status_code}")
    if not response.is_success:
        raise ClientError(f"{method} {url} responds with {response.status_code} {response.reason_phrase}")
    try:
        return response.json()
    except ValueError:
        raise ClientError(f"{method} {url} responds with invalid JSON") from None
