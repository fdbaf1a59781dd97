"""Statuses of results and runs, and which of two is worse."""

from typing import Final, Literal, get_args

ResultStatus = Literal["passed", "failed", "error", "skipped", "canceled"]
RunStatus = Literal["passed", "failed", "error", "canceled"]

RESULT_STATUSES: Final[tuple[ResultStatus, ...]] = get_args(ResultStatus)
RUN_STATUSES: Final[tuple[RunStatus, ...]] = get_args(RunStatus)

# Worse is higher. PostgreSQL ranks the stored letters the same way: strpos('pscfe', status).
SEVERITY: Final[dict[str, int]] = {"passed": 1, "skipped": 2, "canceled": 3, "failed": 4, "error": 5}

# How a status is stored: one byte, its first letter.
STATUS_CODES: Final[dict[str, str]] = {status: status[0] for status in RESULT_STATUSES}
STATUS_NAMES: Final[dict[str, ResultStatus]] = {status[0]: status for status in RESULT_STATUSES}
