"""The formats that other tools write and that can't be read, with how to write a report that can."""

import re
from contextlib import suppress
from io import BytesIO
from itertools import islice
from typing import Final, NamedTuple

from service.reports.errors import ReportError, unsupported
from service.reports.json_stream import JsonStream


class OtherFormat(NamedTuple):
    """A format that can't be read. `title` is a plural, and `remedy` one line.

    It's detected by the root element of XML without its namespace, by a key of a JSON object, or by the first bytes.
    """

    title: str
    remedy: str
    roots: frozenset[str] = frozenset()
    keys: frozenset[str] = frozenset()
    head: re.Pattern[bytes] | None = None


_JEST: Final = "`jest --reporters=default --reporters=jest-junit`"
_NO_TESTS: Final = "They contain no results of tests: exclude them from the upload."

# If several rows have a key in a JSON object, the first key in the object decides.
OTHER_FORMATS: Final = (
    OtherFormat(
        "Allure results that don't start with their usual keys",
        "Send the files that the adapter of Allure writes unmodified.",
        keys=frozenset({"historyId"}),
    ),
    OtherFormat(
        "XML results of Allure 1",
        "Write JUnit XML, or the JSON files of Allure 2.",
        roots=frozenset({"test-suite"}),
    ),
    OtherFormat(
        "reports of Jest and Vitest that don't start with their counts",
        "Send the file that `jest --json --outputFile=jest.json` or `vitest run --reporter=json` writes unmodified.",
        keys=frozenset({"testResults"}),
    ),
    OtherFormat(
        "results of jest-stare, and of other reporters that write the internal results of Jest,",
        "Write JSON: `jest --json --outputFile=jest.json`.",
        keys=frozenset({"testFilePath"}),
    ),
    OtherFormat(
        "JSON reports of Mocha itself, and mochawesome reports that don't start with their stats,",
        "Send the file that `mocha --reporter mochawesome` writes unmodified.",
        keys=frozenset({"stats"}),
    ),
    OtherFormat(
        "messages of Cucumber",
        "Write JSON: `cucumber-js --format json:cucumber.json`, `--plugin json:cucumber.json` of Cucumber for Java, or "
        "`cucumber --format json --out cucumber.json` of Cucumber for Ruby.",
        keys=frozenset({"gherkinDocument", "meta"}),
    ),
    OtherFormat(
        "Cucumber reports that don't start with a feature",
        "Send the list of features that Cucumber or Behave writes unmodified.",
        keys=frozenset({"elements"}),
    ),
    OtherFormat(
        "XML reports of NUnit 2, such as those of Pester,",
        "Write the format of NUnit 3, `nunit3-console --result=TestResult.xml Shop.Tests.dll`, or TRX, "
        "`dotnet test --logger trx`. Set `TestResult.OutputFormat` of Pester to `JUnitXml`.",
        roots=frozenset({"test-results"}),
    ),
    OtherFormat(
        "JSON outputs of Robot Framework",
        "Write XML: `robot --output output.xml tests`, or for this file `rebot --output output.xml output.json`.",
        keys=frozenset({"rpa"}),
    ),
    OtherFormat("configurations of TestNG, such as testng-failed.xml,", _NO_TESTS, roots=frozenset({"suite"})),
    OtherFormat(
        "test executions of SonarQube",
        f"Write JUnit XML too, for example with {_JEST}.",
        roots=frozenset({"testExecutions"}),
    ),
    OtherFormat(
        "texts of `go test`",
        "Write JSON: `go test -json ./... > go-test.jsonl`.",
        head=re.compile(
            rb"(?:(?:go: |# )[^\n]*\n)*(?:=== RUN |--- (?:PASS|FAIL|SKIP): |(?:ok|FAIL|\?) *\t\S|(?:PASS|FAIL)\r?\n)"
        ),
    ),
    OtherFormat(
        "JSON events of Dart",
        "Convert them to JUnit XML: `dart test --reporter json | tojunit --output junit.xml`.",
        keys=frozenset({"protocolVersion"}),
    ),
    OtherFormat(
        "JSON reports of RSpec",
        "Write JUnit XML: `rspec --format RspecJunitFormatter --out junit.xml`.",
        keys=frozenset({"examples"}),
    ),
    OtherFormat(
        "Open Test Reporting events of JUnit",
        "Send the JUnit XML that JUnit writes too: `TEST-*.xml` in the folder of its reports.",
        roots=frozenset({"events"}),
    ),
    OtherFormat(
        "Test.xml files of CTest",
        "Write JUnit XML: `ctest --output-junit junit.xml`.",
        roots=frozenset({"Site"}),
    ),
    OtherFormat(
        "XML reports of Catch2",
        "Write JUnit XML: `./tests --reporter junit --out junit.xml`.",
        roots=frozenset({"Catch2TestRun", "Catch"}),
    ),
    OtherFormat("coverage reports", _NO_TESTS, roots=frozenset({"coverage", "report"})),
    OtherFormat("reports of linters", _NO_TESTS, roots=frozenset({"checkstyle", "pmd", "BugCollection"})),
    OtherFormat(
        "Playwright reports that don't start with their configuration",
        "Send the file that `playwright test --reporter=json` writes unmodified.",
        keys=frozenset({"suites"}),
    ),
    OtherFormat(
        "reports of pytest-json-report that don't start with their time",
        "Send the file that `pytest --json-report` writes unmodified.",
        keys=frozenset({"exitcode"}),
    ),
)  # fmt: skip

