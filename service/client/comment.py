"""Comments on a pull request: the failures of each project, in one comment per project that later runs update."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from service.client.changes import read_changes
from service.client.ci import CiJob
from service.client.code_hosts import CodeHostApi, CommentTarget, GitHubPullRequest, GitLabMergeRequest, WriteDenied
from service.client.comment_texts import ProjectComment, add_problems, write_comments
from service.client.http import ClientError, open_client
from service.client.markdown import Links
from service.client.pipelines import await_runs, describe_absence, find_missing_projects
from service.client.project_comments import write_all
from service.client.repository_paths import RepositoryPaths
from service.client.runs import INCOMPLETE, AwaitedRun, Deadline, print_problem
from service.client.selections import AbsentJobs, Selection
from service.client.servers import ServerKey, open_servers, server_of
from service.client.terminal import print_message, without_commands
from service.commands import print_text

DONE: Final = 0

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
            write_all(code_host.open(api, os.environ, job.pull_request), comments)
    except WriteDenied as error:
        return f"the token can't write comments: {error}"
    return ""


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


def _report_problems(selection: Selection, awaited: Sequence[AwaitedRun], deadline: Deadline) -> int:
    """Print why runs are incomplete, and return the exit code."""
    problems = [run for run in awaited if run.problem]
    for run in problems:
        print_problem(run)
    if not awaited:
        print_message(f"{describe_absence(selection)} after {deadline.timeout_s:g} s")
    return INCOMPLETE if problems or not awaited else DONE
