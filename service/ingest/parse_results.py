"""Conversion of results to outcomes of cases. An invalid result doesn't affect the others."""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from operator import itemgetter
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from service.cases.model import Case, KnownCases
from service.contracts.validation import describe_error, field_path, validation_errors
from service.domain import texts
from service.domain.codeowners import MAX_OWNER, MAX_OWNERS
from service.domain.ids import CaseKey, Fingerprint
from service.domain.statuses import STATUS_CODES, describe_unknown_status, read_status
from service.domain.timestamps import MAX_DURATION_MS
from service.domain.variants import canonical_variant
from service.failures.fingerprints import Fingerprinter
from service.ingest.contract import AttemptIn, ResultIn
from service.ingest.parse_events import ParsedEvent, to_ms, truncate
from service.ingest.validate_events import input_can_have_failed
from service.reports.model import MAX_PROBLEMS
from service.results.model import (
    FAILING_CODES,
    MAX_ATTEMPT_TEXTS,
    NOT_FAILED_CODES,
    PROPERTY_LIMITS,
    ArtifactReference,
    Attempt,
    CaseOutcome,
    CaseOutcomes,
    PropertyCollector,
    add_attempt,
    is_flaky,
    limit_texts,
    round_duration,
)

MAX_ATTEMPTS: Final = 1_000
KEY_COLLISION: Final = "case_key_clash: a different case has the same key"

RESULT: Final = TypeAdapter(ResultIn)
# The method of the adapter itself would add a fifth to the CPU time of a result.
validate_result: Final[Callable[[Any], ResultIn]] = RESULT.validator.validate_python
_UNLISTED: Final = "result: is invalid"  # only the first problems are listed in a receipt

_DETAIL_FIELDS: Final = frozenset({"attempts", "retries", "failure", "logs_ref", "artifacts", "output", "properties"})
# A plain result passed, and has no other fields and therefore no details. Most results are plain.
_PLAIN_FIELDS: Final = ("case_id", "suite", "name", "file", "status", "duration_ms")
_PLAIN_COUNT: Final = len(_PLAIN_FIELDS)
_plain_values: Final = itemgetter(*_PLAIN_FIELDS)
_has_only_plain_fields: Final = frozenset((*_PLAIN_FIELDS, "started_at", "owners")).issuperset
_NOT_PLAIN: Final = (None,) * (_PLAIN_COUNT + 2)
_validate_time: Final[Callable[[Any], datetime]] = TypeAdapter(datetime).validator.validate_python
_PASSED_DETAILS: Final = ("failure", "logs_ref", "properties")
_RESULT_DETAILS: Final = (*_PASSED_DETAILS, "line")
_SEPARATOR: Final = re.compile(r"[,\n]")  # each of several properties `owner` is a line
# Fewer attempts can't have too many characters.
_MANY_ATTEMPTS: Final = MAX_ATTEMPT_TEXTS // (texts.MAX_MESSAGE + texts.MAX_DETAILS)
_PASSED: Final = STATUS_CODES["passed"]

# Creates a named tuple without calling its Python constructor, which is measurable once per result.
_tuple: Final = tuple.__new__

UnseenCases = dict[CaseKey, tuple[int, Case]]  # with the index of the result that names the case
Occurrences = dict[tuple[str, str, str], int]  # number of results so far by suite, name, and variant
IndexedResults = list[tuple[int, ResultIn]]
IdentifyFailure = Callable[[str | None, str | None, str | None], Fingerprint]  # of a type, message, and details


