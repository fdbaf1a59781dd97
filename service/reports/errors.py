"""What is wrong with a report that can't be read."""

from typing import Literal

ReportReason = Literal["malformed_report", "unsupported_format", "too_large"]


class ReportError(Exception):
    """The report can't be read, and nothing of it counts; `reason` is one word, `message` is for people.

    Both are in `args`, so that the error survives the way out of a pool's child.
    """

    def __init__(self, reason: ReportReason, message: str) -> None:
        super().__init__(reason, message)
        self.reason: ReportReason = reason
        self.message = message

    def __str__(self) -> str:
        return self.message


def malformed(message: str) -> ReportError:
    """The error of a report that breaks the rules of its own format."""
    return ReportError("malformed_report", message)
