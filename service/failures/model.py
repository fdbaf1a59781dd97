"""Failures: the summary of their texts, the location in the repository that they state, and the rows of groups."""

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from pathlib import PurePosixPath
from typing import Final, Literal, NamedTuple

from service.domain.ids import CaseKey, Fingerprint, RunKey, fingerprint_id, result_id

MAX_SUMMARY: Final = 200  # characters

_MAX_EXAMINED: Final = 8_000  # characters of one text
_MAX_LINE: Final = 400
_MAX_COMPARED: Final = 6  # lines between the first line and the compared values
# Escape sequences of terminals (ECMA-48): CSI, OSC, and sequences of two characters.
_ESCAPES: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_])")
# Colors whose escape character was replaced or removed, because XML can't contain it.
_COLORS: Final = re.compile(r"(?:\x1b|\ufffd|&(?:amp)?#27;|#x1B|\\x1b|\\u001b|\\e|\?)?\[\d[\d;]*m(?!\])", re.IGNORECASE)
_COLOR_ENDS: Final = ("[0m", "[39m")
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ufeff]")
# pytest: a line of the error, after the source code
_PYTEST_ERROR: Final = re.compile(r"^E {3}(?=\S)", re.MULTILINE)

# Lines that tools write before the line that explains the failure.
_UNINFORMATIVE: Final = re.compile(
    r"""
    \W*                                                     # separators and markers
    | (?:test\ )?(?:fail|fails|failed|failure|skipped)[:.!]?            # Failed, test failure, FAILED:
    | failed\ \w*(?:::\w+)+                                # cargo2junit: failed tests::pays
    | the\ scenario\ has\ pending\ or\ undefined\ step\(s\) # Cucumber
    | a\ (?:hook\ or\ step\ failed|step\ in\ the\ test\ case\ is\ not\ (?:defined|yet\ implemented))
    | \S.*\.{3}(?:passed|skipped)                         # Cucumber: Given a cart......passed
    | (?:(?:runtime|build)\ )?error[:.!]?                 # also go-junit-report: Runtime error
    | none | unknown\ file:?                               # Behave; GoogleTest
    | collection\ failure | \W*test\ suite\ failed\ to\ run  # pytest; Jest
    | assert(?:ion)?(?:\ (?:failed|failure|error))?[:.!]?
    | [\w.$\\]*\w(?:Error|Exception|Failure|Failed)[:.]?    # a class without a message
    | [\w\\]+::\w+(?:\ with\ data\ set\ .*)?                # PHPUnit: the name of the test
    | \S+\ \[\S+:\d+\]:? | [\w:]+\#.+\ \[\S+:\d+\]:        # minitest: the name and location of the test
    | Test\ method\ \S+\ threw\ exception:                  # MSTest
    | error\ trace:.*                                      # testify
    | ===\ \w+\s.*                                          # go test: === RUN TestPays
    | ---\ \w+:\s.*                                         # go test: --- FAIL: TestPays (0.00s)
    | --.*--                                                # ---- tests::pays stdout ----
    | running\ \d+\ tests? | test\ .*\ \.\.\.\ FAILED | failures:
    | thread\ .*\ panicked\ at\ \S+:\d+(?::\d+)?:?
    | (?:at\ )?\S+:\d+(?::\d+)?                            # Catch2: at tests.cpp:12. GoogleTest: cart_test.cc:7
    | \S+\.(?:spec|test)\.\w+:\d+:\d+\ .*                  # Playwright: cart.spec.ts:3:5 adds a product
    | [^›]*\ ›\ .*─                                         # Playwright: [firefox] › cart.spec.ts:3:5 › adds ────
    """,
    re.VERBOSE | re.IGNORECASE,
)
# The name and location of the test in front of a message in one line: minitest-junit.
_TEST_NAME: Final = re.compile(r"^(?:Failure|Error|Skipped): [\w:]+#.*?(?: \[\S+:\d+\])?:\s+(?=\S)")
_FRAME: Final = re.compile(r'(?:at\s.+\(.*\)|at\s\S+(?::\d+){1,2}|File\s".*",\sline\s\d+.*|\.{3}\s\d+\smore)')
_TRACEBACK: Final = "Traceback (most recent call last):"
_FRAME_START: Final = '\n  File "'
_CHAINED: Final = re.compile(
    r"\n(?:During handling of the above exception, another exception occurred"
    r"|The above exception was the direct cause of the following exception):\n"
)
# A value that explains the first line: `But was:  False` (NUnit), `but: was <1>` (Hamcrest), `Actual: 1` (GoogleTest),
# `Received: 1` (Jest), ` right: 2` (Rust), `-'a'` (PHPUnit).
_COMPARED: Final = re.compile(
    r"(?:expected|actual|received|but|got|found|not found|left|right|string|collection)\b[\w ()]{0,30}:.*"
    r"|[-+]['\"\w].*",
    re.IGNORECASE,
)
# Codeception: the class and the title of the test, which can fill several lines, before the message.
_SCENARIO_TITLE: Final = re.compile(r"\s*\w+(?:Cest|Cept):[ \t]*(?:\n\s*)?\S.*\n(?:\s*[a-z].*\n(?=\s*[A-Z]))?")
# Cucumber for Ruby: the step, and the message of its error, which can be blank.
_SCENARIO: Final = re.compile(r"Scenario(?: Outline)?: [^\n]*\n\n(.*?)\n\nMessage:\n(.*)", re.DOTALL)
# `Given a cart......undefined` in the output of Cucumber
FAILING_STEP: Final = re.compile(r"(\S(?:.*?[^.])?)\.{3,}(undefined|pending|ambiguous|failed)")
# Rust before 1.73 writes the message between the thread and the location.
_PANIC: Final = re.compile(r"^thread '[^']*' panicked at '(?=.)|(?<=.)', \S+:\d+:\d+$")
# Trainer of fastlane: (/src/CartTests.swift#StartingLineNumber=9)
_XCODE_LOCATION: Final = re.compile(r" ?\(/[^()]*#\w+=[^()]*\)$")


