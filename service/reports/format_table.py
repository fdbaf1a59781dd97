"""The formats of test reports: titles, media types, file names, and first bytes, and the formats of archives.

A new format needs a row here, and a reader that service/reports/formats/__init__.py lists. The rows can't lie with the
readers: the command line runs on Python 3.10 without other packages, so this module uses the standard library only.
Formats of other tools that can't be read have a row in other_formats.py.
"""

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase, translate
from functools import cached_property
from typing import Final, Literal, NamedTuple

from service.reports.report_heads import KeySets, ReportHead, key_sets

ReportFormatName = Literal[
    "trx", "robot", "nunit", "xunit", "testng", "junit", "go-test", "tap", "playwright", "cucumber", "pytest-json",
    "jest", "mochawesome", "allure", "ctrf", "json", "ndjson",
]  # fmt: skip


@dataclass(frozen=True)
class ReportFormat:
    """A report format. The first suffix is the one of stored artifacts.

    `head` matches the start of a report (`ReportHead.start`, or `ReportHead.text` if other text can be in front of the
    report). `signature` occurs in the same bytes of a report, but not in other files with the same syntax; None if a
    file has this format only if its media type states it. `keys` are sets of keys, one of which each JSON report has,
    and no other file. Formats can share a media type.

    `paths` are the usual paths of the reports of each tool, as patterns. `names` are patterns of the file names that
    only the reports of this format have. `file_reference` is the pattern of a text that a report contains if it names a
    file, such as a screenshot.
    """

    name: ReportFormatName
    title: str
    media_types: tuple[str, ...]
    suffixes: tuple[str, ...]
    head: re.Pattern[bytes] | None = None
    signature: re.Pattern[bytes] | None = None
    keys: KeySets = ()
    paths: tuple[tuple[str, str], ...] = ()
    names: tuple[str, ...] = ()
    file_reference: bytes | None = None
    follows_text: bool = False

    @property
    def is_detectable(self) -> bool:
        """Whether the content of any file shows that it has this format."""
        return self.signature is not None or bool(self.keys)

    @cached_property
    def usual_names(self) -> re.Pattern[str]:
        """The pattern of a file name after its folder and a slash. An archive has up to 10,000 names to compare.

        The folder counts only if the usual path permits all file names, as in `**/allure-results/*.json`.
        """
        names: list[str] = []
        for path in (*(path for _, path in self.paths), *self.names):
            *_, folder, name = ("", *path.split("/"))
            has_folder = name.startswith("*.") and folder not in ("", "**")
            names.append(f"{folder if has_folder else '*'}/{name}")
        return re.compile("|".join(map(translate, names)) or "(?!)")

    def matches(self, head: ReportHead) -> bool:
        """Return whether a file that is known to be a report can have this format."""
        return (self.head is not None and self.head.match(self._text(head)) is not None) or head.has_keys(self.keys)

    def has_signature(self, head: ReportHead) -> bool:
        """Return whether any file with this content has this format, if the format matches."""
        is_signed = self.signature is not None and self.signature.search(self._text(head)) is not None
        return is_signed or head.has_keys(self.keys)

    def _text(self, head: ReportHead) -> bytes:
        return head.text if self.follows_text else head.start


def _element(*names: str) -> re.Pattern[bytes]:
    """Return the pattern of the start of one of these elements, with or without the prefix of its namespace."""
    return re.compile(f"<(?:[\\w.-]+:)?(?:{'|'.join(names)})[\\s/>]".encode())


