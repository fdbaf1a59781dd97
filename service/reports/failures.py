"""The failure of one attempt from several failures that the report states for it."""

from collections.abc import Sequence
from typing import Final

from service.contracts.run_events import Failure

MAX_COLLECTED: Final = 200_000  # characters; exceeds the stored length, so that ingest truncates the text and notes it


def join_failures(failures: Sequence[Failure]) -> Failure:
    """Return type and message of the first failure, and the details of all, separated by blank lines."""
    if len(failures) == 1:
        return failures[0]
    return {**failures[0], "details": "\n\n".join(map(_full_text, failures))[:MAX_COLLECTED]}


def _full_text(failure: Failure) -> str:
    message, details = failure.get("message") or "", failure.get("details") or ""
    return details if message.strip() in details else f"{message}\n{details}".rstrip()