def summarize_failure(type_: str | None, message: str | None, details: str | None) -> str | None:
    """Return the first informative line of the message, else of the details, else the type. None if all are empty.

    A line that only states that the test failed, or only the class of the error, isn't informative unless no text
    contains more. Lines that follow a line with a colon at its end, and the next lines that state an expected or an
    actual value, are added. Stack frames, blank lines, and escape sequences are removed. The summary has at most 200
    characters.
    """
    return _summarize(type_ or "", _examined(message or ""), _examined(details or ""))


def explains_failure(message: str | None, details: str | None) -> bool:
    """Return whether one of the texts contains an informative line."""
    return any(next(_informative_lines(_examined(text or "")), None) for text in (message, details))


def _examined(text: str) -> str:
    """Return the start of a text, or a traceback from its last frame on, which is before the exception."""
    if len(text) > _MAX_EXAMINED and text.lstrip().startswith(_TRACEBACK):
        last_frame = text.rfind(_FRAME_START)
        text = f"{_TRACEBACK}{text[last_frame:]}" if last_frame >= 0 else text
    return text[:_MAX_EXAMINED]


def _summarize(type_: str, message: str, details: str) -> str | None:
    if scenario := _SCENARIO.match(details):
        message, details = "", scenario[2].strip() or scenario[1]
    elif _repeats_more(details, message):
        message = ""
    for text in (message, details):
        if summary := _join_lines(_informative_lines(text)):
            return summary
    for read in (_lines_outside_stacks, _lines):
        for text in (message, details, type_):
            if summary := next(read(text), None):
                return summary.strip()[:MAX_SUMMARY]
    return None


def _repeats_more(details: str, message: str) -> bool:
    """Return whether a message is only the first line of the details: Playwright, minitest-reporters, ci_reporter."""
    is_shortened = message.endswith("...") and message[:-3] in details
    return is_shortened or ("\n" not in message and details.startswith(f"{message}\n"))


def to_line(text: str) -> str:
    """Return the text as one line that is safe to print on a terminal."""
    return " ".join(strip_escapes(text).split())


def strip_escapes(text: str) -> str:
    """Return the text without escape sequences and control characters, except line ends and tabs."""
    if any(end in text for end in _COLOR_ENDS):
        text = _COLORS.sub("", text)
    if text.isprintable():
        return text
    return _CONTROLS.sub("", _ESCAPES.sub("", text.replace("\r\n", "\n")))


