"""Comments on a pull request: the failures of each project, in one comment per project that later runs update."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from service.client.changes import read_changes
from service.client.checkout import RepositoryPaths
from service.client.ci import CiJob
from service.client.code_hosts import (
    CodeHostApi,
    CommentTarget,
    GitHubPullRequest,
    GitLabMergeRequest,
    HostedComment,
    WriteDenied,
)
from service.client.comment_texts import ProjectComment, add_problems, write_comments
from service.client.http import ClientError, open_client
from service.client.markdown import Links
from service.client.pipelines import await_runs, describe_absence, find_missing_projects
from service.client.runs import INCOMPLETE, AwaitedRun, Deadline, print_problem
from service.client.selections import AbsentJobs, Selection
from service.client.servers import ServerKey, open_servers, server_of
from service.client.terminal import print_message, without_commands
from service.command_line import print_text

DONE: Final = 0

_EARLIER_MARKER: Final = "<!-- zof-results -->"  # of clients whose comments didn't state the project
_MAX_RETRY_S: Final = 60
_TIMEOUT_S: Final = 30


class CodeHost(NamedTuple):
    """A code host: how a pull request is opened, and the variables that this needs."""

    open: Callable[[CodeHostApi, Mapping[str, str], str], CommentTarget]
    variables: tuple[str, ...]


CODE_HOSTS: Final[Mapping[str, CodeHost]] = {
    "github": CodeHost(GitHubPullRequest, ("GITHUB_REPOSITORY", "GITHUB_TOKEN")),
    "gitlab": CodeHost(GitLabMergeRequest, ("CI_API_V4_URL", "CI_PROJECT_ID", "GITLAB_TOKEN")),
}


class CommentRequest(NamedTuple):
    """The runs to comment on, the paths of files in the repository, and the jobs that can send no results."""

    selection: Selection
    paths: RepositoryPaths
    absent: AbsentJobs = AbsentJobs()


def comment(
    url: str, key: ServerKey, request: CommentRequest, job: CiJob, code_host: CodeHost | None, timeout_s: float
) -> int:
    """Wait until the runs are complete, create or update the comments, and return the exit code. Raises ClientError.

    Without a code host, the comments are printed. A project without new failures gets no comment, but an existing
    comment is updated. The comment on an incomplete run states why it is incomplete. `timeout_s` also limits the waits
    that the code host requests.
    """
    deadline = Deadline.after(timeout_s)
    with open_servers(url, key, min(timeout_s, _MAX_RETRY_S), request.selection.project) as servers:
        awaited, problem = await_runs(servers, request.selection, deadline, completes=False)
        _check_errors(awaited, problem)
        runs = [found.run for found in awaited if found.run and not found.problem]
        canceled = request.absent.canceled
        changes = [read_changes(server_of(servers, run["project_id"]), run, canceled) for run in runs]
        present = {found.run["project_id"] for found in awaited if found.run}
        missing = find_missing_projects(servers, request.selection, changes, present, request.absent)
        links = Links(servers[0].links, request.paths)
    comments = add_problems(write_comments(changes, missing, links, request.absent), awaited)
    _publish_or_print(code_host, job, comments, deadline)
    return _report_problems(request.selection, awaited, deadline)


def detect_code_host(variables: Mapping[str, str]) -> CodeHost | None:
    """Return the code host whose CI system runs this process, or None."""
    if variables.get("GITHUB_ACTIONS"):
        return CODE_HOSTS["github"]
    return CODE_HOSTS["gitlab"] if variables.get("GITLAB_CI") else None


def _check_errors(awaited: Sequence[AwaitedRun], problem: str | None) -> None:
    errors = [f"run {run.run_id}: {run.problem}" for run in awaited if run.is_error] + [problem]
    if any(errors):
        raise ClientError("; ".join(filter(None, errors)))


def _publish_or_print(
    code_host: CodeHost | None, job: CiJob, comments: Sequence[ProjectComment], deadline: Deadline
) -> None:
    problem = "" if code_host is None or not comments else publish(code_host, job, comments, deadline)
    if problem:
        print_message(f"{problem}; the comment is printed instead")
    if problem or code_host is None:
        for written in comments:
            print_text(without_commands(written.text))


def publish(code_host: CodeHost, job: CiJob, comments: Sequence[ProjectComment], deadline: Deadline) -> str:
    """Create or update the comments. Return why comments can't be written, or an empty string.

    `deadline` limits the waits that the code host requests. Raises ClientError.
    """
    missing = [name for name in code_host.variables if not os.environ.get(name)]
    if missing:
        return f"{missing[0]} isn't set"
    if job.pull_request is None:
        return "this job doesn't run for a pull request"
    try:
        with open_client(timeout=_TIMEOUT_S) as client:
            api = CodeHostApi(client, deadline.ends_at)
            _write_all(code_host.open(api, os.environ, job.pull_request), comments)
    except WriteDenied as error:
        return f"the token can't write comments: {error}"
    return ""


def _write_all(target: CommentTarget, comments: Sequence[ProjectComment]) -> None:
    """Create or update the comments. Raises WriteDenied and ClientError.

    A comment with the earlier marker becomes the comment of the first project that has none. A comment that isn't
    needed is only updated. A code host can't prevent two jobs from creating the same comment, so each of them deletes
    the later one.
    """
    hosted = target.list_comments()
    created = []
    for comment in comments:
        existing = _find(hosted, comment.marker) or _find(hosted, _EARLIER_MARKER)[:1]
        if existing:
            _replace(target, existing, comment)
            hosted = [other for other in hosted if other not in existing]
        elif comment.is_needed:
            target.create_comment(comment.text)
            created.append(comment)
            print_message(f"{comment.description} is created")
        else:
            print_message(f"{comment.description} isn't needed, because the run has no new failures")
    if created:
        _delete_duplicates(target, created)


def _find(hosted: Sequence[HostedComment], marker: str) -> list[HostedComment]:
    """Return the comments that start with the marker. Text of a producer can contain the marker of another project."""
    return [comment for comment in hosted if comment.text.startswith(marker)]


def _replace(target: CommentTarget, existing: Sequence[HostedComment], comment: ProjectComment) -> None:
    first, *duplicates = existing
    target.update_comment(first.comment_id, comment.text)
    for duplicate in duplicates:
        target.delete_comment(duplicate.comment_id)
    print_message(f"{comment.description} is updated")


def _delete_duplicates(target: CommentTarget, created: Sequence[ProjectComment]) -> None:
    """Keep only the first of several comments of a project, which another job can have created at the same time."""
    hosted = target.list_comments()
    for comment in created:
        if len(existing := _find(hosted, comment.marker)) > 1:
            _replace(target, existing, comment)


def _report_problems(selection: Selection, awaited: Sequence[AwaitedRun], deadline: Deadline) -> int:
    """Print why runs are incomplete, and return the exit code."""
    problems = [run for run in awaited if run.problem]
    for run in problems:
        print_problem(run)
    if not awaited:
        print_message(f"{describe_absence(selection)} after {deadline.timeout_s:g} s")
    return INCOMPLETE if problems or not awaited else DONE