def parse_results(
    event: ParsedEvent, known: KnownCases, fingerprints: Fingerprinter
) -> tuple[CaseOutcomes, UnseenCases]:
    """Validate the results of an event. Return one outcome per case, and the cases that might not be stored yet.

    A plain result of a known case is valid if its status and duration are, because its texts equal those of the case.
    """
    scope, find = known.scope, known.cache.get
    project_id, variant = event.state.project_id, event.variant
    event_s, part = event.event_s, event.number
    parser = _ResultParser(event, known, fingerprints, {})
    outcomes = parser.outcomes
    for index, result in enumerate(event.results):  # each statement is executed once per result
        key = None
        try:
            if len(result) == _PLAIN_COUNT and "started_at" not in result and "owners" not in result:
                case_id, suite, name, file, status, duration_ms = _plain_values(result)
                started_ms = owners = None
            else:
                case_id, suite, name, file, status, duration_ms, started_ms, owners = _find_plain_values(result)
            if (
                status == "passed"
                and (type(duration_ms) is int or type(duration_ms) is float)
                and 0 <= duration_ms <= MAX_DURATION_MS
            ):
                if case_id is None:
                    key = parser.find_next_occurrence(suite, name, file, owners)
                else:
                    key = find((scope, project_id, case_id, suite, name, 0, file, variant, owners))
        except (KeyError, TypeError, ValidationError):
            pass  # not plain, or invalid
        if key is None:
            try:
                valid = validate_result(result)
            except ValidationError as error:
                repaired = repair_or_reject(event, index, result, error, validate_result)
                if repaired is not None:
                    parser.add(index, repaired)
            else:
                parser.add(index, valid)
            continue
        if type(duration_ms) is float:
            duration_ms = round_duration(duration_ms)
        outcome = _tuple(CaseOutcome, (key, _PASSED, False, 1, duration_ms, started_ms, event_s, part, (), ()))
        if outcomes.setdefault(key, outcome) is not outcome:
            parser.unseen.pop(key, None)  # an earlier result has other texts, and this one is the newest
            parser.add_attempt(index, result, outcome)
    return outcomes, parser.unseen


def _find_plain_values(result: Any) -> tuple[Any, ...]:
    """Return the values of a plain result that lacks fields, or has a start or owners, else `_NOT_PLAIN`.

    Raises KeyError, TypeError, or ValidationError for an invalid result.
    """
    status, get = result["status"], result.get
    if status != "passed" or not _has_only_plain_fields(result):
        return _NOT_PLAIN
    started_at = get("started_at")
    started_ms = None if started_at is None else to_ms(_validate_time(started_at))
    owners = get("owners")
    owners = tuple(owners) if type(owners) is list else owners
    return get("case_id"), get("suite", ""), result["name"], get("file"), status, get("duration_ms"), started_ms, owners


def parse_valid_results(
    event: ParsedEvent,
    results: IndexedResults,
    known: KnownCases,
    fingerprints: Fingerprinter,
    occurrences: Occurrences,
) -> tuple[CaseOutcomes, UnseenCases]:
    """Return the outcomes and the unseen cases of a part of the results of a report, which are validated already.

    `occurrences` contains the counts of the earlier parts.
    """
    parser = _ResultParser(event, known, fingerprints, occurrences)
    for index, result in results:
        parser.add(index, result)
    return parser.outcomes, parser.unseen