_MAX_KEYS: Final = (
    100  # of an object of any other program, so that an archive with thousands of them is read in seconds
)
_BY_ROOT: Final = {root: known for known in OTHER_FORMATS for root in known.roots}
_BY_KEY: Final = {key: known for known in OTHER_FORMATS for key in known.keys}
_ROOT: Final = re.compile(
    rb"(?:<\?[^>]*>\s*|<!--(?:[^-]|-[^-])*-->\s*|<!DOCTYPE[^>]*>\s*)*<(?:[\w.-]+:)?([A-Za-z0-9_.-]+)[\s/>]"
)
# These words can be keys of the own formats too. They count only in an object without results.
_AMBIGUOUS_KEYS: Final = frozenset({"elements", "gherkinDocument", "meta", "examples"})
DECISIVE_KEYS: Final = _BY_KEY.keys() - _AMBIGUOUS_KEYS


def unsupported_root(tag: str, expected: str) -> ReportError:
    """Return the error for XML with another root element than those of the expected format."""
    known = _BY_ROOT.get(tag.rpartition(":")[2])
    return _unreadable(known) if known else unsupported(f"XML with the root element <{tag[:100]}> isn't {expected}")


def unsupported_keys(keys: set[str]) -> ReportError:
    """Return the error for a JSON object that isn't a report."""
    known = next((_BY_KEY[key] for key in sorted(keys & _BY_KEY.keys())), None)
    return _unreadable(known) if known else unsupported("the JSON object has neither results nor a name")


def unsupported_head(head: bytes) -> ReportError | None:
    """Return the error for a file of another tool by its first bytes, or None if no tool is detected."""
    known = next((known for known in OTHER_FORMATS if known.head and known.head.match(head)), None)
    return _unreadable(known) if known else None


def find_other_format(head: bytes) -> str | None:
    """Return the message about a file with results of tests that can't be read, by its first bytes, or None."""
    known = next((known for known in OTHER_FORMATS if known.head and known.head.match(head)), None)
    if known is None and (root := _ROOT.match(head)):
        known = _BY_ROOT.get(root[1].decode())
    if known is None and head.startswith(b"{"):
        known = next((_BY_KEY[key] for key in _first_keys(head) if key in _BY_KEY), None)
    return None if known is None or known.remedy == _NO_TESTS else str(_unreadable(known))


def _first_keys(head: bytes) -> list[str]:
    """Return the keys of the JSON object that the first bytes contain."""
    keys: list[str] = []
    with suppress(ReportError):
        stream = JsonStream(BytesIO(head))
        for key in islice(stream.members(), _MAX_KEYS):
            keys.append(key)
            stream.value()
    return keys


def _unreadable(known: OtherFormat) -> ReportError:
    return ReportError("unsupported_format", f"{known.title} can't be read. {known.remedy}")
