"""Comments on a pull request: the failures of all projects, or of one, in a comment that later runs update."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import chain
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
from service.client.comment_texts import (
    SHARED_MARKER,
    ProjectComment,
    add_problems,
    add_versions,
    join_sections,
    read_sections,
    select_newest,
    write_comments,
)
from service.client.http import ClientError, open_client, send_with_retries
from service.client.markdown import Links
from service.client.pipelines import await_runs, describe_absence, find_missing_projects
from service.client.runs import INCOMPLETE, AwaitedRun, Deadline, print_problem
from service.client.selections import AbsentJobs, Selection
from service.client.servers import ServerKey, open_servers, server_of
from service.client.terminal import print_message, without_commands
from service.command_line import print_text
from service.domain.backoff import Backoff

DONE: Final = 0

_EARLIER_MARKER: Final = "<!-- zof-results -->"  # of clients whose comments didn't state the project
_MAX_RETRY_S: Final = 60
_TIMEOUT_S: Final = 30
_MIN_CONFIRMATION_S: Final = 30  # also if the wait for the runs has used up the timeout
_PAUSE_S: Final = 3.0  # before the comment is read again; longer than another job takes to read and write it
_MAX_PAUSE_S: Final = 20.0


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
    """Wait until the runs are complete, create or update the comment, and return the exit code. Raises ClientError.

    Without a selected project, the comment has a section for each project. Without a code host, it is printed. Runs
    without new failures create no comment, but update an existing one. The comment on an incomplete run states why it
    is incomplete. `timeout_s` also limits the waits that the code host requests.
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
    if comments:
        marker = comments[0].marker if request.selection.project else SHARED_MARKER
        _publish_or_print(code_host, job, add_versions(comments, awaited), marker, deadline)
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
    code_host: CodeHost | None, job: CiJob, comments: Sequence[ProjectComment], marker: str, deadline: Deadline
) -> None:
    problem = "" if code_host is None else publish(code_host, job, comments, marker, deadline)
    if problem:
        print_message(f"{problem}; the comment is printed instead")
    if problem or code_host is None:
        print_text(without_commands(join_sections(comments, marker, GitHubPullRequest.max_length)))


def publish(
    code_host: CodeHost, job: CiJob, comments: Sequence[ProjectComment], marker: str, deadline: Deadline
) -> str:
    """Create or update the comment with this marker. Return why it can't be written, or an empty string.

    `deadline` limits the waits that the code host requests. Raises ClientError.
    """
    missing = [name for name in code_host.variables if not os.environ.get(name)]
    if missing:
        return f"{missing[0]} isn't set"
    if job.pull_request is None:
        return "this job doesn't run for a pull request"
    try:
        with open_client(timeout=_TIMEOUT_S) as client:
            target = code_host.open(CodeHostApi(client), os.environ, job.pull_request)
            return _write_until_confirmed(target, comments, marker, deadline)
    except WriteDenied as error:
        return f"the token can't write comments: {error}"


def _write_until_confirmed(
    target: CommentTarget, comments: Sequence[ProjectComment], marker: str, deadline: Deadline
) -> str:
    """Write the sections until the comment has them. Return why it might lack them, or an empty string.

    A code host can't prevent a job from replacing what another one has written since that job read the comment.
    Therefore, each job reads the comment again after a pause in which such a write ends, and restores all sections that
    it has seen. No request is repeated without reading the comment again. Raises WriteDenied and ClientError.
    """
    ends_at = max(deadline.ends_at, time.monotonic() + _MIN_CONFIRMATION_S)
    seen = {comment.project: comment for comment in comments}
    for delay_s in Backoff(_PAUSE_S, _MAX_PAUSE_S, jitter=0.5):
        write = partial(_write_lacking, target, list(seen.values()), marker)
        seen, duration_s = send_with_retries(write, deadline.remaining_s)
        if duration_s is None:
            if kept := [each.project for each in comments if seen[each.project].version > each.version]:
                print_message(f"the comment keeps the newer results of {', '.join(kept)}")
            return ""
        pause_s = max(delay_s, 2 * duration_s)
        if time.monotonic() + pause_s > ends_at:
            break
        time.sleep(pause_s)
    return "other jobs replaced the comment until the end of the wait"


def _write_lacking(
    target: CommentTarget, sections: Sequence[ProjectComment], marker: str
) -> tuple[dict[str, ProjectComment], float | None]:
    """Write the comment if it lacks a section. Return all sections, and the duration in seconds if it was written.

    If two jobs have created the comment, the later one is deleted as soon as the first one has its sections.
    """
    start = time.monotonic()
    hosted = target.list_comments()
    existing = _find(hosted, marker) or _find(hosted, _EARLIER_MARKER)[:1]
    present = select_newest(read_sections(existing[0].text)) if existing else {}
    newest = select_newest(chain(sections, *(read_sections(each.text) for each in reversed(existing))))
    if not existing and not any(section.is_needed for section in sections):
        print_message("the comment isn't needed, because the run has no new failures")
    elif newest != present:
        text = join_sections(newest.values(), marker, target.max_length)
        if existing:
            target.update_comment(existing[0].comment_id, text)
        else:
            target.create_comment(text)
        print_message(f"the comment is {'updated' if existing else 'created'}")
        return newest, time.monotonic() - start
    for duplicate in existing[1:]:
        target.delete_comment(duplicate.comment_id)
    return newest, None


def _find(hosted: Sequence[HostedComment], marker: str) -> list[HostedComment]:
    """Return the comments that start with the marker. Text of a producer can contain the marker of another project."""
    return [comment for comment in hosted if comment.text.startswith(marker)]


def _report_problems(selection: Selection, awaited: Sequence[AwaitedRun], deadline: Deadline) -> int:
    """Print why runs are incomplete, and return the exit code."""
    problems = [run for run in awaited if run.problem]
    for run in problems:
        print_problem(run)
    if not awaited:
        print_message(f"{describe_absence(selection)} after {deadline.timeout_s:g} s")
    return INCOMPLETE if problems or not awaited else DONE