_XML_TYPES: Final = ("application/xml", "text/xml")
# Manifests of .NET and descriptors of Maven have the root element `assembly` too.
_XUNIT_ROOTS: Final = ("assemblies", r"assembly(?=\s[^<>]*\b(?:run-date|run-time|test-framework|total)=)")
_ATTACHMENTS: Final = rb'"attachments"\s*:\s*\[\s*\{'
_ARTIFACT_URI: Final = rb'"uri"\s*:(?!\s*"[^"\n]{0,500}\.feature")'  # not the path of a feature of Cucumber
_JSON_HEAD: Final = re.compile(rb"[{\[]")
_GO_EVENT: Final = rb'\{[^{}\n]*"Action"\s*:\s*"(?:start|run|output|pass|fail|skip|build-output|build-fail)"'
_PLAYWRIGHT: Final = key_sets(
    "config.argv", "config.configFile", "config.rootDir", "config.failOnFlakyTests", "config.forbidOnly",
    "suites[].specs[]", "suites[] stats.expected",
)  # fmt: skip
# Cucumber for Java writes the keywords of a feature and of a scenario behind their lists, which can be long.
_CUCUMBER: Final = key_sets(
    "[].keyword [].uri", "[].keyword [].elements[]", "[].keyword [].location", "[].elements[].keyword",
    "[].elements[].steps[]", "[].elements[].before[]",
)  # fmt: skip
_PYTEST: Final = key_sets("created exitcode", "exitcode tests[]", "exitcode collectors[]", "exitcode summary.total")
_JEST: Final = key_sets(
    "numFailedTestSuites", "numTotalTestSuites", "testResults[].assertionResults[]", "testResults[] success",
)  # fmt: skip
# The reporter `json` of Mocha starts with the same key, but continues with the list of the tests.
_MOCHAWESOME: Final = re.compile(rb'\{\s*"stats"\s*:\s*\{[^{}]*\}\s*,\s*"results"\s*:\s*\[')
_MOCHAWESOME_KEYS: Final = key_sets(
    "stats results[].tests[]", "stats results[].suites[]", "results[].fullFile results[].beforeHooks[]"
)  # fmt: skip
# `tool` and `summary` can be behind the long list of the tests.
_CTRF: Final = key_sets(
    "results.tool results.summary", "results.tests[] results.summary", "results.tests[] results.tool"
)
# The first line of TAP, or of `prove -v`. Other lines, such as output of npm, can be before a version. Test points can
# omit numbers and dashes: `ok pays` is one if `not ok` or a plan follows.
_TAP_START: Final = (
    rb"(?:(?![<{\[])[^\n]*\n)*?TAP version 1[34]\s"
    rb"|(?:[ \t]*(?:#[^\n]*)?\n)* *(?:1\.\.\d+(?:\s|$)|(?:not )?ok (?:\d+|-)(?:\s|$)|not ok(?:\s|$)"
    rb"|ok(?: [^\n]*)?\n(?:[^\n]*\n)*?(?:not ok\s|1\.\.\d+\s)"
    rb"|(?:\[[\d:]+\] )?\S+\.t \.{2,} ?\r?\n)"
)
_TAP: Final = re.compile(_TAP_START)
_TAP_FILE: Final = re.compile(rb"\A(?:" + _TAP_START + rb")")
# The key before each file of a joined report (service/reports/conversion/report_sets.py).
JOINED_HEADING: Final = "allure_file"


def _first_keys(first: str, *, before: str = "", later: str = "") -> str:
    """Return the pattern of a JSON object that starts with one of these keys, with one of the later keys behind it."""
    followed = f'(?=(?s:.)*?"(?:{later})"\\s*:)' if later else ""
    return f'\\{{\\s*{before}(?="(?:{first})"\\s*:){followed}'


_ALLURE_KEYS: Final = key_sets(
    "historyId name", "testCaseId name", "uuid name labels[]", "uuid name stage", "uuid name statusDetails",
    "uuid name status steps[]", "status statusDetails.message", "uuid children[] befores[]", "uuid children[] afters[]",
)  # fmt: skip
_NAME_AND_STATUS: Final = r'"name"\s*:\s*"(?:[^"\\]|\\.)*"\s*,\s*(?:"status"\s*:\s*"\w+"\s*,\s*)?'
# The adapter for Python writes the UUID of a result behind its steps, and omits empty lists.
_ALLURE: Final = re.compile(
    "|".join(
        (
            _first_keys("uuid", later="historyId|testCaseId|fullName|status|labels|start|children|befores"),
            _first_keys("historyId|testCaseId|fullName", later="status|labels|stage"),
            _first_keys("statusDetails|stage", before=_NAME_AND_STATUS),
            _first_keys(
                "uuid|description|descriptionHtml|steps|attachments|parameters|start", before=_NAME_AND_STATUS,
                later=r'historyId|statusDetails|(?:labels|steps|attachments|parameters)"\s*:\s*\[\s*\{\s*"name',
            ),
            _first_keys("attachments|errors", later="timestamp"),
            _first_keys("attachments", later="errors"),
            _first_keys(JOINED_HEADING),
        )
    ).encode()
)  # fmt: skip

