"""A failure of a real report is stored in every upload that contains the report: alone, twice, and with others."""

from collections.abc import Iterator
from functools import cache
from itertools import combinations
from typing import Final, NamedTuple

import pytest

from service.domain.ids import CaseKey
from service.reports.conversion.errors import ReportError
from tests.reports.archive_files import Files, pack_zip, suite
from tests.reports.conversions import FAILING
from tests.reports.manifests import OWN, all_listed
from tests.reports.tools.reading import read_files

MALFORMED: Final = ("junit-xml (malformed)", "ctrf (malformed)", "not-xml")
GREEN: Final = {"green.xml": suite("green")}


class RealReport(NamedTuple):
    """A report of a real tool: one file, or all files of a folder of Allure."""

    name: str
    format: str
    paths: tuple[str, ...]

    def files(self, folder: str) -> dict[str, bytes]:
        """Return the content of its files by their paths in a folder."""
        return {f"{folder}/{path.rpartition('/')[2]}": (OWN / path).read_bytes() for path in self.paths}


class Outcome(NamedTuple):
    """What an upload stores: the cases that fail, and whether failures are missing."""

    failing: frozenset[CaseKey]
    failures_missing: bool

    def contains(self, other: "Outcome") -> bool:
        return self.failing >= other.failing and self.failures_missing >= other.failures_missing


def _real_reports() -> Iterator[RealReport]:
    for listed in all_listed(OWN):
        path = listed.path.relative_to(OWN).as_posix()
        if listed.path.suffix != ".txt":  # a text that isn't a report
            yield RealReport(path, listed.format, (path,))
    for folder in sorted(path for path in (OWN / "allure").iterdir() if path.is_dir()):
        paths = (file.relative_to(OWN).as_posix() for file in sorted(folder.iterdir()))
        yield RealReport(f"allure/{folder.name}", "allure-folder", tuple(paths))


REPORTS: Final = tuple(_real_reports())


def _outcome(files: Files) -> Outcome:
    read = read_files(files)
    return Outcome(frozenset(case.key for case in read.cases if case.status in FAILING), read.failures_missing)


@cache
def _alone(report: RealReport) -> Outcome | None:
    """Return the outcome of an upload of only this report, or None if it's rejected."""
    try:
        return _outcome(report.files("out"))
    except ReportError:
        return None


def _zipped(files: Files) -> dict[str, bytes]:
    return {"results.zip": pack_zip(files)}


def _check(files: Files, *reports: RealReport) -> None:
    """Check that the upload has all failures of the reports, is rejected, or states that failures are missing."""
    alone = [_alone(report) for report in reports]
    try:
        outcome = _outcome(files)
    except ReportError:
        assert None in alone
        return
    assert outcome.failures_missing or None not in alone
    assert all(outcome.contains(expected) for expected in alone if expected)


def _representatives() -> Iterator[RealReport]:
    """Yield the smallest failing report of each format, and one that can't be read."""
    sizes: dict[str, tuple[bool, int, RealReport]] = {}
    for report in REPORTS:
        alone, size = _alone(report), sum((OWN / path).stat().st_size for path in report.paths)
        is_green = alone is not None and not alone.failing
        sizes[report.format] = min(sizes.get(report.format, (is_green, size, report)), (is_green, size, report))
    return (report for _, _, report in sizes.values())


@pytest.mark.parametrize("report", REPORTS, ids=lambda report: report.name)
def test_report_has_its_failures_twice_and_in_two_folders(report: RealReport) -> None:
    assert (_alone(report) is None) == (report.format in MALFORMED)
    copies = report.files("chrome") | report.files("firefox")
    _check(copies, report)
    _check(_zipped(copies | GREEN), report)
    _check(_zipped(report.files("chrome")) | {"firefox.zip": pack_zip(report.files("firefox"))}, report)


def test_report_has_its_failures_in_an_archive_with_each_other_format() -> None:
    representatives = list(_representatives())
    assert len(representatives) > 16
    for pair in combinations(representatives, 2):
        _check(_zipped(pair[0].files("first") | pair[1].files("second")), *pair)


@pytest.mark.slow
@pytest.mark.parametrize("report", REPORTS, ids=lambda report: report.name)
def test_every_report_has_its_failures_in_an_archive_with_each_other_format(report: RealReport) -> None:
    for other in _representatives():
        if other.format != report.format:
            _check(_zipped(report.files("first") | other.files("second")), report, other)
            _check(report.files("first") | other.files("second"), report, other)
