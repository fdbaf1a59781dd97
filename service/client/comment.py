"""The comment on a pull request: the failures of a run, in one comment that later runs update."""

import os
import time
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from service.client.changes import RunChanges, read_changes
from service.client.ci import CiJob
from service.client.code_hosts import CodeHostApi, CommentTarget, GitHubPullRequest, GitLabMergeRequest, WriteDenied
from service.client.http import open_client, open_server
from service.client.links import ConsoleLinks
from service.client.markdown import render_changes
from service.client.runs import INCOMPLETE, await_complete_run
from service.client.terminal import print_message, without_commands
from service.commands import print_text

DONE: Final = 0

_MAX_COMMENT: Final = 65_000  # characters; GitHub accepts 65,536
_MAX_RETRY_S: Final = 60
_TIMEOUT_S: Final = 30
_MARKER: Final = "<!-- zof-results -->"  # finds the comment of an earlier run


class CodeHost(NamedTuple):
    """A code host: how a pull request is opened, and the variables that this needs."""

    open: Callable[[CodeHostApi, Mapping[str, str], str], CommentTarget]
    variables: tuple[str, ...]


CODE_HOSTS: Final[Mapping[str, CodeHost]] = {
    "github": CodeHost(GitHubPullRequest, ("GITHUB_REPOSITORY", "GITHUB_TOKEN")),
    "gitlab": CodeHost(GitLabMergeRequest, ("CI_API_V4_URL", "CI_PROJECT_ID", "GITLAB_TOKEN")),
}


def comment(url: str, key: str, run_id: str, job: CiJob, code_host: CodeHost | None, timeout_s: float) -> int:
    """Wait until the run is complete, create or update the comment, and return the exit code. Raises ClientError.

    Without a code host, the comment is printed. A pull request without failures gets no comment, but an existing
    comment is updated. `timeout_s` also limits the waits that the code host requests.
    """
    deadline = time.monotonic() + timeout_s
    with open_server(url, key, retry_s=min(timeout_s, _MAX_RETRY_S)) as server:
        run = await_complete_run(server, run_id, timeout_s)
        if run is None:
            return INCOMPLETE
        changes = read_changes(server, run)
        text = render_comment(changes, server.links)
    problem = "" if code_host is None else publish(code_host, job, changes, text, deadline)
    if problem:
        print_message(f"{problem}; the comment is printed instead")
    if problem or code_host is None:
        print_text(without_commands(text))
    return DONE


def detect_code_host(variables: Mapping[str, str]) -> CodeHost | None:
    """Return the code host whose CI system runs this process, or None."""
    if variables.get("GITHUB_ACTIONS"):
        return CODE_HOSTS["github"]
    return CODE_HOSTS["gitlab"] if variables.get("GITLAB_CI") else None


def render_comment(changes: RunChanges, links: ConsoleLinks) -> str:
    """Return the text of the comment, which contains the marker."""
    body = render_changes(changes, _title(changes), links, _MAX_COMMENT - len(_MARKER) - 1)
    return f"{_MARKER}\n{body}"


def _title(changes: RunChanges) -> str:
    counts = changes.comparison["counts"]
    if new := counts["new_failure"]:
        return "1 new failure" if new == 1 else f"{new} new failures"
    return "No new failures" if _has_content(changes) else "No failures"


def _has_content(changes: RunChanges) -> bool:
    return any(changes.groups()) or changes.run["status"] != "passed"


def publish(code_host: CodeHost, job: CiJob, changes: RunChanges, text: str, deadline: float) -> str:
    """Create or update the comment. Return why the comment can't be written, or an empty string.

    `deadline` limits the waits that the code host requests, in the time of `time.monotonic`. Raises ClientError.
    """
    missing = [name for name in code_host.variables if not os.environ.get(name)]
    if missing:
        return f"{missing[0]} isn't set"
    if job.pull_request is None:
        return "this job doesn't run for a pull request"
    try:
        with open_client(timeout=_TIMEOUT_S) as client:
            _write(code_host.open(CodeHostApi(client, deadline), os.environ, job.pull_request), changes, text)
    except WriteDenied as error:
        return f"the token can't write comments: {error}"
    return ""


def _write(pull_request: CommentTarget, changes: RunChanges, text: str) -> None:
    existing = pull_request.find_comment(_MARKER)
    if existing:
        pull_request.update_comment(existing, text)
        print_message("the comment is updated")
    elif _has_content(changes):
        pull_request.create_comment(text)
        print_message("the comment is created")
    else:
        print_message("the run has no failures, so there is nothing to comment")
