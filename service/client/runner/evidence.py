"""The evidence from inside a tool: why the tool ends with its exit code. A plugin or reporter of the tool writes it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

EVIDENCE_FILES: Final = "evidence-*.json"
_FORMAT: Final = 1
_MAX_BYTES: Final = 2**20


class ToolEvidence(NamedTuple):
    """What a tool states about one session. `problem` is why the file can't be used, or empty."""

    tool: str = ""
    finished: bool = False
    exit_code: int | None = None
    failed_tests: int = 0
    problems: tuple[str, ...] = ()
    problem: str = ""


def read_evidence(folder: Path) -> list[ToolEvidence]:
    """Return the evidence of each session that the command has executed."""
    return [_read(path) for path in sorted(folder.glob(EVIDENCE_FILES))]


def finished_sessions(folder: Path) -> set[str]:
    """Return the process IDs of the sessions that have finished."""
    return {path.stem.removeprefix("evidence-") for path in folder.glob(EVIDENCE_FILES) if _read(path).finished}


def _read(path: Path) -> ToolEvidence:
    try:
        if path.stat().st_size > _MAX_BYTES:
            return ToolEvidence(problem="the evidence is too large")
        document = json.loads(path.read_bytes())
        return _parse(document)
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        return ToolEvidence(problem=f"the evidence can't be read: {error!r}")


def _parse(document: Mapping[str, Any]) -> ToolEvidence:
    if document["format"] != _FORMAT:
        return ToolEvidence(
            problem=f"unknown format of the evidence: {document['format']!r}. Use plugins of one version"
        )
    if document["finished"] is not True:
        return ToolEvidence(str(document["tool"]))
    code, failed, problems = document["exit_code"], document["failed_tests"], document["problems"]
    if not (_is_number(code) and _is_number(failed) and isinstance(problems, list)):
        raise ValueError("exit_code and failed_tests must be numbers, and problems a list")
    return ToolEvidence(
        str(document["tool"]), finished=True, exit_code=code, failed_tests=failed, problems=tuple(map(str, problems))
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