# If several rows match, the first one applies: a row of a special format must be before the row of a general one, and
# the last row of a media type is its general format.
REPORT_FORMATS: tuple[ReportFormat, ...] = (
    ReportFormat(
        "trx", "TRX", _XML_TYPES, (".trx",), _element("TestRun"), _element("TestRun"),
        paths=(("dotnet test", "**/TestResults/*.trx"),), names=("*.trx",), file_reference=rb"<ResultFile\b",
    ),
    ReportFormat(
        "robot", "Robot output.xml", _XML_TYPES, (".xml",), _element("robot"), _element("robot"),
        paths=(("Robot Framework", "output.xml"),),
        file_reference=rb"html=\"(?:true|yes)\">[^<]*&lt;(?:img|a|source|video)\s",
    ),
    ReportFormat(
        "nunit", "NUnit 3 XML", _XML_TYPES, (".xml",), _element("test-run"), _element("test-run"),
        paths=(("NUnit", "**/TestResult.xml"), ("Unity", "**/*mode-results.xml")), file_reference=rb"<attachment",
    ),
    ReportFormat(
        "xunit", "xUnit.net XML", _XML_TYPES, (".xml",), _element(*_XUNIT_ROOTS), _element(*_XUNIT_ROOTS),
        paths=(("xUnit.net", "xunit.xml"),),
    ),
    ReportFormat(
        "testng", "TestNG XML", _XML_TYPES, (".xml",), _element("testng-results"), _element("testng-results"),
        paths=(("TestNG", "**/testng-results.xml"),), names=("testng-results.xml",),
    ),
    ReportFormat(
        "junit", "JUnit XML", _XML_TYPES, (".xml",), re.compile(rb"<"), _element("testsuites?", "testcase"),
        paths=(
            ("pytest, Jest, Vitest, Mocha", "junit.xml"),
            ("node:test, gotestsum, CTest", "junit.xml"),
            ("PHPUnit, RSpec", "junit.xml"),
            ("cargo-nextest", "**/target/nextest/*/junit.xml"),
            ("Maven", "**/target/surefire-reports/TEST-*.xml"),
            ("Gradle", "**/build/test-results/*/TEST-*.xml"),
        ),
        names=("TEST-*.xml",), file_reference=rb"\[\[ATTACHMENT\||<attachment|attachment[\"']",
    ),
    ReportFormat(
        "go-test", "go test -json", ("application/x-ndjson", "application/json"), (".jsonl",),
        re.compile(rb"(?:[^{\n]*\n)*" + _GO_EVENT), re.compile(_GO_EVENT),
        paths=(("go test -json", "go-test.jsonl"),), follows_text=True,
    ),
    ReportFormat(
        "tap", "TAP", ("application/tap", "text/x-tap"), (".tap",), _TAP, _TAP_FILE,
        paths=(("TAP, Bats, prove", "report.tap"),), names=("*.tap",),
    ),
    ReportFormat(
        "playwright", "Playwright JSON", ("application/json",), (".json",), keys=_PLAYWRIGHT,
        paths=(("Playwright", "playwright.json"),), file_reference=_ATTACHMENTS,
    ),
    ReportFormat(
        "cucumber", "Cucumber JSON", ("application/json",), (".json",), keys=_CUCUMBER,
        paths=(("Cucumber", "**/cucumber*.json"), ("Behave", "behave.json")),
    ),
    ReportFormat(
        "pytest-json", "pytest-json-report", ("application/json",), (".json",), keys=_PYTEST,
        paths=(("pytest-json-report", ".report.json"),),
    ),
    ReportFormat(
        "jest", "Jest JSON", ("application/json",), (".json",), keys=_JEST,
        paths=(("Jest", "jest.json"), ("Vitest", "vitest.json")),
    ),
    ReportFormat(
        "mochawesome", "mochawesome", ("application/json",), (".json",), _MOCHAWESOME, _MOCHAWESOME, _MOCHAWESOME_KEYS,
        paths=(("Mocha, Cypress", "**/mochawesome-report/*.json"),), file_reference=rb'"context"\s*:\s*"',
    ),
    ReportFormat(
        "allure", "Allure results", ("application/json",), (".json",), _ALLURE,
        re.compile(rb'"historyId"\s*:\s*"[0-9a-f]{32}|"(?:befores|afters)"\s*:\s*\[|"statusDetails"\s*:\s*\{'),
        _ALLURE_KEYS, paths=(("Allure", "**/allure-results/*.json"),),
        names=("*-result.json", "*-container.json", "*-globals.json"), file_reference=_ATTACHMENTS,
    ),
    ReportFormat(
        "ctrf", "CTRF", ("application/vnd.ctrf+json",), (".ctrf.json",), _JSON_HEAD,
        re.compile(rb'"reportFormat"\s*:\s*"CTRF"|"results"\s*:\s*\{\s*(?:"tool"|"tests"\s*:\s*\[\s*\{)'), _CTRF,
        paths=(("CTRF", "**/*ctrf*.json"),), file_reference=_ATTACHMENTS,
    ),
    ReportFormat(
        "json", "native JSON", ("application/json",), (".json",), _JSON_HEAD, re.compile(rb'"results"\s*:\s*\['),
        file_reference=_ARTIFACT_URI,
    ),
    ReportFormat(
        "ndjson", "native NDJSON", ("application/x-ndjson",), (".ndjson", ".jsonl"), _JSON_HEAD,
        file_reference=_ARTIFACT_URI,
    ),
)  # fmt: skip