class _ResultParser:
    """Collects one outcome per case in `outcomes`, and the cases that might not be stored yet in `unseen`.

    A repeated case ID is a further attempt of its case. A repeated suite and name without a case ID is a further
    occurrence. Results of different variants belong to different cases.
    """

    def __init__(
        self, event: ParsedEvent, known: KnownCases, fingerprints: Fingerprinter, occurrences: Occurrences
    ) -> None:
        self.outcomes: CaseOutcomes = {}
        self.unseen: UnseenCases = {}
        self._event = event
        self._known = known
        self._fingerprints = fingerprints
        self._occurrences = occurrences

    def find_next_occurrence(self, suite: Any, name: Any, file: Any, owners: Any) -> CaseKey | None:
        """Return the key of the known case of a result without a case ID, and count its occurrence."""
        event = self._event
        counted = suite, name, event.variant
        occurrence = self._occurrences.get(counted, 0)
        case = _tuple(Case, (event.state.project_id, None, suite, name, occurrence, file, event.variant, owners))
        key = self._known.find(case)
        if key is not None:
            self._occurrences[counted] = occurrence + 1
        return key

    def add(self, index: int, result: ResultIn) -> None:
        """Add a valid result, or reject it."""
        case = self._next_case(index, result)
        key, file = self._find_or_add_case(index, result, case), case.file or None
        outcome = None if key is None else _outcome(self._event, index, result, key, file, self._fingerprints)
        if outcome is not None and self.outcomes.setdefault(outcome.case_key, outcome) is not outcome:
            self.add_attempt(index, result, outcome)

    def add_attempt(self, index: int, result: ResultIn, outcome: CaseOutcome) -> None:
        """Add a further attempt of a case that has an outcome, or reject a result with too many attempts."""
        earlier = self.outcomes[outcome.case_key]
        name = result["name"][: texts.MAX_TEXT]
        if earlier.attempt_count + outcome.attempt_count > MAX_ATTEMPTS:
            reason = f"attempts: must be at most {MAX_ATTEMPTS} per case"
            self._event.reject(index, name, reason, failing=outcome.status not in NOT_FAILED_CODES)
        else:
            self.outcomes[outcome.case_key] = _limit_texts(self._event, index, name, add_attempt(earlier, outcome))

    def _next_case(self, index: int, result: ResultIn) -> Case:
        """Return the case of a result, and count its occurrence."""
        event = self._event
        name, suite, file = result["name"], result.get("suite") or "", result.get("file")
        if len(name) > texts.MAX_TEXT or not name.isascii():
            name = _case_text(event, index, name, "name")
        if len(suite) > texts.MAX_TEXT or not suite.isascii():
            suite = _case_text(event, index, suite, "suite")
        if file and (len(file) > texts.MAX_TEXT or not file.isascii()):
            file = _case_text(event, index, file, "file")
        own_variant = result.get("variant")
        variant = event.variant if own_variant is None else canonical_variant(own_variant)
        case_id, occurrence = result.get("case_id"), 0
        if case_id is None:
            occurrence = self._occurrences.get((suite, name, variant), 0)
            self._occurrences[suite, name, variant] = occurrence + 1
        owners = _owners(event, index, result)
        return _tuple(Case, (event.state.project_id, case_id, suite, name, occurrence, file, variant, owners))

    def _find_or_add_case(self, index: int, result: ResultIn, case: Case) -> CaseKey | None:
        """Return the key of the case of a result, or None after rejecting a result whose key collides."""
        key = self._known.find(case)
        if key is None:
            return self._add_unseen(index, result, case)
        self.unseen.pop(key, None)  # an earlier result of the event has other texts, and this one is the newest
        return key

    def _add_unseen(self, index: int, result: ResultIn, case: Case) -> CaseKey | None:
        """Return the key of a case that might not be stored, or None after rejecting a result whose key collides."""
        key = case.key
        earlier = self.unseen.get(key)
        if earlier and not case.is_same(earlier[1]):
            self._event.reject(index, case.name, KEY_COLLISION, failing=input_can_have_failed(result))
            return None
        self.unseen[key] = index, case
        return key


def _owners(event: ParsedEvent, index: int, result: ResultIn) -> tuple[str, ...] | None:
    """Return the owners that a result states, or else its property `owner`. Adds a problem if some aren't stored."""
    stated = result.get("owners")
    if stated is not None:
        return tuple(dict.fromkeys(stated))
    text = (result.get("properties") or {}).get("owner")
    if text is None:
        return None
    names = list(dict.fromkeys(filter(None, map(str.strip, _SEPARATOR.split(text)))))
    owners = [name for name in names if len(name) <= MAX_OWNER and name.isprintable()][:MAX_OWNERS]
    if owners != names:
        reason = f"owner: only {MAX_OWNERS} printable names of at most {MAX_OWNER} characters are stored"
        event.problems.append({"index": index, "name": "owner", "reason": reason})
    return tuple(owners)


def _case_text(event: ParsedEvent, index: int, text: str, field_name: str) -> str:
    """Return a text of a case without control characters of the text direction, and with a limited length.

    Adds a problem if the text differs. Terminals and pages would show a text with these characters in another order.
    """
    text, count = texts.DIRECTIONS.subn(texts.REPLACEMENT, text)
    if count:
        reason = f"{field_name}: control characters of the text direction were replaced ({count})"
        event.problems.append({"index": index, "name": field_name, "reason": reason})
    return truncate(text, texts.MAX_TEXT, event.problems, index, field_name)


def _outcome(
    event: ParsedEvent, index: int, result: ResultIn, key: CaseKey, file: str | None, fingerprints: Fingerprinter
) -> CaseOutcome | None:
    """Return the outcome of one result in a file, or None after rejecting invalid attempts."""
    started_at = result.get("started_at")
    started_ms = to_ms(started_at) if started_at else None
    duration_ms = round_duration(result.get("duration_ms"))
    status = STATUS_CODES[result["status"]]
    if status == _PASSED and _DETAIL_FIELDS.isdisjoint(result):
        return _tuple(
            CaseOutcome, (key, _PASSED, False, 1, duration_ms, started_ms, event.event_s, event.number, (), ())
        )
    identify = None
    if status in FAILING_CODES:
        suite = (result.get("suite") or "")[: texts.MAX_TEXT]
        identify = partial(fingerprints.find, event.state.project_id, suite)
    attempts = _attempts(event, index, result, file, identify)
    if attempts is None:
        return None
    flaky = len(attempts) > 1 and is_flaky(status, attempts)
    attempt_count = len(attempts) or 1
    if retries := result.get("retries"):
        attempt_count = max(attempt_count, min(MAX_ATTEMPTS, 1 + retries))
    if attempt_count > 1 and not attempts:
        attempts = (_attempt(event, index, result, file),)
    artifacts = _artifacts(event, index, result)
    outcome = _tuple(
        CaseOutcome,
        (key, status, flaky, attempt_count, duration_ms, started_ms, event.event_s, event.number, attempts, artifacts),
    )
    return _limit_texts(event, index, result["name"], outcome)


