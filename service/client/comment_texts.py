"""The texts of comments on a pull request: one for each project, or one with a section for each project."""

import re
import time
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any, Final, NamedTuple
from urllib.parse import quote, unquote

from service.client.changes import RunChanges
from service.client.http import ClientError
from service.client.markdown import Links, RunText, code_span, describe_problem, render_changes
from service.client.pipelines import MissingProject
from service.client.runs import AwaitedRun
from service.client.selections import AbsentJobs
from service.comparison.model import describe_missing_items

SHARED_MARKER: Final = "<!-- zof-results-projects -->"  # earlier clients don't find it

_MAX_COMMENT: Final = 64_000  # characters without problems; GitHub accepts 65,536
_MARKER: Final = (
    "<!-- zof-results-section: {} completed={} revision={} written={} new={} uncompared={} lacking={} -->\n"
)
_SECTION: Final = re.compile("^" + _MARKER.format("(.+?)", r"(\S*)", *[r"(\d{1,18})"] * 5), re.MULTILINE)
_SHORTENED: Final = "\n\nThis section is shortened, because the length of a comment is limited.\n"


class ProjectComment(NamedTuple):
    """What is stated about a project, in a comment of its own or in a section of the comment of all projects.

    `new` and `uncompared` count failures. `lacking` is true if results are missing or a status is unexplained. Later
    statements have a greater `version`: the completion time of the run, which its reruns don't change, the revision of
    the run, and the time of the statement in ms.
    """

    project: str
    body: str
    new: int = 0
    uncompared: int = 0
    lacking: bool = False
    version: tuple[str, int, int] = ("", 0, 0)

    @property
    def is_needed(self) -> bool:
        """Whether something is new. Otherwise, only an existing comment is updated."""
        return bool(self.new or self.uncompared or self.lacking)

    @property
    def marker(self) -> str:
        """The start of the comment of this project, which finds the comment of an earlier run."""
        return f"<!-- zof-results: {self._escaped_project} -->"

    @property
    def section(self) -> str:
        """The Markdown after a marker, which no line of the Markdown can contain."""
        marker = _MARKER.format(self._escaped_project, *self.version, self.new, self.uncompared, int(self.lacking))
        return marker + self.body.replace("<!-- zof-results", "<! -- zof-results")

    @property
    def _escaped_project(self) -> str:
        """The project without `--`, which isn't permitted in a comment of HTML, and `>`, which can end it."""
        return quote(self.project, safe=" ").replace("--", "%2D%2D")


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


def read_sections(text: str) -> list[ProjectComment]:
    """Return the sections of a comment."""
    _, *fields = _SECTION.split(text.replace("\r\n", "\n"))  # editing a comment on GitHub changes the ends of lines
    sections = []
    for start in range(0, len(fields), 8):
        project, completed_at, *numbers, body = fields[start : start + 8]
        revision, written_ms, new, uncompared, lacking = map(int, numbers)
        version = (completed_at, revision, written_ms)
        sections.append(ProjectComment(unquote(project), f"{body.rstrip()}\n", new, uncompared, lacking > 0, version))
    return sections


def select_newest(sections: Iterable[ProjectComment]) -> dict[str, ProjectComment]:
    """Return the newest section of each project."""
    return {section.project: section for section in sorted(sections, key=lambda each: each.version)}


def join_sections(sections: Iterable[ProjectComment], marker: str, max_length: int) -> str:
    """Return a comment of at most `max_length` characters. Raises ClientError if it has too many projects.

    Projects with new failures are first, and then those that lack results. The longest sections are shortened.
    """
    ordered = sorted(sections, key=lambda each: (not (each.new or each.uncompared), not each.lacking, each.project))
    head = f"{marker}\n" + (f"**{_summarize(ordered)}**\n\n" if marker == SHARED_MARKER else "")
    return head + "\n".join(_shorten_longest([each.section for each in ordered], max_length - len(head)))