def media_types() -> tuple[str, ...]:
    """Return the media types of all formats."""
    return tuple(dict.fromkeys(media_type for known in REPORT_FORMATS for media_type in known.media_types))


def supported_formats() -> str:
    """Return the titles of all formats for an error message."""
    return ", ".join(known.title for known in REPORT_FORMATS)


def list_usual_paths() -> str:
    """Return one line per tool with the usual paths of its reports. Patterns are in quotes, as a shell needs them."""
    paths: dict[str, list[str]] = {}
    for tool, path in (pair for known in REPORT_FORMATS for pair in known.paths):
        paths.setdefault(tool, []).append(f"'{path}'" if "*" in path else path)
    width = max(map(len, paths), default=0)
    return "\n".join(f"  {tool:{width}}  {' '.join(listed)}" for tool, listed in paths.items())


def normalize_media_type(content_type: str | None) -> str | None:
    """Return the media type of a Content-Type header if it is the one of a report format, otherwise None."""
    media_type = (content_type or "").partition(";")[0].strip().lower()
    return media_type if media_type in media_types() else None


def suffix_of(media_type: str | None) -> str:
    """Return the file suffix of stored reports of this media type, or an empty string if the type is unknown."""
    return next((known.suffixes[0] for known in reversed(REPORT_FORMATS) if media_type in known.media_types), "")


def media_type_of(file_name: str) -> str | None:
    """Return the media type of a file name by its longest known suffix, or None if no suffix is known."""
    name = file_name.lower()
    known = [(suffix, row.media_types[0]) for row in REPORT_FORMATS for suffix in row.suffixes if name.endswith(suffix)]
    return max(known, key=lambda pair: len(pair[0]))[1] if known else None


def detect_format(content_type: str | None, first_bytes: bytes) -> ReportFormat | None:
    """Return the format by the media type, or by the first bytes if the media type is unknown. None if no row matches.

    If several formats share the media type, the first bytes decide between them. If none of them matches, any other
    format applies that matches (clients of openapi-generator for Go send each file as application/json), or else the
    general format of the media type.
    """
    media_type, head = normalize_media_type(content_type), ReportHead(first_bytes)
    candidates = [known for known in REPORT_FORMATS if media_type in known.media_types]
    matching = (known for known in (*candidates, *REPORT_FORMATS) if known.matches(head))
    return next(matching, None) or next(reversed(candidates), None)