def _limit_texts(event: ParsedEvent, index: int, name: str, outcome: CaseOutcome) -> CaseOutcome:
    """Limit the texts of many attempts together. Adds a problem if texts are shortened."""
    if len(outcome.attempts) < _MANY_ATTEMPTS:
        return outcome
    limited = limit_texts(outcome)
    if limited != outcome:
        reason = f"attempts: the texts of early attempts were shortened, at most {MAX_ATTEMPT_TEXTS} characters fit"
        event.problems.append({"index": index, "name": name[: texts.MAX_TEXT], "reason": reason})
    return limited


def _attempts(
    event: ParsedEvent, index: int, result: ResultIn, file: str | None, identify: IdentifyFailure | None
) -> tuple[Attempt, ...] | None:
    listed = result.get("attempts")
    if not listed:
        if result["status"] == "passed" and not any(map(result.get, _PASSED_DETAILS)):
            return ()
        return (_attempt(event, index, result, file, identify),)
    if listed[-1]["status"] != result["status"]:
        message = "attempts: the last attempt must have the status of the result"
        event.reject(index, result["name"][: texts.MAX_TEXT], message, failing=input_can_have_failed(result))
        return None
    if len(listed) > MAX_ATTEMPTS:
        message = f"attempts: must be at most {MAX_ATTEMPTS}"
        event.reject(index, result["name"][: texts.MAX_TEXT], message, failing=input_can_have_failed(result))
        return None
    last = _with_result_details(listed[-1], result)
    earlier = [_attempt(event, index, attempt, file) for attempt in listed[:-1]]
    return (*earlier, _attempt(event, index, last, file, identify))


def _with_result_details(last: AttemptIn, result: ResultIn) -> Mapping[str, Any]:
    """Add the details of the result to its last attempt, unless the attempt has its own."""
    own = {name: value for name, value in last.items() if value is not None}
    return {**{name: result.get(name) for name in _RESULT_DETAILS}, **own}


def _attempt(
    event: ParsedEvent,
    index: int,
    attempt: Mapping[str, Any],
    file: str | None,
    identify: IdentifyFailure | None = None,
) -> Attempt:
    """Return an attempt in a file. `identify` returns the fingerprint of the attempt that decides a failing result."""
    failure = attempt.get("failure")
    type_ = message = details = number = None
    if failure:
        type_ = _text(event, index, failure, "type", texts.MAX_TEXT)
        message = _text(event, index, failure, "message", texts.MAX_MESSAGE)
        details = _text(event, index, failure, "details", texts.MAX_DETAILS)
    if identify is not None:
        number = identify(type_, message, details)
    started_at, properties = attempt.get("started_at"), attempt.get("properties")
    status = STATUS_CODES[attempt["status"]]
    return _tuple(
        Attempt,
        (
            status,
            round_duration(attempt.get("duration_ms")),
            to_ms(started_at) if started_at else None,
            type_,
            message,
            details,
            _text(event, index, attempt, "logs_ref", texts.MAX_TEXT),
            attempt.get("line"),
            _properties(event, index, properties) if properties else None,
            number,
            file if status in FAILING_CODES else None,
            None,
        ),
    )


def _text(event: ParsedEvent, index: int, source: Mapping[str, Any], name: str, limit: int) -> str | None:
    value = source.get(name)
    if not value or len(value) <= limit:
        return value or None
    return truncate(value, limit, event.problems, index, name)


def _properties(event: ParsedEvent, index: int, properties: Mapping[str, str]) -> dict[str, str]:
    """Return the properties within the limits. Adds a problem for the others."""
    collected = PropertyCollector()
    dropped = sum(not collected.add(name, value) for name, value in properties.items())
    if dropped:
        reason = f"properties: {dropped} were not stored; {PROPERTY_LIMITS}"
        event.problems.append({"index": index, "name": "properties", "reason": reason})
    return collected.pairs


