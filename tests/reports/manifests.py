"""Reports with independently counted contents: the test data of this project and, if present, the corpus.

Use `pytest.mark.parametrize("listed", readable(), ids=str)` to run a test for each readable report.
"""

import csv
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

ROOT: Final = Path(__file__).parents[2]
OWN: Final = ROOT / "tests" / "data" / "reports"
CORPUS: Final = ROOT.parent / "shared" / "corpus"

READ: Final = frozenset(
    {
        "junit-xml", "ctrf", "native", "go-test-json", "playwright-json", "cucumber-json", "trx", "robot-output", "tap",
        "nunit-xml", "xunit-xml", "testng-xml", "pytest-json", "jest-json", "mochawesome", "allure-result",
    }
)  # fmt: skip
# Repeats that are attempts. The corpus counts all repeats as duplicates.
_FURTHER_ATTEMPTS: Final = {"gen-gotestsum-go-test-json-flaky-rerun.xml": 6}
# Tests that pass before the teardown of their suite fails, so that Robot Framework counts them as failed. The corpus
# counts the statuses of the elements.
_FAILED_BY_TEARDOWN: Final = {"gen-robot-output.xml": 1}


@dataclass(frozen=True)
class ListedReport:
    """A line of a manifest. The counts include each repeat of a case."""

    path: Path
    format: str
    is_well_formed: bool
    row: dict[str, str]

    def __str__(self) -> str:
        return self.path.name

    @property
    def run_id(self) -> str:
        """The path of the report below its root, because reports of several tools have the same name."""
        root = OWN if self.path.is_relative_to(OWN) else CORPUS
        return ":".join(self.path.relative_to(root).parts)

    def count(self, column: str) -> int:
        return int(self.row.get(column) or 0)

    @property
    def is_readable(self) -> bool:
        return self.is_well_formed and self.format in READ

    @property
    def further_attempts(self) -> int:
        return self.count("further_attempts") or _FURTHER_ATTEMPTS.get(self.path.name, 0)

    @property
    def results(self) -> int:
        return self.count("cases") - self.further_attempts + self.count("suite_level_outcomes")

    @property
    def statuses(self) -> Counter[str]:
        """The number of cases per status, without suite-level failures."""
        not_run = self.count("notrun_by_attr")
        counted = {name: self.count(name) for name in ("passed", "failed", "skipped")}
        other = self.count("cases") - sum(counted.values()) - self.count("errors")
        by_teardown = _FAILED_BY_TEARDOWN.get(self.path.name, 0)
        unknown = other if self.format == "ctrf" else 0  # the status `other` without a raw status
        return +Counter(
            passed=counted["passed"] - not_run - by_teardown,
            failed=counted["failed"] + by_teardown,
            error=self.count("errors") + unknown,
            skipped=counted["skipped"] + not_run,
            canceled=other - unknown,
        )


def readable() -> list[Any]:
    """Return the reports that must be parsed."""
    return _parameters(lambda listed: listed.is_readable)


def unreadable() -> list[Any]:
    """Return malformed reports and reports in unsupported formats."""
    return _parameters(lambda listed: not listed.is_readable)


def all_listed(folder: Path) -> list[ListedReport]:
    """Return all reports of one manifest."""
    return list(_listed(folder))


def _parameters(is_selected: Any) -> list[Any]:
    found: list[Any] = [listed for folder in (OWN, CORPUS) for listed in _listed(folder) if is_selected(listed)]
    if not CORPUS.exists():
        absent = ListedReport(CORPUS, "absent", False, {})
        found.append(pytest.param(absent, marks=pytest.mark.skip(reason="the corpus is missing")))
    return found


def _listed(folder: Path) -> Iterator[ListedReport]:
    manifest = folder / "manifest.csv"
    if manifest.exists():
        for row in csv.DictReader(manifest.read_text("utf-8").splitlines()):
            yield ListedReport(folder / row["file"], row["format"], row["parse"] == "ok", row)
