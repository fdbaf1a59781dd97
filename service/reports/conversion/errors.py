"""Errors of reports that can't be read."""

from typing import Any, Literal

from service.reports.format_table import supported_formats
from service.reports.other_formats import OtherFormat, find_by_keys, find_by_root

ReportReason = Literal["malformed_report", "unsupported_format", "too_large"]


class ReportError(Exception):
    """The report can't be read, and none of its results are stored.

    `reason` is the reason code of the receipt, and `message` is the text for users. `run` contains the unvalidated
    fields of RunIn that were read before the error. All of them are in `args`, so that the error can be pickled in the
    child process.
    """

    def __init__(self, reason: ReportReason, message: str, run: dict[str, Any] | None = None) -> None:
        super().__init__(reason, message, run)
        self.reason: ReportReason = reason
        self.message = message
        self.run = run or {}

    def __str__(self) -> str:
        return self.message

    def of_file(self, name: str | None) -> "ReportError":
        """Return the error with the name of the file in front of its message. An only file of an upload has no name."""
        return ReportError(self.reason, f"{name}: {self}", self.run) if name else self


def malformed(message: str) -> ReportError:
    """Return the error for a report that violates the rules of its own format."""
    return ReportError("malformed_report", message)


def unsupported(found: str) -> ReportError:
    """Return the error for a report in an unsupported format. `found` states what the report contains."""
    return ReportError("unsupported_format", f"{found}. Supported formats: {supported_formats()}")


def unreadable(known: OtherFormat) -> ReportError:
    """Return the error for a report in a format of another tool."""
    return ReportError("unsupported_format", known.message)


def unsupported_root(tag: str, expected: str) -> ReportError:
    """Return the error for XML with another root element than the expected format has."""
    known = find_by_root(tag)
    return unreadable(known) if known else unsupported(f"XML with the root element <{tag[:100]}> isn't {expected}")


def unsupported_keys(keys: set[str]) -> ReportError:
    """Return the error for a JSON object that isn't a report."""
    known = find_by_keys(keys)
    return unreadable(known) if known else unsupported("the JSON object has neither results nor a name")
