"""Reports whose contents were counted by others: our own small ones, and the corpus where it is there.

`pytest.mark.parametrize("listed", readable(), ids=str)` gives a test each of those that have to be read.
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

READ: Final = frozenset({"junit-xml", "ctrf", "native"})
# Repeats that are further attempts; the corpus counts them as duplicates, like those that are not.
_FURTHER_ATTEMPTS: Final = {"gen-gotestsum-go-test-json-flaky-rerun.xml": 6}


@dataclass(frozen=True)
class ListedReport:
    """A line of a manifest. Counts are of test cases as they stand in the file, each repeat by itself."""

    path: Path
    format: str
    is_well_formed: bool
    row: dict[str, str]

    def __str__(self) -> str:
        return self.path.name

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
        """How many cases have each status, suite-level outcomes left out."""
        not_run = self.count("notrun_by_attr")
        counted = {name: self.count(name) for name in ("passed", "failed", "skipped")}
        other = self.count("cases") - sum(counted.values()) - self.count("errors")
        return +Counter(
            passed=counted["passed"] - not_run,
            failed=counted["failed"],
            error=self.count("errors"),
            skipped=counted["skipped"] + not_run,
            canceled=other,
        )


def readable() -> list[Any]:
    """Those that have to be read and counted."""
    return _parameters(lambda listed: listed.is_readable)


def unreadable() -> list[Any]:
    """Malformed ones, and those of formats that nothing reads."""
    return _parameters(lambda listed: not listed.is_readable)


def all_listed(folder: Path) -> list[ListedReport]:
    """Every line of one manifest."""
    return list(_listed(folder))


def _parameters(wanted: Any) -> list[Any]:
    found: list[Any] = [listed for folder in (OWN, CORPUS) for listed in _listed(folder) if wanted(listed)]
    if not CORPUS.exists():
        absent = ListedReport(CORPUS, "absent", False, {})
        found.append(pytest.param(absent, marks=pytest.mark.skip(reason="the corpus is not here")))
    return found


def _listed(folder: Path) -> Iterator[ListedReport]:
    manifest = folder / "manifest.csv"
    if manifest.exists():
        for row in csv.DictReader(manifest.read_text("utf-8").splitlines()):
            yield ListedReport(folder / row["file"], row["format"], row["parse"] == "ok", row)
