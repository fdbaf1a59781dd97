"""The formats that other tools write and that can't be read, with how to write a report that can.

The command line runs on Python 3.10 without other packages, so this module uses the standard library only.
"""

import re
from typing import Final, NamedTuple

from service.reports.report_heads import KeySets, ReportHead, key_sets


class OtherFormat(NamedTuple):
    """A format that can't be read. `title` is a plural, and `remedy` one line.

    A file has it if it has one of the root elements of XML, and the text in `text`; if it has all keys of one of the
    sets in `signatures`; or if `start` matches its first bytes. A key of `keys` is sufficient if the file must be a
    report. `has_results` states whether the file contains results of tests.
    """

    title: str
    remedy: str
    roots: frozenset[str] = frozenset()
    text: re.Pattern[bytes] = re.compile(b"")
    keys: frozenset[str] = frozenset()
    signatures: KeySets = ()
    start: re.Pattern[bytes] | None = None
    has_results: bool = True

    @property
    def message(self) -> str:
        """The text for users."""
        return f"{self.title} can't be read. {self.remedy}"


_JEST: Final = "`jest --reporters=default --reporters=jest-junit`"
_NO_TESTS: Final = "They contain no results of tests: exclude them from the upload."

# If several rows have a key in a JSON object, the first key in the object decides.
OTHER_FORMATS: Final = (
    OtherFormat(
        "XML results of Allure 1",
        "Write JUnit XML, or the JSON files of Allure 2.",
        roots=frozenset({"test-suite"}),
    ),
    OtherFormat(
        "results of jest-stare, and of other reporters that write the internal results of Jest,",
        "Write JSON: `jest --json --outputFile=jest.json`.",
        keys=frozenset({"testFilePath"}),
        signatures=key_sets("testResults[].testFilePath"),
    ),
    OtherFormat(
        "JSON reports of Mocha itself",
        "Send the file that `mocha --reporter mochawesome` writes unmodified.",
        keys=frozenset({"stats"}),
        signatures=key_sets("stats.passes tests[]", "passes[] failures[] tests[]"),
    ),
    OtherFormat(
        "messages of Cucumber",
        "Write JSON: `cucumber-js --format json:cucumber.json`, `--plugin json:cucumber.json` of Cucumber for Java, or "
        "`cucumber --format json --out cucumber.json` of Cucumber for Ruby.",
        keys=frozenset({"gherkinDocument", "meta"}),
        signatures=key_sets("meta.protocolVersion", "gherkinDocument.feature", "source.mediaType"),
    ),
    OtherFormat(
        "Cucumber reports that don't start with a feature",
        "Send the list of features that Cucumber or Behave writes unmodified.",
        keys=frozenset({"elements"}),
        signatures=key_sets("keyword elements[]"),
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
        signatures=key_sets("rpa suite", "rpa generator", "suite.name statistics.total"),
    ),
    OtherFormat(
        "configurations of TestNG, such as testng-failed.xml,",
        _NO_TESTS,
        roots=frozenset({"suite"}),
        has_results=False,
    ),
    OtherFormat(
        "test executions of SonarQube",
        f"Write JUnit XML too, for example with {_JEST}.",
        roots=frozenset({"testExecutions"}),
    ),
    OtherFormat(
        "texts of `go test`",
        "Write JSON: `go test -json ./... > go-test.jsonl`.",
        start=re.compile(
            rb"(?:(?:go: |# )[^\n]*\n)*(?:=== RUN |--- (?:PASS|FAIL|SKIP): |(?:ok|FAIL|\?) *\t\S|(?:PASS|FAIL)\r?\n)"
        ),
    ),
    OtherFormat(
        "JSON events of Dart",
        "Convert them to JUnit XML: `dart test --reporter json | tojunit --output junit.xml`.",
        keys=frozenset({"protocolVersion"}),
        signatures=key_sets("protocolVersion"),
    ),
    OtherFormat(
        "JSON reports of RSpec",
        "Write JUnit XML: `rspec --format RspecJunitFormatter --out junit.xml`.",
        keys=frozenset({"examples"}),
        signatures=key_sets("examples[].full_description", "summary_line"),
    ),
    OtherFormat(
        "Open Test Reporting events of JUnit",
        "Send the JUnit XML that JUnit writes too: `TEST-*.xml` in the folder of its reports.",
        roots=frozenset({"events"}),
        text=re.compile(rb"schemas\.opentest4j\.org"),
    ),
    OtherFormat(
        "Test.xml files of CTest",
        "Write JUnit XML: `ctest --output-junit junit.xml`.",
        roots=frozenset({"Site"}),
        text=re.compile(rb"<Testing\b"),  # the other files of CTest, such as Build.xml, have this root too
    ),
    OtherFormat(
        "XML reports of Catch2",
        "Write JUnit XML: `./tests --reporter junit --out junit.xml`.",
        roots=frozenset({"Catch2TestRun", "Catch"}),
    ),
    OtherFormat(
        "files that xz or bzip2 compressed",
        "Compress them with gzip or Zstandard.",
        start=re.compile(rb"\xfd7zXZ|BZh[1-9]1AY&SY"),
        has_results=False,  # unknown: the name decides
    ),
    OtherFormat("coverage reports", _NO_TESTS, roots=frozenset({"coverage", "report"}), has_results=False),
    OtherFormat(
        "reports of linters",
        _NO_TESTS,
        roots=frozenset({"checkstyle", "pmd", "BugCollection"}),
        has_results=False,
    ),
)  # fmt: skip

_BY_ROOT: Final = {root: known for known in OTHER_FORMATS for root in known.roots}
_BY_KEY: Final = {key: known for known in OTHER_FORMATS for key in known.keys}
# These words can be keys of the own formats too. They count only in an object without results.
_AMBIGUOUS_KEYS: Final = frozenset({"elements", "gherkinDocument", "meta", "examples"})
DECISIVE_KEYS: Final = _BY_KEY.keys() - _AMBIGUOUS_KEYS


def find_by_root(tag: str) -> OtherFormat | None:
    """Return the format of XML that must be a report, by its root element."""
    return _BY_ROOT.get(tag.rpartition(":")[2])


def find_by_keys(keys: set[str]) -> OtherFormat | None:
    """Return the format of a JSON object that must be a report, by its keys."""
    return next((_BY_KEY[key] for key in sorted(keys & _BY_KEY.keys())), None)


def find_by_start(head: ReportHead) -> OtherFormat | None:
    """Return the format of a text by its first bytes."""
    return next((known for known in OTHER_FORMATS if known.start and known.start.match(head.start)), None)


def find_other_format(head: ReportHead) -> OtherFormat | None:
    """Return the format of a file that can be any file."""
    known = _BY_ROOT.get(head.root)
    if known and known.text.search(head.start):
        return known
    return find_by_start(head) or next((each for each in OTHER_FORMATS if head.has_keys(each.signatures)), None)
