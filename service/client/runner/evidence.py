"""The evidence from inside a tool: why the tool ends with its exit code. A plugin or reporter of the tool writes it.

`run` gives pytest its plugin, whichever environment pytest runs in.
"""

import json
import pkgutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from service.version import find_version

_EVIDENCE_FILES: Final = "evidence-*.json"
_PLUGIN: Final = "pytest_zof_results"
_PLUGIN_NAME: Final = "pytest-zof-results"  # also of the package, so that pytest loads one of both
_FORMAT: Final = 1
_MAX_BYTES: Final = 2**20


def install_probe(folder: Path) -> None:
    """Write the plugin into a folder that the caller adds at the front of PYTHONPATH.

    pytest finds it like an installed package. A command that doesn't pass PYTHONPATH to pytest runs without it.
    """
    source = pkgutil.get_data(__package__, f"{_PLUGIN}.py")
    if source is None:
        raise FileNotFoundError(_PLUGIN)
    (folder / f"{_PLUGIN}.py").write_bytes(source)
    version = find_version()
    metadata = folder / f"{_PLUGIN}-{version}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {_PLUGIN_NAME}\nVersion: {version}\n", encoding="utf-8"
    )
    (metadata / "entry_points.txt").write_text(f"[pytest11]\nzof_results = {_PLUGIN}\n", encoding="utf-8")


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
    return [_read(path) for path in sorted(folder.glob(_EVIDENCE_FILES))]


def finished_sessions(folder: Path) -> set[str]:
    """Return the process IDs of the sessions that have finished."""
    return {path.stem.removeprefix("evidence-") for path in folder.glob(_EVIDENCE_FILES) if _read(path).finished}


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
