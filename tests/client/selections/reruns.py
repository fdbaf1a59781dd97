"""Real test tools: they write a report, and execute the selection of its failures."""

import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

import orjson
import pytest

from service.client.tool_selections import SELECTIONS, SelectedTest, ToolSelection
from tests.reports.tools.reading import ReadCase, read_run

TIMEOUT_S = 300


def run(folder: Path, *command: str, entered: str = "") -> subprocess.CompletedProcess[str]:
    """Run a tool. Its exit code isn't 0 if a test fails."""
    return subprocess.run(
        command, cwd=folder, input=entered, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )


def require(*programs: str, packages: str) -> None:
    """Skip the test if a program isn't installed."""
    if missing := [program for program in programs if shutil.which(program) is None]:
        pytest.skip(f"{', '.join(missing)} is not installed (Debian packages: {packages})")


def read_tests(report: Path, statuses: Sequence[str] = ("failed", "error")) -> list[SelectedTest]:
    """Return the tests of a report, as `failed` reads them after an upload."""
    read_run.cache_clear()  # the tool writes the same file again
    return [to_test(case) for case in read_run(report).cases if case.status in statuses]


def to_test(case: ReadCase) -> SelectedTest:
    project = dict(orjson.loads(case.variant) if case.variant else {}).get("project", "")
    return SelectedTest(case.suite, case.name, case.file or "", project)


def read_executed(*reports: Path) -> set[tuple[str, str, str]]:
    """Return the suites, names, and projects of the tests that a tool has executed."""
    tests = [test for report in reports for test in read_tests(report, ("passed", "failed", "error"))]
    return identities(tests)


def identities(tests: Iterable[SelectedTest]) -> set[tuple[str, str, str]]:
    return {(test.suite, test.name, test.project) for test in tests}


def select(tool: str, tests: Sequence[SelectedTest]) -> ToolSelection:
    return SELECTIONS[tool](tests)


def write_lines(file: Path, selection: ToolSelection) -> str:
    """Write the selection as the command prints it, and return its text."""
    text = "".join(f"{line}\n" for line in selection.lines)
    file.write_text(text, encoding="utf-8")
    return text


def write_files(folder: Path, **texts: str) -> None:
    """Write files, whose names have `__` instead of a slash, and `_DOT_` instead of a dot."""
    for name, text in texts.items():
        path = folder / name.replace("__", "/").replace("_DOT_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