def _join_lines(lines: Iterator[str]) -> str | None:
    """Return the first line as one line with the lines that it announces, or with the values that explain it."""
    summary = next(lines, None)
    if summary is None:
        return None
    announces = summary.endswith(":")
    for line in lines if announces else islice(lines, _MAX_COMPARED):
        if announces or (_COMPARED.fullmatch(line) and line not in summary):
            summary = f"{summary} {line}"
        if len(summary) >= MAX_SUMMARY:
            break
    return summary[:MAX_SUMMARY].rstrip()


def _informative_lines(text: str) -> Iterator[str]:
    if error := _PYTEST_ERROR.search(text):
        text = text[error.end() :]
    if title := _SCENARIO_TITLE.match(text):
        text = text[title.end() :]
    for line in _lines_outside_stacks(text):
        stripped = line[:_MAX_LINE].strip()
        if step := FAILING_STEP.fullmatch(stripped):
            yield f"{step[2]}: {step[1]}"
        elif not _UNINFORMATIVE.fullmatch(stripped):
            plain = _XCODE_LOCATION.sub("", _PANIC.sub("", _TEST_NAME.sub("", stripped, count=1)))
            yield " ".join(plain.split())[:MAX_SUMMARY].rstrip()


def _lines_outside_stacks(text: str) -> Iterator[str]:
    """Yield the lines that aren't blank and not part of a stack. Of chained tracebacks, use only the last one."""
    in_traceback = False
    if text.lstrip().startswith(_TRACEBACK):
        text = _CHAINED.split(text)[-1]
    for line in _lines(text):
        stripped = line[:_MAX_LINE].strip()
        if stripped == _TRACEBACK:
            in_traceback = True
        elif not (_FRAME.fullmatch(stripped) or (in_traceback and line[0].isspace())):
            yield line


def _lines(text: str) -> Iterator[str]:
    """Yield the lines that aren't blank."""
    return (line for line in strip_escapes(text).split("\n") if not line.isspace() and line)


_MAX_TEXT: Final = 100_000  # characters that are searched
_MAX_PATH: Final = 300
# tests/test_cart.py:97: · at Cart (src/cart.ts:12:5) · File "tests/test_cart.py", line 97
_LOCATION: Final = re.compile(
    r"(?<![\w/.@:~\\-])([\w@+-][\w./@+-]{0,299}\.[A-Za-z]\w{0,9})(?::|\", line )(\d{1,7})\b", re.ASCII
)
_OF_LIBRARIES: Final = frozenset({"node_modules", "site-packages", "dist-packages", "vendor", ".venv", "venv"})
# The locations of Java and Go have no folders: at com.acme.CartTest.pays(CartTest.java:12) · cart_test.go:9: …
_WITHOUT_FOLDERS: Final = frozenset({".java", ".kt", ".scala", ".groovy", ".go"})
_INNERMOST_LAST: Final = frozenset({".py"})  # Python lists the innermost call last, other languages list it first


class FailureLocation(NamedTuple):
    """A file, relative to the root of the repository, and a line in it, which can be unknown."""

    file: str
    line: int | None


def find_location(
    texts: Sequence[str | None], file: str | None, line: int | None, exists: Callable[[str], bool] = lambda _: False
) -> FailureLocation | None:  # fmt: skip
    """Return the innermost call in a file of the repository, or None.

    `texts` are the details and the message of the failure, `file` and `line` the place of the case. Other files are
    used only for a case without a file, because they can belong to libraries, or relative to another folder. For
    example, `cart.js:3` is in the file `web/cart.js` of the case. For the file `cart.js` of the case, `web/cart.js:3`
    is used only if this file exists in the repository. An absolute file isn't returned.
    """
    stated = file if file and _is_relative(file) else None
    for text in filter(None, texts):
        calls = [call for call in find_all(text[:_MAX_TEXT]) if not is_library(call.file)]
        if found := [call for call in calls if (_is_of(call, file) if file else _has_folders(call))]:
            call = _innermost(found)
            is_longer = len(call.file) > len(stated or "")
            return call if not stated or (is_longer and exists(call.file)) else call._replace(file=stated)
    return FailureLocation(stated, line or None) if stated else None


