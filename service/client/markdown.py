"""Markdown for the summaries of CI jobs and for comments on pull requests.

Names, messages, and branches are text of the producer of a report. They are code spans (CommonMark 6.1), in which
Markdown, HTML, mentions, and links have no meaning. The sentences around them are prose.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from service.client.changes import FileCount, RunChanges, merge_by_details
from service.client.checkout import RepositoryPaths
from service.client.http import ConsoleLinks
from service.client.runs import format_counts
from service.comparison.model import describe_variant, full_name
from service.domain.texts import DIRECTIONS
from service.failures.model import to_line

_BACKTICKS: Final = re.compile(r"`+")
_MAX_TEXT: Final = 300  # characters of a name or message
_MAX_FILES: Final = 20
_IN_URLS: Final = "/:?#@!$&'+,;=%~"


class RunText(NamedTuple):
    """What the Markdown about a run states. It must contain text of a producer only in code spans.

    `missing` are the parts that sent no results, in words.
    """

    changes: RunChanges
    title: str
    missing: str | None = None


class Links(NamedTuple):
    """The links in the Markdown: pages of the console, and files of the repository."""

    console: ConsoleLinks
    paths: RepositoryPaths


def render_changes(text: RunText, links: Links, max_length: int) -> str:
    """Return the failures of a run as Markdown of at most `max_length` characters, after what the run lacks."""
    run = text.changes.run
    run_url = links.console.run(run["run_id"])
    head = [f"### {text.title}", ""]
    head += [f"**{text.missing}**", ""] if text.missing else []
    head += [f"Run [{code_span(run['run_id'])}]({run_url}): {format_counts(run)}", ""]
    head += [_sentence(text.changes.describe_baseline(code_span)), ""]
    omission = f"[The run]({run_url}) has further failures that aren't shown here."
    lines = list(head)
    length = sum(len(line) + 1 for line in lines)
    for block in _blocks(text.changes, links):
        size = sum(len(line) + 1 for line in block)
        if length + size > max_length - len(omission) - 1:
            lines.append(omission)
            break
        lines += block
        length += size
    return "\n".join(lines).rstrip("\n") + "\n"


def code_span(text: str) -> str:
    """Return the text as one code span. A long text is shortened."""
    line = DIRECTIONS.sub("", to_line(text))
    line = line if len(line) <= _MAX_TEXT else f"{line[: _MAX_TEXT - 1]}…"
    if not line:
        return ""
    fence = "`" * (max((len(run) for run in _BACKTICKS.findall(line)), default=0) + 1)
    padding = " " if line[0] in "` " or line[-1] in "` " else ""
    return f"{fence}{padding}{line}{padding}{fence}"


def describe_problem(problem: str) -> str:
    """Return why a run is incomplete. Only the details after the first colon can contain text of a producer."""
    statement, colon, details = problem.partition(": ")
    return f"{statement}{colon}{code_span(details)}"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}"


def _blocks(changes: RunChanges, links: Links) -> Iterator[list[str]]:
    """Yield lines that are shown together: the files, the title of a group with its first test, and each test."""
    if files := changes.files():
        yield [*_describe_files(changes, files, links.paths), ""]
    for group in changes.groups():
        title = [f"**{group.title}: {group.total}**", ""]
        for results in group.tests():
            yield [*title, *_describe_test(changes, links, results)]
            title = []
        if group.omitted:
            yield [*title, f"- and {group.omitted} more"]
        yield [""]


def _describe_files(changes: RunChanges, files: list[FileCount], paths: RepositoryPaths) -> Iterator[str]:
    """Yield a table of the files. A pipe ends a cell, also in a code span (GFM 4.10)."""
    yield from ("| File | Failing | Change |", "|---|---:|---:|")
    for file, failing, change in files[:_MAX_FILES]:
        path = paths.find(file, changes.run["project_id"])
        name = _link(code_span(path).replace("|", "\\|"), changes.file_url(path))
        yield f"| {name} | {failing} | {_format_change(change)} |"
    notes = [f"and {len(files) - _MAX_FILES} more files"] if len(files) > _MAX_FILES else []
    notes += [f"of the first {len(changes.comparison['data'])} failing and fixed results"] if changes.is_partial else []
    if notes:
        yield from ("", "; ".join(notes))


def _format_change(change: int | None) -> str:
    if change is None:
        return "–"
    return f"+{change}" if change > 0 else f"−{-change}" if change else "±0"


def _describe_test(changes: RunChanges, links: Links, results: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield one item of a list. Variants of the test with the same details share them."""
    [first, *others] = results
    if not others:
        yield f"- [{code_span(full_name(first)) or 'unnamed'}]({links.console.result(first['id'])})"
        yield from (f"  <br>{detail}" for detail in _describe_details(changes, links, first))
        return
    yield f"- {code_span(full_name(first | {'variant': {}})) or 'unnamed'}"
    for details, variants in merge_by_details(results, lambda each: _describe_details(changes, links, each)).items():
        named = ((code_span(describe_variant(each)) or "no variant", each["id"]) for each in variants)
        linked = ", ".join(f"[{name}]({links.console.result(result_id)})" for name, result_id in named)
        yield from (f"  <br>{line}" for line in (linked, *details))


def _describe_details(changes: RunChanges, links: Links, result: dict[str, Any]) -> Iterator[str]:
    if result["failure_summary"]:
        yield code_span(result["failure_summary"])
    if evidence := changes.evidence(result, code_span):
        yield _sentence(evidence)
    if location := _describe_location(changes, links.paths, result):
        yield location


def _describe_location(changes: RunChanges, paths: RepositoryPaths, result: dict[str, Any]) -> str | None:
    """Return the file and line of a result, or None if they are unknown."""
    path, line = changes.locate(result, paths)
    return path and _link(code_span(f"{path}:{line}" if line else path), changes.file_url(path, line))


def _link(text: str, url: str | None) -> str:
    """Return a link. Characters of the URL that have a meaning in Markdown are escaped."""
    return f"[{text}]({quote(url, safe=_IN_URLS)})" if url and text else text
