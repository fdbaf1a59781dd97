"""The formats of test reports: media types, file suffixes, and first bytes.

A new format needs a row here, a reader in service/reports/readers, and its entry in service/reports/formats.py.
The command line runs on Python 3.10 without other packages, so this module uses the standard library only.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import translate
from functools import cached_property
from typing import Final, Literal

ReportFormatName = Literal[
    "trx", "robot", "nunit", "xunit", "testng", "junit", "go-test", "tap", "playwright", "cucumber", "pytest-json",
    "jest", "mochawesome", "allure", "ctrf", "json", "ndjson",
]  # fmt: skip

HEAD_BYTES: Final = 4_096  # the number of bytes that `detect_format` and `is_report` need
_BYTES_BEFORE_TEXT: Final = b"\xef\xbb\xbf\xff\xfe \t\r\n\x1e"  # byte order marks, white space, record separators


@dataclass(frozen=True)
class ReportFormat:
    """A report format. The first suffix is the one of stored artifacts.

    `head` matches the first bytes of a report after byte order marks, white space, and NUL bytes (UTF-16) are removed.
    `signature` occurs in the same bytes of a report, but not in other files with the same syntax; None if a file has
    this format only if its media type states it. Formats can share a media type. `paths` are the usual paths of the
    reports of each tool, as patterns, and `names` are patterns of their file names in any folder. `file_reference` is
    the pattern of a text that a report contains if it names a file, such as a screenshot.
    """

    name: ReportFormatName
    title: str
    media_types: tuple[str, ...]
    suffixes: tuple[str, ...]
    head: re.Pattern[bytes]
    signature: re.Pattern[bytes] | None = None
    paths: tuple[tuple[str, str], ...] = ()
    names: tuple[str, ...] = ()
    file_reference: bytes | None = None

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


def _xml(*roots: str) -> re.Pattern[bytes]:
    """Return the pattern of XML whose root element is one of these, after a declaration, comments, and a DOCTYPE."""
    before = r"(?:<\?[^>]*>\s*|<!--(?:[^-]|-[^-])*-->\s*|<!DOCTYPE[^>]*>\s*)*"
    return re.compile(f"{before}<(?:{'|'.join(roots)})[\\s/>]".encode())


def _element(*names: str) -> re.Pattern[bytes]:
    """Return the pattern of the start of one of these elements."""
    return re.compile(f"<(?:{'|'.join(names)})[\\s/>]".encode())


_XML_TYPES: Final = ("application/xml", "text/xml")
# Manifests of .NET and descriptors of Maven have the root element `assembly` too.
_XUNIT_ROOTS: Final = ("assemblies", r"assembly(?=\s[^<>]*\b(?:run-date|run-time|test-framework|total)=)")
_ATTACHMENTS: Final = rb'"attachments"\s*:\s*\[\s*\{'
_ARTIFACT_URI: Final = rb'"uri"\s*:(?!\s*"[^"\n]{0,500}\.feature")'  # not the path of a feature of Cucumber
_JSON_HEAD: Final = re.compile(rb"[{\[]")
# The messages of Cucumber and the events of Dart are NDJSON too, but not native results.
_NDJSON: Final = re.compile(rb'(?!\{\s*"(?:meta"\s*:\s*\{\s*")?protocolVersion")[{\[]')
_GO_EVENT: Final = rb'\{[^{}\n]*"Action"\s*:\s*"(?:start|run|output|pass|fail|skip|build-output|build-fail)"'
# The first key of the configuration depends on the version and on whether a configuration file exists.
_PLAYWRIGHT: Final = re.compile(rb'\{\s*"config"\s*:\s*\{\s*"(?:argv|configFile|rootDir|failOnFlakyTests|forbidOnly)"')
# The first keys of a feature depend on the tool. The key `keyword` is that of the feature or of its first scenario. A
# description can be longer than the examined bytes.
_CUCUMBER: Final = re.compile(
    rb'\[\s*\{(?=[^\0]*"keyword"\s*:\s*")\s*"(?:uri|keyword|description|line|elements|comments|id|metadata)"\s*:'
    rb'|\[\s*\{\s*"description"\s*:\s*"(?:[^"\\]|\\.)*\Z'
)
_PYTEST: Final = re.compile(rb'\{\s*"created"\s*:[^,{}\[\]]+,\s*"duration"\s*:[^,{}\[\]]+,\s*"exitcode"\s*:')
# The first line of TAP, or of `prove -v`. Other lines, such as those of npm, can be before a version.
_TAP_START: Final = (
    rb"(?:(?![<{\[])[^\n]*\n)*?TAP version 1[34]\s"
    rb"|(?:[ \t]*(?:#[^\n]*)?\n)* *(?:1\.\.\d+(?:\s|$)|(?:not )?ok \d+(?:\s|$)|(?:\[[\d:]+\] )?\S+\.t \.{2,} ?\r?\n)"
)
_TAP: Final = re.compile(_TAP_START)
_TAP_FILE: Final = re.compile(rb"\A(?:" + _TAP_START + rb")")
# Jest and Vitest start with their counts, in a different order.
_JEST: Final = re.compile(rb'\{\s*"num(?:Failed|Total)TestSuites"\s*:')
# The reporter `json` of Mocha starts with the same key, but continues with the list of the tests.
_MOCHAWESOME: Final = re.compile(rb'\{\s*"stats"\s*:\s*\{[^{}]*\}\s*,\s*"results"\s*:\s*\[')
JOINED_HEADING: Final = "allure_file"  # the key before each file of a joined report (service/reports/report_sets.py)


def _first_keys(first: str, *, before: str = "", later: str = "") -> str:
    """Return the pattern of a JSON object that starts with one of these keys, with one of the later keys behind it."""
    followed = f'(?=(?s:.)*?"(?:{later})"\\s*:)' if later else ""
    return f'\\{{\\s*{before}(?="(?:{first})"\\s*:){followed}'


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
        "trx", "TRX", _XML_TYPES, (".trx",), _xml("TestRun"), _element("TestRun"),
        (("dotnet test", "**/TestResults/*.trx"),), file_reference=rb"<ResultFile\b",
    ),
    ReportFormat(
        "robot", "Robot output.xml", _XML_TYPES, (".xml",), _xml("robot"), _element("robot"),
        (("Robot Framework", "output.xml"),),
        file_reference=rb"html=\"(?:true|yes)\">[^<]*&lt;(?:img|a|source|video)\s",
    ),
    ReportFormat(
        "nunit", "NUnit 3 XML", _XML_TYPES, (".xml",), _xml("test-run"), _element("test-run"),
        (("NUnit", "**/TestResult.xml"), ("Unity", "**/*mode-results.xml")), file_reference=rb"<attachment",
    ),
    ReportFormat(
        "xunit", "xUnit.net XML", _XML_TYPES, (".xml",), _xml(*_XUNIT_ROOTS), _element(*_XUNIT_ROOTS),
        (("xUnit.net", "xunit.xml"),),
    ),
    ReportFormat(
        "testng", "TestNG XML", _XML_TYPES, (".xml",), _xml("testng-results"), _element("testng-results"),
        (("TestNG", "**/testng-results.xml"),),
    ),
    ReportFormat(
        "junit", "JUnit XML", _XML_TYPES, (".xml",), re.compile(rb"<"), _element("testsuites?", "testcase"),
        (
            ("pytest, Jest, Vitest, Mocha", "junit.xml"),
            ("Maven", "**/target/surefire-reports/TEST-*.xml"),
            ("Gradle", "**/build/test-results/*/TEST-*.xml"),
        ),
        file_reference=rb"\[\[ATTACHMENT\||<attachment|attachment[\"']",
    ),
    ReportFormat(
        "go-test", "go test -json", ("application/x-ndjson", "application/json"), (".jsonl",),
        re.compile(rb"(?:[^{\n]*\n)*" + _GO_EVENT), re.compile(_GO_EVENT), (("go test -json", "go-test.jsonl"),),
    ),
    ReportFormat(
        "tap", "TAP", ("application/tap", "text/x-tap"), (".tap",), _TAP, _TAP_FILE, (("TAP", "report.tap"),)
    ),
    ReportFormat(
        "playwright", "Playwright JSON", ("application/json",), (".json",), _PLAYWRIGHT, _PLAYWRIGHT,
        (("Playwright", "playwright.json"),), file_reference=_ATTACHMENTS,
    ),
    ReportFormat(
        "cucumber", "Cucumber JSON", ("application/json",), (".json",), _CUCUMBER, _CUCUMBER,
        (("Cucumber", "**/cucumber*.json"), ("Behave", "behave.json")),
    ),
    ReportFormat(
        "pytest-json", "pytest-json-report", ("application/json",), (".json",), _PYTEST, _PYTEST,
        (("pytest-json-report", ".report.json"),),
    ),
    ReportFormat(
        "jest", "Jest JSON", ("application/json",), (".json",), _JEST, _JEST,
        (("Jest", "jest.json"), ("Vitest", "vitest.json")),
    ),
    ReportFormat(
        "mochawesome", "mochawesome", ("application/json",), (".json",), _MOCHAWESOME, _MOCHAWESOME,
        (("Mocha, Cypress", "**/mochawesome-report/*.json"),), file_reference=rb'"context"\s*:\s*"',
    ),
    ReportFormat(
        "allure", "Allure results", ("application/json",), (".json",), _ALLURE,
        re.compile(rb'"historyId"\s*:\s*"[0-9a-f]{32}|"(?:befores|afters)"\s*:\s*\[|"statusDetails"\s*:\s*\{'),
        (("Allure", "**/allure-results/*.json"),), ("*-result.json", "*-container.json", "*-globals.json"),
        _ATTACHMENTS,
    ),
    ReportFormat(
        "ctrf", "CTRF", ("application/vnd.ctrf+json",), (".ctrf.json",), _JSON_HEAD,
        re.compile(rb'"reportFormat"\s*:\s*"CTRF"|"results"\s*:\s*\{\s*"tool"'),
        (("CTRF", "**/*ctrf*.json"),), file_reference=_ATTACHMENTS,
    ),
    ReportFormat(
        "json", "native JSON", ("application/json",), (".json",), _JSON_HEAD, re.compile(rb'"results"\s*:\s*\['),
        file_reference=_ARTIFACT_URI,
    ),
    ReportFormat(
        "ndjson", "native NDJSON", ("application/x-ndjson",), (".ndjson", ".jsonl"), _NDJSON,
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


def detect_format(content_type: str | None, head: bytes) -> ReportFormat | None:
    """Return the format by the media type, or by the first bytes if the media type is unknown. None if no row matches.

    If several formats share the media type, the first bytes decide between them. If none of them matches, any other
    format applies that matches (clients of openapi-generator for Go send each file as application/json), or else the
    general format of the media type.
    """
    media_type = normalize_media_type(content_type)
    candidates = [known for known in REPORT_FORMATS if media_type in known.media_types]
    return _match(candidates, head) or _match(REPORT_FORMATS, head) or next(reversed(candidates), None)


def is_report(content_type: str | None, head: bytes) -> bool:
    """Return whether a file that isn't marked as a report is one, by its signature or by a special media type."""
    media_type = normalize_media_type(content_type)
    if any(media_type in known.media_types for known in REPORT_FORMATS if known.signature is None):
        return True
    text = text_of_head(head)
    return any(known.signature.search(text) for known in REPORT_FORMATS if known.signature)