def find_module(text: str, module: str) -> str | None:
    """Return the file of a Python class or module in a traceback: `tests/test_cart.py` for `tests.test_cart.TestCart`.

    Both can be relative to different folders, so that the module is `api.tests.test_cart` or `test_cart`.
    """
    return next((call.file for call in find_all(text[:_MAX_TEXT]) if _is_module(call.file, module.split("."))), None)


def find_all(text: str) -> list[FailureLocation]:
    """Return the files and lines in a text that aren't absolute."""
    matches = _LOCATION.finditer(strip_escapes(text))
    return [FailureLocation(match[1], int(match[2])) for match in matches if _is_relative(match[1]) and int(match[2])]


def is_library(file: str) -> bool:
    """Return whether a file is in a folder of installed packages."""
    return not _OF_LIBRARIES.isdisjoint(PurePosixPath(file).parts)


def _is_module(file: str, names: Sequence[str]) -> bool:
    *folders, name = file.removesuffix(".py").split("/")
    around = zip(reversed(folders), reversed(names[: names.index(name)]), strict=False) if name in names else ()
    return name in names and all(folder == parent for folder, parent in around)


def _is_of(call: FailureLocation, file: str) -> bool:
    """Return whether a call is in a file, although both can be relative to different folders."""
    return f"/{file}".endswith(f"/{call.file}") or call.file.endswith(f"/{file}")


def _has_folders(call: FailureLocation) -> bool:
    return "/" in call.file or PurePosixPath(call.file).suffix not in _WITHOUT_FOLDERS


def _innermost(locations: Sequence[FailureLocation]) -> FailureLocation:
    suffix = PurePosixPath(locations[0].file).suffix
    return locations[-1 if suffix in _INNERMOST_LAST else 0]


def _is_relative(file: str) -> bool:
    path = PurePosixPath(file)
    return not path.is_absolute() and ".." not in path.parts and len(file) <= _MAX_PATH


GroupStateValue = Literal["open", "resolved"]


class FailureGroupRow(NamedTuple):
    """The failing results of a project with the same fingerprint. The example is the newest of them."""

    fingerprint: Fingerprint
    project_id: str
    type: str | None
    message: str | None
    results: int
    cases: int
    runs: int
    first_seen_ms: int
    last_seen_ms: int
    example_run: RunKey
    example_case: CaseKey
    ticket_url: str | None
    owners: Sequence[str]

    @property
    def id(self) -> str:
        """The public ID."""
        return fingerprint_id(self.fingerprint)

    @property
    def example_result_id(self) -> str:
        """The public ID of the newest result."""
        return result_id(self.example_run, self.example_case)


class FailureGroupDetailRow(NamedTuple):
    """One failure group. `truncated` states that only its newest results count.

    The times are those of its lifecycle on the default branch, and None if it isn't recorded.
    """

    group: FailureGroupRow
    truncated: bool
    opened_ms: int | None
    resolved_ms: int | None

    @property
    def state(self) -> GroupStateValue | None:
        """The state on the default branch. None: the group hasn't failed there since states are recorded."""
        return "resolved" if self.resolved_ms else "open" if self.opened_ms else None


class RankedGroups(NamedTuple):
    """The largest failure groups. `truncated` states that a scan budget ended before the range did."""

    groups: Sequence[FailureGroupRow]
    truncated: bool


class OpenGroup(NamedTuple):
    """A failure group that fails in an environment: with cases that no later run of the environment passed.

    Numbers of runs start with 1, the newest run. `opened_no` is the first run of an update that failed, or else the
    first one of all. `is_new` states that no other run than those of the update failed.
    """

    fingerprint: Fingerprint
    last_no: int
    opened_no: int
    is_new: bool


class GroupState(NamedTuple):
    """The lifecycle of a failure group on the default branch. It is open in these environments; "" is none.

    The times are those of the completion of the runs. Without environments, the group is resolved. `resolved_run_id`
    is also None if the failures were deleted with the newest run.
    """

    fingerprint: Fingerprint
    environments: Sequence[str]
    opened_at: datetime
    opened_run_id: str
    last_run_id: str
    resolved_at: datetime | None = None
    resolved_run_id: str | None = None
