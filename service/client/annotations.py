"""Annotations of GitHub Actions: messages that GitHub shows at a line of the changed code."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Final, NamedTuple

from service.client.changes import RunChanges
from service.client.checkout import RepositoryPaths
from service.client.http import ConsoleLinks
from service.comparison.model import full_name
from service.failures.model import to_line

_MAX_ANNOTATIONS: Final = 10  # of each level, the maximum that GitHub shows for one step
# The annotated changes, the most important ones first.
_LEVELS: Final = {"new_failure": "error", "flaky_failure": "warning", "known_failure": "warning"}


class Annotation(NamedTuple):
    """A message, and the case that it is about, whose properties are empty for a message about a run."""

    level: str
    message: str
    file: str | None = None
    line: int | None = None
    title: str | None = None

    def format(self) -> str:
        """Return the workflow command."""
        located = {"file": self.file, "line": self.line if self.file else None, "title": self.title}
        properties = ",".join(f"{name}={_escape_property(str(value))}" for name, value in located.items() if value)
        return f"::{self.level}{properties and ' '}{properties}::{_escape(self.message)}"


def annotate(
    runs: Sequence[RunChanges], problems: Iterable[str], links: ConsoleLinks, paths: RepositoryPaths
) -> Iterator[str]:
    """Yield a workflow command for each problem, and for each of the first failures that aren't quarantined.

    GitHub shows a number of annotations of each level. Problems, such as missing parts, come first, then new failures.
    """
    found = [Annotation("error", text) for text in problems]
    for change in _LEVELS:
        for changes in runs:
            found += _annotate_run(changes, change, links, paths)
    for level in ("error", "warning"):
        for annotation in islice((item for item in found if item.level == level), _MAX_ANNOTATIONS):
            yield annotation.format()


def _annotate_run(
    changes: RunChanges, change: str, links: ConsoleLinks, paths: RepositoryPaths
) -> Iterator[Annotation]:
    run_url = links.run(changes.run["run_id"])
    for result in changes.failures:
        if result["change"] == change:
            texts = (result["failure_summary"] or result["status"], changes.evidence(result), run_url)
            message = ". ".join(filter(None, texts))
            yield Annotation(_LEVELS[change], message, *changes.locate(result, paths), full_name(result))


def _escape(text: str) -> str:
    """Escape a message as the toolkit of GitHub Actions does."""
    return to_line(text).replace("%", "%25")


def _escape_property(text: str) -> str:
    return _escape(text).replace(":", "%3A").replace(",", "%2C")
