"""The readers of the report formats, one module or package per format.

A new format needs a row in service/reports/format_table.py, a reader in this folder, and its entry in READERS.
"""

from collections.abc import Callable, Iterator
from typing import BinaryIO, Final

from service.ingest.contract import ResultIn
from service.reports.conversion.metadata import ReportMetadata
from service.reports.format_table import ReportFormatName
from service.reports.formats import (
    any_json,
    go_test,
    jest,
    mochawesome,
    nunit,
    playwright,
    pytest_json,
    testng,
    trx,
    xunit,
)
from service.reports.formats.allure import reader as allure_reader
from service.reports.formats.cucumber import reader as cucumber_reader
from service.reports.formats.junit import reader as junit_reader
from service.reports.formats.robot import reader as robot_reader
from service.reports.formats.tap import reader as tap_reader

# A reader yields the results in lists of bounded size, in memory that doesn't grow with the report, and fills the
# metadata. It raises ReportError if the file can't be read to its end.
ReportReader = Callable[[BinaryIO, ReportMetadata], Iterator[list[ResultIn]]]

# CTRF and the native formats share one reader, because only a later key of the document distinguishes them.
READERS: Final[dict[ReportFormatName, ReportReader]] = {
    "trx": trx.read,
    "robot": robot_reader.read,
    "nunit": nunit.read,
    "xunit": xunit.read,
    "testng": testng.read,
    "junit": junit_reader.read,
    "go-test": go_test.read,
    "tap": tap_reader.read,
    "playwright": playwright.read,
    "cucumber": cucumber_reader.read,
    "pytest-json": pytest_json.read,
    "jest": jest.read,
    "mochawesome": mochawesome.read,
    "allure": allure_reader.read,
    "ctrf": any_json.read,
    "json": any_json.read,
    "ndjson": any_json.read,
}