def find_signed(head: ReportHead) -> ReportFormat | None:
    """Return the format of a file in a folder or an archive, which can be any file, by its content."""
    return next((known for known in REPORT_FORMATS if known.matches(head) and known.has_signature(head)), None)


def find_named(file_name: str, head: ReportHead) -> ReportFormat | None:
    """Return the format that a file can have, if its name is a usual one, or has the suffix of only this format."""
    matching = (known for known in REPORT_FORMATS if known.matches(head))
    return next(
        (known for known in matching if _has_usual_name(known, file_name) or _has_own_suffix(known, file_name)), None
    )


def find_owner(file_name: str) -> ReportFormat | None:
    """Return the format if only its reports have such names, for example `TEST-a.xml`."""
    base_name = file_name.rpartition("/")[2]
    return next((known for known in REPORT_FORMATS if any(fnmatchcase(base_name, name) for name in known.names)), None)


def has_usual_name(file_name: str) -> bool:
    """Return whether a path or a name is a usual one of the reports of a tool."""
    return any(_has_usual_name(known, file_name) for known in REPORT_FORMATS)


def _has_usual_name(known: ReportFormat, file_name: str) -> bool:
    return known.usual_names.fullmatch("/".join(["", *file_name.rsplit("/", 2)][-2:])) is not None


def _has_own_suffix(known: ReportFormat, file_name: str) -> bool:
    shared = {suffix for other in REPORT_FORMATS if other.is_detectable for suffix in other.suffixes}
    return not known.is_detectable and file_name.lower().endswith(tuple(set(known.suffixes) - shared))


ArchiveKind = Literal["zip", "tar"]


class ArchiveFormat(NamedTuple):
    """A media type of archives. The first suffix is the one of stored artifacts."""

    media_type: str
    suffixes: tuple[str, ...]


# Files with the media types of gzip and Zstandard are TAR archives, or single reports, according to their content.
ARCHIVE_FORMATS: Final = (
    ArchiveFormat("application/zip", (".zip",)),
    ArchiveFormat("application/x-tar", (".tar",)),
    ArchiveFormat("application/gzip", (".tar.gz", ".tgz")),
    ArchiveFormat("application/zstd", (".tar.zst", ".tzst")),
)
_COMPRESSION_SUFFIXES: Final = {"application/gzip": ".gz", "application/zstd": ".zst"}
_HEADS: Final[dict[ArchiveKind, re.Pattern[bytes]]] = {
    "zip": re.compile(rb"PK\x03\x04|PK\x05\x06"),
    "tar": re.compile(rb".{257}ustar", re.DOTALL),
}


def upload_media_types() -> tuple[str, ...]:
    """Return the media types of reports and of archives."""
    return *media_types(), *(known.media_type for known in ARCHIVE_FORMATS)


def normalize_upload_type(content_type: str | None) -> str | None:
    """Return the media type of a Content-Type header if reports or archives have it, otherwise None."""
    media_type = (content_type or "").partition(";")[0].strip().lower()
    if any(media_type == known.media_type for known in ARCHIVE_FORMATS):
        return media_type
    return normalize_media_type(content_type)


def find_archive_format(file_name: str) -> ArchiveFormat | None:
    """Return the format of an archive by its file name, or None if the name has no suffix of an archive."""
    name = file_name.lower()
    return next((known for known in ARCHIVE_FORMATS if name.endswith(known.suffixes)), None)


def archive_suffix(media_type: str | None) -> str:
    """Return the suffix of a file whose name is unknown, or an empty string if archives don't have the media type."""
    if media_type in _COMPRESSION_SUFFIXES:
        return _COMPRESSION_SUFFIXES[media_type]
    return next((known.suffixes[0] for known in ARCHIVE_FORMATS if known.media_type == media_type), "")


def detect_archive(head: bytes) -> ArchiveKind | None:
    """Return the kind of an archive by its first 512 bytes, or None for any other file."""
    return next((kind for kind, pattern in _HEADS.items() if pattern.match(head)), None)
