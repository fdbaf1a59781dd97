"""Annotations of GitHub Actions: messages that GitHub shows at a line of the changed code."""

from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote

from service.client.changes import RunChanges
from service.client.http import Server
from service.domain.evidence import full_name
from service.domain.failures import to_line

_MAX_ANNOTATIONS: Final = 10  # the maximum that GitHub shows for one step
_LEVELS: Final = {"new_failure": "error", "flaky_failure": "warning", "known_failure": "warning"}


def annotations(server: Server, changes: RunChanges) -> Iterator[str]:
    """Yield a workflow command for each of the first failures that aren't quarantined. Raises ServerError."""
    annotated = [result for result in changes.failures if result["change"] in _LEVELS]
    for result in annotated[:_MAX_ANNOTATIONS]:
        line = server.get(f"/results/{quote(result['id'], safe='')}")["line"]
        yield _workflow_command(changes, result, line, server.links.run(changes.run["run_id"]))


def _workflow_command(changes: RunChanges, result: Mapping[str, Any], line: int | None, run_url: str) -> str:
    located = {"file": result["file"], "line": line if result["file"] else None, "title": full_name(dict(result))}
    properties = ",".join(f"{name}={_escape_property(str(value))}" for name, value in located.items() if value)
    message = ". ".join(filter(None, (result["failure_summary"] or result["status"], changes.evidence(dict(result)))))
    return f"::{_LEVELS[result['change']]} {properties}::{_escape(f'{message}. {run_url}')}"


def _escape(text: str) -> str:
    """Escape a message as the toolkit of GitHub Actions does."""
    return to_line(text).replace("%", "%25")


def _escape_property(text: str) -> str:
    return _escape(text).replace(":", "%3A").replace(",", "%2C")
