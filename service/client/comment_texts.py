"""The texts of comments on a pull request, one for each project."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from service.client.changes import RunChanges
from service.client.markdown import Links, RunText, code_span, describe_problem, render_changes
from service.client.pipelines import MissingProject
from service.client.runs import AwaitedRun
from service.client.selections import AbsentJobs
from service.comparison.model import describe_missing_items

_MAX_COMMENT: Final = 64_000  # characters without problems; GitHub accepts 65,536


class ProjectComment(NamedTuple):
    """The comment of a project. `is_needed` is false if nothing is new, so that only an existing comment is updated."""

    project: str
    body: str
    is_needed: bool

    @property
    def marker(self) -> str:
        """The start of the text, which finds the comment of an earlier run.

        The project is escaped, because `--` isn't permitted in a comment of HTML, and `>` can end it.
        """
        return f"<!-- zof-results: {quote(self.project, safe=' ').replace('--', '%2D%2D')} -->"

    @property
    def text(self) -> str:
        """The Markdown of the comment."""
        return f"{self.marker}\n{self.body}"

    @property
    def description(self) -> str:
        """The comment in a message."""
        return f"the comment of project {self.project}"


def write_comments(
    changes: Iterable[RunChanges], missing: Iterable[MissingProject], links: Links, absent: AbsentJobs
) -> list[ProjectComment]:
    """Return the comments of the projects with a run, and then of the missing projects.

    A project has a second run if an earlier client, whose run ID doesn't contain the project, reported a part of it.
    """
    ordered = sorted(changes, key=_project_of)
    by_project = [(project, list(runs)) for project, runs in groupby(ordered, _project_of)]
    comments = [_write_comment(project, runs, links, absent) for project, runs in by_project]
    return comments + list(map(_write_absence, missing))


def add_problems(comments: Iterable[ProjectComment], awaited: Iterable[AwaitedRun]) -> list[ProjectComment]:
    """Return the comments, which begin with the problems of incomplete runs.

    Without them, the comment of an earlier run would stay, and state that the pull request has its failures.
    """
    by_project = {comment.project: comment for comment in comments}
    for each in awaited:
        if each.run and each.problem:
            project = each.run["project_id"]
            problem = f"Run {code_span(each.run_id)} {describe_problem(each.problem)}"
            body = f"### {code_span(project)}: incomplete\n\n{problem}\n"
            if known := by_project.get(project):
                body = f"{body}\n{known.body}"
            by_project[project] = ProjectComment(project, body, is_needed=True)
    return list(by_project.values())


def _project_of(changes: RunChanges) -> str:
    return str(changes.run["project_id"])


def _write_comment(project: str, runs: Sequence[RunChanges], links: Links, absent: AbsentJobs) -> ProjectComment:
    texts = [_describe_run(changes, absent) for changes in runs]
    empty = ProjectComment(project, "", is_needed=any(_has_news(changes, absent) for changes in runs))
    max_length = (_MAX_COMMENT - len(empty.text)) // len(texts) - 1
    return empty._replace(body="\n".join(render_changes(text, links, max_length) for text in texts))


def _write_absence(missing: MissingProject) -> ProjectComment:
    notes = f" ({', '.join(missing.notes)})" if missing.notes else ""
    title = f"### {code_span(missing.project)}: no results{notes}"
    text = "The project sent no results to this pipeline. It sent results to the pipeline of the base branch."
    body = f"{title}\n\n{text}\n"
    return ProjectComment(missing.project, body, is_needed=not missing.allowed)


def _describe_run(changes: RunChanges, absent: AbsentJobs) -> RunText:
    parts = _missing_parts(changes, absent)
    lacking = _count_lacking(parts)
    statements = [f"{_count(lacking, 'job')} sent no results"] if lacking else []
    if items := changes.comparison.get("missing_items"):
        statements.append(f"{_count(items, 'item')} not executed")
    title = ", ".join([*statements, _describe_failures(changes)])
    stated = changes.describe_missing_parts({"missing_parts": parts}, code_span)
    missing = "; ".join(filter(None, (stated, describe_missing_items(changes.comparison, code_span)))) or None
    status = f" ({changes.unexplained_status})" if changes.unexplained_status else ""
    return RunText(changes, f"{code_span(_project_of(changes))}{status}: {title}", missing)


def _missing_parts(changes: RunChanges, absent: AbsentJobs) -> list[dict[str, Any]]:
    """Return the missing parts in the form of a decision, which states whether they are allowed to be missing."""
    missing = changes.comparison.get("missing_parts") or ()
    return [{**part, "allowed": absent.allow(part["part"] or "")} for part in missing]


def _count_lacking(parts: Iterable[dict[str, Any]]) -> int:
    return sum(not part["allowed"] for part in parts)


def _describe_failures(changes: RunChanges) -> str:
    """Return the number of new failures. Without a comparison, the failures aren't known to be new."""
    if not changes.baseline and changes.failing:
        return f"{_count(changes.failing, 'failure')}, not compared"
    if new := changes.comparison["counts"]["new_failure"]:
        return _count(new, "new failure")
    return "no new failures" if any(changes.groups()) or changes.run["status"] != "passed" else "no failures"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _has_news(changes: RunChanges, absent: AbsentJobs) -> bool:
    """Return whether the run has new failures, lacks results, or has a status that no result explains.

    The status of a run with a failure and canceled results is `failed`, so the canceled results are counted too.
    """
    lacking = _count_lacking(_missing_parts(changes, absent))
    has_new = changes.comparison["counts"]["new_failure"] or changes.run["counts"]["canceled"]
    return bool(has_new or lacking or changes.unexplained_status or changes.comparison.get("missing_items"))
