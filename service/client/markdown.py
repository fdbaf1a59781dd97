"""Markdown for the summaries of CI jobs and for comments on pull requests.

Names, messages, and branches are text of the producer of a report. They are code spans (CommonMark 6.1), in which
Markdown, HTML, mentions, and links have no meaning.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

from service.client.changes import ResultGroup, RunChanges
from service.client.links import ConsoleLinks
from service.client.runs import format_counts
from service.domain.evidence import full_name
from service.domain.failures import to_line
from service.domain.texts import DIRECTIONS

_BACKTICKS: Final = re.compile(r"`+")
_MAX_TEXT: Final = 300  # characters of a name or message


def render_changes(changes: RunChanges, title: str, links: ConsoleLinks, max_length: int) -> str:
    """Return the failures of a run as Markdown of at most `max_length` characters. `title` must be plain text."""
    run, run_url = changes.run, links.run(changes.run["run_id"])
    head = [f"### {title}", "", f"Run [{code_span(run['run_id'])}]({run_url}): {format_counts(run)}", ""]
    head += [f"{_describe_baseline(changes)}", ""]
    omission = f"[The run]({run_url}) has further failures that aren't shown here."
    lines = list(head)
    length = sum(len(line) + 1 for line in lines)
    for block in _blocks(changes, links):
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


def _describe_baseline(changes: RunChanges) -> str:
    return code_span(changes.describe_baseline())


def _blocks(changes: RunChanges, links: ConsoleLinks) -> Iterator[list[str]]:
    """Yield lines that are shown together: the title of a group with its first result, and then each result."""
    for group in changes.groups():
        title = [f"**{group.title}: {group.total}**", ""]
        for result in group.results:
            yield [*title, *_describe_result(changes, links, result)]
            title = []
        if remaining := _remaining(group):
            yield [*title, f"- and {remaining} more"]
        yield [""]


def _remaining(group: ResultGroup) -> int:
    return max(0, group.total - len(group.results))


def _describe_result(changes: RunChanges, links: ConsoleLinks, result: dict[str, Any]) -> Iterator[str]:
    yield f"- [{code_span(full_name(result)) or 'unnamed'}]({links.result(result['id'])})"
    for detail in (result["failure_summary"], changes.evidence(result)):
        if detail:
            yield f"  <br>{code_span(detail)}"