def add_problems(comments: Iterable[ProjectComment], awaited: Iterable[AwaitedRun]) -> list[ProjectComment]:
    """Return the comments, which begin with the problems of incomplete runs.

    Without them, the comment of an earlier run would stay, and state that the pull request has its failures.
    """
    by_project = {comment.project: comment for comment in comments}
    for each in awaited:
        if each.run and each.problem:
            project = str(each.run["project_id"])
            problem = f"Run {code_span(each.run_id)} {describe_problem(each.problem)}"
            body = f"### {code_span(project)}: incomplete\n\n{problem}\n"
            known = by_project.get(project, ProjectComment(project, ""))
            by_project[project] = known._replace(body="\n".join(filter(None, (body, known.body))), lacking=True)
    return list(by_project.values())


def add_versions(comments: Iterable[ProjectComment], awaited: Iterable[AwaitedRun]) -> list[ProjectComment]:
    """Return the comments with the versions of their runs.

    A missing project has the version of the first run of the pipeline, so that its own run is newer.
    """
    runs = [each.run for each in awaited if each.run]
    first = min((run["completed_at"] for run in runs), default="")
    versioned = []
    for comment in comments:
        own = [run for run in runs if run["project_id"] == comment.project]
        completed_at = max((run["completed_at"] for run in own), default=first)
        version = (completed_at, sum(run["revision"] for run in own), int(time.time() * 1000))
        versioned.append(comment._replace(version=version))
    return versioned


def _project_of(changes: RunChanges) -> str:
    return str(changes.run["project_id"])


def _write_comment(project: str, runs: Sequence[RunChanges], links: Links, absent: AbsentJobs) -> ProjectComment:
    texts = [_describe_run(changes, absent) for changes in runs]
    new = sum(changes.comparison["counts"]["new_failure"] for changes in runs if changes.baseline)
    uncompared = sum(changes.comparison["counts"]["new_failure"] for changes in runs if not changes.baseline)
    max_length = _MAX_COMMENT // len(texts) - 1
    body = "\n".join(render_changes(text, links, max_length) for text in texts)
    return ProjectComment(project, body, new, uncompared, any(_is_lacking(changes, absent) for changes in runs))


def _write_absence(missing: MissingProject) -> ProjectComment:
    notes = f" ({', '.join(missing.notes)})" if missing.notes else ""
    title = f"### {code_span(missing.project)}: no results{notes}"
    text = "The project sent no results to this pipeline. It sent results to the pipeline of the base branch."
    body = f"{title}\n\n{text}\n"
    return ProjectComment(missing.project, body, lacking=not missing.allowed)


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


def _is_lacking(changes: RunChanges, absent: AbsentJobs) -> bool:
    """Return whether the run lacks results, or has a status that no result explains.

    The status of a run with a failure and canceled results is `failed`, so the canceled results are counted too.
    """
    lacking = _count_lacking(_missing_parts(changes, absent)) or changes.run["counts"]["canceled"]
    return bool(lacking or changes.unexplained_status or changes.comparison.get("missing_items"))


def _summarize(sections: Sequence[ProjectComment]) -> str:
    """Return the result over all projects, such as `2 new failures in 1 of 3 projects`."""
    total = _count(len(sections), "project")
    counts = {
        "new failure": [each.new for each in sections],
        "uncompared failure": [each.uncompared for each in sections],
    }
    statements = [
        f"{_count(sum(numbers), noun)} in {sum(map(bool, numbers))} of {total}"
        for noun, numbers in counts.items()
        if any(numbers)
    ]
    if lacking := sum(section.lacking for section in sections):
        statements.append(f"{lacking} of {total} without complete results")
    return "; ".join(statements) or f"No new failures in {total}"


def _shorten_longest(texts: Sequence[str], max_length: int) -> list[str]:
    """Return the texts, the longest ones shortened to the same length, so that their lines fit."""
    remaining = longest = max_length - len(texts)
    for count, length in zip(range(len(texts), 0, -1), sorted(map(len, texts)), strict=True):
        longest = remaining // count
        if length > longest:
            break
        remaining -= length
    return [text if len(text) <= longest else _shorten(text, longest) for text in texts]


def _shorten(text: str, max_length: int) -> str:
    """Return the first lines of a section, at least the marker and the title. Raises ClientError."""
    lines, _, _ = text[: max(0, max_length - len(_SHORTENED))].rpartition("\n")
    if lines.count("\n") < 1:
        raise ClientError("the pull request has too many projects for one comment. Use --project")
    return f"{lines}\n{_SHORTENED}"