def find_report(file_name: str, head: bytes) -> ReportFormat | None:
    """Return the format of a file in a folder or an archive, or None if the file isn't a report.

    A file in a folder or an archive can be any file. Its first bytes must therefore contain the signature of the
    format, or its name must be the usual one. A format without a signature is detected by its own suffix.
    """
    text = text_of_head(head)
    matching = [known for known in REPORT_FORMATS if known.head.match(text)]
    signed = (known for known in matching if known.signature and known.signature.search(text))
    named = (known for known in matching if _has_usual_name(known, file_name) or _has_own_suffix(known, file_name))
    return next(signed, None) or next(named, None)


def is_damaged_report(file_name: str, head: bytes) -> bool:
    """Return whether a file that isn't a report must be one by its name: it is empty, ends too early, or is garbage.

    `head` contains fewer bytes than HEAD_BYTES if the file is shorter.
    """
    text = text_of_head(head).rstrip()
    if not text:
        return media_type_of(file_name) is not None
    is_complete = len(head) >= HEAD_BYTES or text.endswith((b">", b"}", b"]"))
    is_text = text.startswith((b"<", b"{", b"["))
    return not (is_text and is_complete) and has_usual_name(file_name)


def has_usual_name(file_name: str) -> bool:
    """Return whether a path or a name is a usual one of the reports of a tool."""
    return any(_has_usual_name(known, file_name) for known in REPORT_FORMATS)


def _has_usual_name(known: ReportFormat, file_name: str) -> bool:
    return known.usual_names.fullmatch("/".join(["", *file_name.rsplit("/", 2)][-2:])) is not None


def _has_own_suffix(known: ReportFormat, file_name: str) -> bool:
    shared = {suffix for other in REPORT_FORMATS if other.signature for suffix in other.suffixes}
    return known.signature is None and file_name.lower().endswith(tuple(set(known.suffixes) - shared))


def text_of_head(head: bytes) -> bytes:
    """Return the first bytes of a report without byte order marks, white space, and the NUL bytes of UTF-16."""
    return head.replace(b"\0", b"").lstrip(_BYTES_BEFORE_TEXT)


def _match(candidates: Iterable[ReportFormat], head: bytes) -> ReportFormat | None:
    text = text_of_head(head)
    return next((candidate for candidate in candidates if candidate.head.match(text)), None)
