"""Conversion of a test in a JSON report of Jest or Vitest to a native result."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from service.contracts.run_events import AttemptIn, Failure, ResultIn
from service.domain.failures import strip_escapes
from service.domain.properties import PropertyCollector
from service.domain.statuses import ResultStatus, read_status
from service.reports.attempts import MAX_ATTEMPTS, attempts_of
from service.reports.failures import join_failures
from service.reports.json_values import add_duration, count_of, line_of, object_of, text_of, texts_of, written_text
from service.reports.metadata import ReportMetadata
from service.reports.paths import portable_name
from service.reports.readers.jest_files import JestFile
from service.reports.suites import SEPARATOR
from service.reports.times import epoch_ms

_UNFINISHED: Final = "pending"  # Vitest has another word for a skipped test
_NOT_EXECUTED: Final = ("skipped", "canceled")
_RETRIED: Final = ("passed", "failed")


def result_of(test: Any, file: JestFile, metadata: ReportMetadata) -> ResultIn:
    """Return the native result of a test. Return any other value unchanged: ingest rejects it with its index."""
    if not isinstance(test, dict):
        return cast("ResultIn", test)
    titles = titles_of(test)
    status = _status_of(test.get("status"), file)
    result: ResultIn = {"suite": file.suite_of(titles), "name": _name_of(test, titles, file), "status": status}
    if file.name:
        result["file"] = file.name
    if test.get("location") and (line := line_of(object_of(test, "location"))):
        result["line"] = line
    if started_at := epoch_ms(test.get("startAt")):
        result["started_at"] = started_at
    add_duration(result, test, metadata.unreadable)
    if test.get("failureMessages") or test.get("invocations", 1) != 1:
        _add_failures(result, test, metadata)
    if test.get("meta") or test.get("tags"):
        _add_properties(result, test, metadata)
    _count(status, metadata)
    return result


def _status_of(word: Any, file: JestFile) -> ResultStatus:
    """Return the status. In Vitest, a test that was still running or waiting at the end of the run is pending."""
    if word == _UNFINISHED and file.is_vitest:
        return "canceled"
    return read_status(word) or cast("ResultStatus", word)


def _count(status: ResultStatus, metadata: ReportMetadata) -> None:
    metadata.counted["tests"] += 1
    if status != "passed":
        metadata.counted["failures"] += status == "failed"
        metadata.counted["skipped"] += status in _NOT_EXECUTED


def titles_of(test: Mapping[str, Any]) -> list[str]:
    """Return the titles of the `describe` blocks around a test. Vitest 0 starts with the empty title of the file."""
    titles = texts_of(test, "ancestorTitles")
    return titles[1:] if titles[:1] == [""] else titles


def _name_of(test: Mapping[str, Any], titles: Sequence[str], file: JestFile) -> str:
    """Return the full name, with separators for Vitest, as in the reports of other reporters of the tools."""
    name = None if file.is_vitest else text_of(test, "fullName")
    if name is None:
        title = text_of(test, "title")
        if title is None:
            return cast("str", test.get("title"))  # ingest rejects it
        name = (SEPARATOR if file.is_vitest else " ").join((*titles, title))
    return portable_name(name) or file.name


def _failure_of(text: str) -> Failure:
    """Return the first line as the message, and the complete text, with a stack, as details."""
    text = strip_escapes(text)
    message, _, more = text.partition("\n")
    return {"message": message, "details": text} if more else {"message": message}


def _add_failures(result: ResultIn, test: Mapping[str, Any], metadata: ReportMetadata) -> None:
    failures = [_failure_of(text) for text in texts_of(test, "failureMessages")]
    if failures and result["status"] != "passed":
        result["failure"] = join_failures(failures)
    if result["status"] in _RETRIED:
        _add_attempts(result, test, failures, metadata)


def _add_attempts(result: ResultIn, test: Mapping[str, Any], failures: list[Failure], metadata: ReportMetadata) -> None:
    """Add the attempts before the last one. Jest counts them, and states their errors only if it logged them.

    Vitest doesn't count the attempts, but a test that passed has failures only if earlier attempts failed. Don't add an
    attempt for each retry without a text: a few bytes of a report would become a thousand rows.
    """
    retries = (count_of(test, "invocations") or 1) - 1
    reasons = [_failure_of(text) for text in texts_of(test, "retryReasons")]
    if result["status"] == "passed":
        reasons = reasons or failures
    if retries > 0 and retries == len(reasons):
        earlier: list[AttemptIn] = [{"status": "failed", "failure": reason} for reason in reasons]
    elif retries > 0 or (reasons and result["status"] == "passed"):
        earlier = [{"status": "failed", "failure": join_failures(reasons)} if reasons else {"status": "failed"}]
    else:
        return
    attempts = [*earlier, *attempts_of(result)][-MAX_ATTEMPTS:]
    result["attempts"] = attempts
    if retries >= len(attempts):
        result["retries"] = min(retries, MAX_ATTEMPTS - 1)
    metadata.contains_failures = True


def _add_properties(result: ResultIn, test: Mapping[str, Any], metadata: ReportMetadata) -> None:
    """Add the values that a test writes to `task.meta` of Vitest, and its tags."""
    properties = PropertyCollector()
    for tag in texts_of(test, "tags"):
        metadata.dropped_properties += not properties.add("tags", tag)
    for name, value in object_of(test, "meta").items():
        metadata.dropped_properties += not properties.add(name, written_text(value))
    if properties.pairs:
        result["properties"] = properties.pairs