def _artifacts(event: ParsedEvent, index: int, result: ResultIn) -> tuple[ArtifactReference, ...]:
    listed, output = result.get("artifacts"), event.output.get(index)
    if not listed and not output:
        return ()
    return (*[_artifact(event, index, artifact) for artifact in listed or ()], *(output or ()))


def _artifact(event: ParsedEvent, index: int, artifact: Mapping[str, Any]) -> ArtifactReference:
    sha256 = artifact.get("sha256")
    uri = artifact.get("uri")
    content_type = artifact.get("content_type")
    return ArtifactReference(
        artifact.get("kind") or "other",
        truncate(artifact["name"], texts.MAX_TEXT, event.problems, index, "artifact name"),
        content_type[: texts.MAX_TEXT] if content_type else None,
        artifact.get("size"),
        bytes.fromhex(sha256) if sha256 else None,
        truncate(uri, texts.MAX_TEXT, event.problems, index, "artifact uri") if uri else None,
        receipt_id=event.receipt_id,
    )


def repair_or_reject(
    event: ParsedEvent, index: int, result: Any, error: ValidationError, validate: Callable[[Any], ResultIn]
) -> ResultIn | None:
    """Return an invalid result with statuses that the service knows, or reject it and return None.

    Results whose statuses have the exact names are valid without this call. An unknown status becomes error, so that
    the result doesn't disappear.
    """
    if not isinstance(result, dict):
        reject_invalid(event, index, result, error)
        return None
    repaired, reason = read_statuses(result)
    try:
        valid = validate(repaired)
    except ValidationError as other:
        reject_invalid(event, index, result, other)
        return None
    if reason:
        event.add_unknown_status(index, result_name(result), reason)
    return valid


def read_statuses(result: dict[str, Any]) -> tuple[dict[str, Any], str | None]:
    """Return the result with known statuses, and the first description of an unknown one.

    The last attempt is the result itself: if the status of one of them is unknown, both have the status error.
    """
    attempts = result.get("attempts")
    if not isinstance(attempts, list) or not attempts or not isinstance(attempts[-1], dict):
        repaired, of_result = _read_status(result)
        return repaired, of_result and f"status: {of_result}"
    read = [_read_status(attempt) if isinstance(attempt, dict) else (attempt, None) for attempt in attempts]
    repaired, of_result = _read_status(result)
    of_last = of_result or read[-1][1]
    if of_last:
        repaired, read[-1] = _to_error(result, of_last), (_to_error(attempts[-1], of_last), of_last)
    first = next((f"attempts.{number}.status: {reason}" for number, (_, reason) in enumerate(read) if reason), None)
    return {**repaired, "attempts": [attempt for attempt, _ in read]}, f"status: {of_result}" if of_result else first


def _read_status(part: dict[str, Any]) -> tuple[dict[str, Any], str | None]:
    """Return a result or an attempt with a known status, and the description of an unknown one."""
    word = part.get("status")
    status = read_status(word)
    if status is None:
        reason = describe_unknown_status(word)
        return _to_error(part, reason), reason
    return {**part, "status": status}, None


def _to_error(part: dict[str, Any], reason: str) -> dict[str, Any]:
    """Return a result or an attempt as an error whose message starts with the reason."""
    stated = part.get("failure")
    failure = stated if isinstance(stated, dict) else {}
    message = failure.get("message")
    text = f"{reason}\n{message}" if message and isinstance(message, str) else reason
    return {**part, "status": "error", "failure": {**failure, "message": text}}


def reject_invalid(event: ParsedEvent, index: int, result: Any, error: ValidationError) -> None:
    """Add a problem for an invalid result."""
    reason = describe_first_error(error) if len(event.problems) < MAX_PROBLEMS else _UNLISTED
    event.reject(index, result_name(result), reason, failing=input_can_have_failed(result))


def describe_first_error(error: ValidationError) -> str:
    """Return the first error of a result for a receipt."""
    first = validation_errors(error)[0]
    return f"{field_path(first['loc']) or 'result'}: {describe_error(first)}"


def result_name(result: Any) -> str | None:
    """Return the name of a valid or invalid result for a receipt, or None."""
    name = result.get("name") if isinstance(result, dict) else None
    return name[: texts.MAX_TEXT] if isinstance(name, str) else None
