"""The summary of a failure: the first informative line of its texts."""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

MAX_SUMMARY: Final = 200  # characters

_MAX_EXAMINED: Final = 8_000  # characters of one text
_MAX_LINE: Final = 400
_CACHED_SUMMARIES: Final = 256  # the same failures occur in many results and runs; 4 MB
# Escape sequences of terminals (ECMA-48): CSI, OSC, and those of two characters.
_ESCAPES: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_])")
# Colors whose escape character was replaced or removed, because XML can't contain it.
_COLORS: Final = re.compile(r"(?:\x1b|\ufffd|&(?:amp)?#27;|#x1B|\\x1b|\\u001b|\\e|\?)?\[\d[\d;]*m(?!\])", re.IGNORECASE)
_COLOR_ENDS: Final = ("[0m", "[39m")
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
# pytest: a line of the error, after the source code
_PYTEST_ERROR: Final = re.compile(r"^E {3}(?=\S)", re.MULTILINE)

# Lines that tools write before the line that explains the failure.
_UNINFORMATIVE: Final = re.compile(
    r"""
    \W*                                                     # separators and markers
    | (?:test\ )?(?:fail|fails|failed|failure|skipped)[:.!]?            # Failed, test failure, FAILED:
    | (?:(?:runtime|build)\ )?error[:.!]?                 # also go-junit-report: Runtime error
    | none | unknown\ file:?                               # Behave; GoogleTest
    | collection\ failure | \W*test\ suite\ failed\ to\ run  # pytest; Jest
    | assert(?:ion)?(?:\ (?:failed|failure|error))?[:.!]?
    | [\w.$\\]*\w(?:Error|Exception|Failure|Failed)[:.]?    # a class without a message
    | [\w\\]+::\w+(?:\ with\ data\ set\ .*)?                # PHPUnit: the name of the test
    | \S+\ \[\S+:\d+\]:? | [\w:]+\#.+\ \[\S+:\d+\]:        # minitest: the name and location of the test
    | Test\ method\ \S+\ threw\ exception:                  # MSTest
    | ===\ \w+\s.*                                          # go test: === RUN TestPays
    | ---\ \w+:\s.*                                         # go test: --- FAIL: TestPays (0.00s)
    | -{2,}.*-{2,}                                          # ---- tests::pays stdout ----
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
_TRACEBACK: Final = re.compile(r"Traceback \(most recent call last\):")


def summarize_failure(type_: str | None, message: str | None, details: str | None) -> str | None:
    """Return the first informative line of the message, else of the details, else the type. None if all are empty.

    A line that only states that the test failed, or only the class of the error, isn't informative unless no text
    contains more. Lines that follow a line with a colon at its end are added. Stack frames, blank lines, and escape
    sequences are removed. The summary has at most 200 characters.
    """
    return _summarize(type_, message and message[:_MAX_EXAMINED], details and details[:_MAX_EXAMINED])


@lru_cache(_CACHED_SUMMARIES)
def _summarize(type_: str | None, message: str | None, details: str | None) -> str | None:
    for text in (message, details):
        if summary := _join_lines(_informative_lines(text or "")):
            return summary
    for text in (message, details, type_):
        if summary := next(_lines(text or ""), None):
            return summary.strip()[:MAX_SUMMARY]
    return None


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
    """Return the first line, or all lines if the first one only announces the others, as one line."""
    summary = next(lines, None)
    if summary and summary.endswith(":"):
        for line in lines:
            summary = f"{summary} {line}"
            if len(summary) >= MAX_SUMMARY:
                break
    return summary[:MAX_SUMMARY].rstrip() if summary else None


def _informative_lines(text: str) -> Iterator[str]:
    if error := _PYTEST_ERROR.search(text[:_MAX_EXAMINED]):
        text = text[error.end() :]
    in_traceback = False
    for line in _lines(text):
        stripped = line[:_MAX_LINE].strip()
        if _TRACEBACK.fullmatch(stripped):
            in_traceback = True
        elif in_traceback and line[0].isspace():
            continue
        elif not (_FRAME.fullmatch(stripped) or _UNINFORMATIVE.fullmatch(stripped)):
            yield " ".join(_TEST_NAME.sub("", stripped, count=1).split())[:MAX_SUMMARY].rstrip()


def _lines(text: str) -> Iterator[str]:
    """Yield the lines that aren't blank."""
    return (line for line in strip_escapes(text[:_MAX_EXAMINED]).split("\n") if not line.isspace() and line)
