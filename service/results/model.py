"""Outcomes of cases, and the rules that merge the outcomes of several events."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import PurePosixPath
from typing import Annotated, Final, Literal, NamedTuple, get_origin, get_type_hints

from service.domain.ids import CaseKey, Fingerprint, artifact_key
from service.domain.statuses import (
    EXECUTED,
    FAILING,
    NOT_FAILED,
    RESULT_STATUSES,
    SEVERITY,
    STATUS_CODES,
    STATUS_NAMES,
    Counts,
)
from service.domain.timestamps import MAX_DURATION_MS
from service.runs.model import PartNumbers

UNKNOWN_DURATION_MS: Final = -1  # in the database too: a null would make the row larger
UNKNOWN_START: Final = -(2**31)  # of started_offset_ms
UNTIMED_EVENT_S: Final = -(2**62)  # of the results of an attempt: the time of the event doesn't count
_UNKNOWN_START_MS: Final = -(2**62)  # before every known start
MAX_ATTEMPT_COUNT: Final = 2**15 - 1  # limit of the database column, for all attempts of a CI job together
MAX_EVENT_ROWS: Final = 100_000  # default limit of the results, attempts, and artifacts of one event
MAX_ATTEMPT_TEXTS: Final = 1_000_000  # characters of the messages and details of one result
MAX_PROPERTIES: Final = 50  # per result
MAX_PROPERTIES_BYTES: Final = 8 * 1024  # names and values of one result in UTF-8
PROPERTY_LIMITS: Final = (
    f"a result has at most {MAX_PROPERTIES} properties with {MAX_PROPERTIES_BYTES} bytes of names and values together"
)
_SHORT_MESSAGE: Final = 200
_MAX_STEM: Final = 950  # characters of the name of a file
_MAX_SUFFIX: Final = 20

_SEVERITY_OF_CODE: Final = {code: SEVERITY[status] for code, status in STATUS_NAMES.items()}
FAILING_CODES: Final = frozenset(STATUS_CODES[status] for status in FAILING)
NOT_FAILED_CODES: Final = frozenset(STATUS_CODES[status] for status in NOT_FAILED)
_EXECUTED_CODES: Final = frozenset(STATUS_CODES[status] for status in EXECUTED)
_PASSED: Final = STATUS_CODES["passed"]


class Attempt(NamedTuple):
    """One execution of a case. Times are in ms since 1970; `status` is a status code.

    `duration_ms` is UNKNOWN_DURATION_MS if the producer states none. The last attempt has `line`, `properties`, and
    `fingerprint` of the result. Only a failing result has a fingerprint. `file` is the file that the producer stated
    for a failing attempt, because later runs can change the file of the case. `part` is the number of the part that
    executed the case, or None if it is the part of the result.
    """

    status: str
    duration_ms: int
    started_ms: int | None = None
    type: str | None = None
    message: str | None = None
    details: str | None = None
    logs_ref: str | None = None
    line: int | None = None
    properties: dict[str, str] | None = None
    fingerprint: Fingerprint | None = None
    file: str | None = None
    part: int | None = None


class ArtifactReference(NamedTuple):
    """A file that a producer references, or an output of a report, which is a part of the stored file `path`.

    The service doesn't store the bytes of a file that a producer references. `receipt_id` is the receipt of the report
    that names the file, whose client can upload it.
    """

    kind: str
    name: str
    content_type: str | None
    size: int | None
    sha256: bytes | None
    uri: str | None
    path: str | None = None
    byte_offset: int | None = None
    receipt_id: str | None = None

    @property
    def key(self) -> int:
        """The key of the artifact, which is unique within its result."""
        return artifact_key(self.name, self.receipt_id)


class ResultColumn(NamedTuple):
    """The column of `results` with the values of a field of CaseOutcome.

    `format` is the type in the binary COPY, a character of `struct`. `name` is the name if the field has another one.
    Lists of results read the column if it `is_listed`.
    """

    format: Literal["q", "i", "h", "B", "?"]
    name: str | None = None
    is_listed: bool = False


class CaseOutcome(NamedTuple):
    """The outcome of one case in one event. Each field before `attempts` declares its column of `results`.

    COPY, the statement that ranks incoming results, and the statements of lists are derived from the declaration.
    ResultRow has the listed columns in the same order.

    `attempts` contains the last attempts; it is shorter than `attempt_count` if the producer only counted the earlier
    ones. It is empty if the case has only one attempt, which passed and has no log. `event_s` is the time of the event
    in s since 1970, or UNTIMED_EVENT_S. `part` is the number of the part that the event belongs to.
    """

    case_key: Annotated[CaseKey, ResultColumn("q")]
    status: Annotated[str, ResultColumn("B")]
    flaky: Annotated[bool, ResultColumn("?", is_listed=True)]
    attempt_count: Annotated[int, ResultColumn("h", "attempts", is_listed=True)]
    duration_ms: Annotated[int, ResultColumn("i", is_listed=True)]
    started_ms: Annotated[int | None, ResultColumn("i", "started_offset_ms", is_listed=True)]
    event_s: Annotated[int, ResultColumn("i", "event_time_offset_s")]
    part: Annotated[int, ResultColumn("h", "shard")] = 0
    attempts: tuple[Attempt, ...] = ()
    artifacts: tuple[ArtifactReference, ...] = ()


_COLUMNS: Final[Mapping[str, ResultColumn]] = {
    hint.__metadata__[0].name or field_name: hint.__metadata__[0]
    for field_name, hint in get_type_hints(CaseOutcome, include_extras=True).items()
    if get_origin(hint) is Annotated
}
COLUMN_FORMATS: Final = {name: column.format for name, column in _COLUMNS.items()}
# For statements, which name the key and convert the status.
VALUE_COLUMNS: Final = tuple(name for name in _COLUMNS if name not in {"case_key", "status"})
LISTED_COLUMNS: Final = tuple(name for name, column in _COLUMNS.items() if column.is_listed)
_status: Final = itemgetter(CaseOutcome._fields.index("status"))
_flaky: Final = itemgetter(CaseOutcome._fields.index("flaky"))
_attempt_count: Final = itemgetter(CaseOutcome._fields.index("attempt_count"))


def count(outcomes: Iterable[CaseOutcome]) -> Counts:
    """Count outcomes, which must contain each case once."""
    counted = list(outcomes)
    codes = "".join(map(_status, counted))
    flaky = sum(map(_flaky, counted))
    return Counts(**{status: codes.count(STATUS_CODES[status]) for status in RESULT_STATUSES}, flaky=flaky)


def round_duration(duration_ms: float | None) -> int:
    """Return integer milliseconds: at least 1 for a positive duration, and UNKNOWN_DURATION_MS for None."""
    if duration_ms is None:
        return UNKNOWN_DURATION_MS
    return round(duration_ms) or (1 if duration_ms > 0 else 0)


def start_offset(started_ms: int | None, base_ms: int) -> int:
    """Return the start relative to the completion of the run. A start that is out of range is unknown."""
    if started_ms is None:
        return UNKNOWN_START
    offset = started_ms - base_ms
    return offset if UNKNOWN_START < offset < 2**31 else UNKNOWN_START


def started_ms(offset_ms: int, base_ms: int) -> int | None:
    """Return the start of a stored result or attempt in ms since 1970, or None if it is unknown."""
    return None if offset_ms == UNKNOWN_START else base_ms + offset_ms


def is_executed(outcome: CaseOutcome) -> bool:
    """Return whether the case passed, failed, or had an error."""
    return outcome.status in _EXECUTED_CODES


def is_failing(outcome: CaseOutcome) -> bool:
    """Return whether the case failed or had an error."""
    return outcome.status in FAILING_CODES


def can_have_failed(outcome: CaseOutcome) -> bool:
    """Return whether a case neither passed nor was skipped, so that the run would be better without it."""
    return outcome.status not in NOT_FAILED_CODES


def is_flaky(status: str, earlier: Iterable[Attempt]) -> bool:
    """Return whether a case passed after at least one failing attempt."""
    return status == _PASSED and any(attempt.status in FAILING_CODES for attempt in earlier)


def add_attempt(first: CaseOutcome, second: CaseOutcome) -> CaseOutcome:
    """Combine two outcomes of one case in one event: the second outcome is a further attempt."""
    earlier = tuple(attempt._replace(fingerprint=None) for attempt in _attempts(first))
    later = _attempts(second)
    return CaseOutcome(
        case_key=first.case_key,
        status=second.status,
        flaky=is_flaky(second.status, earlier) or second.flaky,
        attempt_count=first.attempt_count + second.attempt_count,
        duration_ms=_total_ms(first.duration_ms, second.duration_ms),
        started_ms=first.started_ms,
        event_s=second.event_s,
        part=first.part,
        attempts=earlier + later,
        artifacts=_artifacts_of_attempts(first, second),
    )


def add_job_attempts(outcomes: Sequence[CaseOutcome]) -> CaseOutcome:
    """Combine the outcomes of a case in several attempts of a CI job, of which the last one decides.

    The executions of all attempts are attempts of the case, and the case has the artifacts of all attempts. If
    all passed without details, none is listed, because most cases of a rerun are such cases.
    """
    last = outcomes[-1]
    if len(outcomes) == 1:
        return last
    attempt_count = min(MAX_ATTEMPT_COUNT, sum(map(_attempt_count, outcomes)))
    if not any(map(_has_details, outcomes)):
        return last._replace(attempt_count=attempt_count)
    earlier = [attempt._replace(fingerprint=None) for each in outcomes[:-1] for attempt in _numbered(each)]
    return limit_texts(
        last._replace(
            attempt_count=attempt_count,
            flaky=last.flaky
            or is_flaky(last.status, earlier)
            or (last.status == _PASSED and any(map(_flaky, outcomes))),
            attempts=(*earlier, *_numbered(last))[-MAX_ATTEMPT_COUNT:],
            artifacts=_distinct_artifacts(outcomes),
        )
    )


def limit_texts(outcome: CaseOutcome) -> CaseOutcome:
    """Shorten the texts of early attempts if all attempts together have more than `MAX_ATTEMPT_TEXTS` characters.

    Without the limit, one result with 1,000 attempts would be a response of 100 MB.
    """
    attempts = list(outcome.attempts)
    size = 0
    for position in range(len(attempts) - 1, -1, -1):
        attempt = attempts[position]
        size += len(attempt.message or "") + len(attempt.details or "")
        if size > MAX_ATTEMPT_TEXTS:
            message = attempt.message[:_SHORT_MESSAGE] if attempt.message else None
            attempts[position] = attempt._replace(message=message, details=None)
    return outcome._replace(attempts=tuple(attempts))


def precedence(outcome: CaseOutcome) -> tuple[int, int, bool, int, int, str, int, str]:
    """Return the sort key of a correction within a part: the outcome with the greatest key wins.

    The newer event wins, then the worse status (a flaky result is worse than another one that passed), the longer
    duration, and the higher number of attempts. The message, the start, and the file make the order total. The
    statement rank in results/store.sql must use the same order.
    """
    return (
        outcome.event_s,
        _SEVERITY_OF_CODE[outcome.status],
        outcome.flaky,
        outcome.duration_ms,
        outcome.attempt_count,
        rank_message(outcome),
        _UNKNOWN_START_MS if outcome.started_ms is None else outcome.started_ms,
        rank_file(outcome),
    )


def rank_message(outcome: CaseOutcome) -> str:
    """Return the message by which outcomes are ordered."""
    return (outcome.attempts[-1].message or "") if outcome.attempts else ""


def rank_file(outcome: CaseOutcome) -> str:
    """Return the file by which outcomes are ordered."""
    return (outcome.attempts[-1].file or "") if outcome.attempts else ""


def failing_attempt(outcome: CaseOutcome) -> int | None:
    """Return the index in `attempts` of the last failing attempt of a flaky case, or None if it has no such attempt."""
    if not outcome.flaky:
        return None
    failing = (index for index, attempt in enumerate(outcome.attempts) if attempt.status in FAILING_CODES)
    return max(failing, default=None)


def _total_ms(first: int, second: int) -> int:
    known = [duration for duration in (first, second) if duration != UNKNOWN_DURATION_MS]
    return min(MAX_DURATION_MS, sum(known)) if known else UNKNOWN_DURATION_MS


def _has_details(outcome: CaseOutcome) -> bool:
    return bool(outcome.attempts or outcome.artifacts)


def _numbered(outcome: CaseOutcome) -> Iterator[Attempt]:
    return (attempt._replace(part=outcome.part) for attempt in _attempts(outcome))


def _distinct_artifacts(outcomes: Sequence[CaseOutcome]) -> tuple[ArtifactReference, ...]:
    """Return the artifacts of all outcomes. A later outcome renames a file whose name an earlier one uses.

    Files that reports name keep their names, because the report is part of their keys: their clients upload them before
    or after the next attempt of the job is stored.
    """
    known: dict[tuple[str | None, str], ArtifactReference] = {}
    for number, outcome in enumerate(outcomes, start=1):
        used = set(known)
        for artifact in outcome.artifacts:
            is_used = artifact.receipt_id is None and (None, artifact.name) in used
            name = _rename(artifact.name, number) if is_used else artifact.name
            known[artifact.receipt_id, name] = artifact._replace(name=name)
    return tuple(known.values())


def _artifacts_of_attempts(first: CaseOutcome, second: CaseOutcome) -> tuple[ArtifactReference, ...]:
    """Return the artifacts of both. A file of the first outcome whose name the second one uses gets its attempt."""
    used = {artifact.name for artifact in second.artifacts}
    prefix = f"attempt-{first.attempt_count}-"
    earlier = [each._replace(name=prefix + each.name) if each.name in used else each for each in first.artifacts]
    return (*earlier, *second.artifacts)


def _rename(name: str, number: int) -> str:
    path = PurePosixPath(name)
    return f"{name.removesuffix(path.suffix)[:_MAX_STEM]} (attempt {number}){path.suffix[:_MAX_SUFFIX]}"


def _attempts(outcome: CaseOutcome) -> tuple[Attempt, ...]:
    return outcome.attempts or (Attempt(outcome.status, outcome.duration_ms, outcome.started_ms),)


CaseOutcomes = dict[CaseKey, CaseOutcome]
PartOutcomes = dict[int, CaseOutcomes]  # the newest outcome of each case by the number of the part


class MergeCounts(NamedTuple):
    """The numbers of a receipt: results that the event replaced, and cases that other parts had reported before."""

    replaced: int = 0
    replaced_failing: int = 0
    combined: int = 0


@dataclass(slots=True)
class MergeEffects:
    """What the outcomes of one part changed: replaced cases, and cases that another part had already reported."""

    replaced: set[CaseKey] = field(default_factory=set)
    replaced_failing: set[CaseKey] = field(default_factory=set)
    combined: set[CaseKey] = field(default_factory=set)

    def add_replaced(self, case_key: CaseKey, status: str) -> None:
        """Add the result of a case with this status code, which a newer result of the same part replaced."""
        self.replaced.add(case_key)
        if status in FAILING_CODES:
            self.replaced_failing.add(case_key)

    def add(self, others: "MergeEffects") -> None:
        """Add the effects of another merge. Each case counts once."""
        self.replaced |= others.replaced
        self.replaced_failing |= others.replaced_failing
        self.combined |= others.combined

    def of_event(self, newest: CaseOutcomes, event: CaseOutcomes) -> "MergeEffects":
        """Return the effects that one event of the part caused. `newest` are the outcomes of all its events, merged.

        Only the event whose outcome of a case is in `newest` has replaced the stored result of this case.
        """
        own = {key for key in self.replaced if event.get(key) is newest[key]}
        return MergeEffects(own, self.replaced_failing & own, self.combined & event.keys())

    @property
    def counts(self) -> MergeCounts:
        """The numbers for a receipt."""
        return MergeCounts(len(self.replaced), len(self.replaced_failing), len(self.combined))


def set_number(outcomes: CaseOutcomes, number: int) -> CaseOutcomes:
    """Return the outcomes with another number of their part."""
    return {key: outcome._replace(part=number) for key, outcome in outcomes.items()}


def merge_event(known: PartOutcomes, number: int, outcomes: CaseOutcomes) -> MergeEffects:
    """Merge the outcomes of an event of this part into the newest outcomes of its run, and return the effects."""
    effects = MergeEffects()
    for other, cases in known.items():
        if other != number:
            effects.combined |= cases.keys() & outcomes.keys()
    if number not in known:
        known[number] = dict(outcomes)
        return effects
    cases = known[number]
    for key, outcome in outcomes.items():
        older = cases.get(key)
        if older is None or precedence(outcome) > precedence(older):
            cases[key] = outcome
            if older is not None:
                effects.add_replaced(key, older.status)
    return effects


class CombinedOutcomes(NamedTuple):
    """The deciding outcome of each case, and the outcomes of all parts for cases that several parts reported."""

    deciding: list[CaseOutcome]
    of_parts: list[CaseOutcome]


def combine(run: PartOutcomes, parts: PartNumbers) -> CombinedOutcomes:
    """Combine the parts of a run that isn't stored yet."""
    if len(run) == 1:
        [cases] = run.values()
        return CombinedOutcomes(list(cases.values()), [])
    by_case: dict[CaseKey, dict[int, CaseOutcome]] = {}
    for number, cases in run.items():
        for case_key, outcome in cases.items():
            by_case.setdefault(case_key, {})[number] = outcome
    reports = by_case.values()
    return CombinedOutcomes(
        [find_deciding(outcomes, parts) for outcomes in reports],
        [outcome for outcomes in reports if len(outcomes) > 1 for outcome in outcomes.values()],
    )


def find_deciding(outcomes: Mapping[int, CaseOutcome], parts: PartNumbers) -> CaseOutcome:
    """Return the worst outcome of several parts. The order of a correction applies, without the event time.

    If outcomes are equal, the outcome of the first part by name, variant, and shard decides.
    """
    of_parts = [_find_of_part([outcomes[number] for number in attempts]) for attempts in parts.group(outcomes)]
    return of_parts[0] if len(of_parts) == 1 else max(of_parts, key=lambda outcome: precedence(outcome)[1:])


def _find_of_part(attempts: Sequence[CaseOutcome]) -> CaseOutcome:
    """Return the outcome of one part. Test tools report cases that a rerun selects not to execute as skipped.

    Example: a case failed in the first attempt of its job and is skipped in the second one. The failure decides.
    """
    return add_job_attempts([each for each in attempts if is_executed(each)] or attempts)


class MergedCase(NamedTuple):
    """A stored case after new outcomes. If only one part has reported the case, no outcome is stored by part."""

    added: list[CaseOutcome]  # the outcomes of parts that aren't stored by part
    corrected: list[CaseOutcome]  # the outcomes that replace earlier ones of the same part
    before: CaseOutcome | None  # the deciding outcome so far, or None if the case wasn't stored
    deciding: CaseOutcome


def merge_case(
    stored: Mapping[int, CaseOutcome],
    new: Mapping[int, CaseOutcome],
    effects: Mapping[int, MergeEffects],
    parts: PartNumbers,
) -> MergedCase:
    """Merge new outcomes of a case, by part, into the stored ones. Add the effects of each part to `effects`."""
    merged = dict(stored)
    for number, outcome in new.items():
        older = stored.get(number)
        if stored.keys() - {number}:
            effects[number].combined.add(outcome.case_key)
        if older is None or precedence(outcome) > precedence(older):
            merged[number] = outcome
            if older is not None:
                effects[number].add_replaced(outcome.case_key, older.status)
    before = find_deciding(stored, parts) if stored else None
    known = stored if len(stored) > 1 else {}  # the outcome of a single part is stored as the result
    several = merged if len(merged) > 1 else {}
    added = [each for number, each in several.items() if number not in known]
    corrected = [each for number, each in several.items() if number in known and known[number] is not each]
    return MergedCase(added, corrected, before, find_deciding(merged, parts))


class PropertyCollector:
    """Collects the properties of one result up to the limits."""

    __slots__ = ("_bytes", "pairs")

    def __init__(self) -> None:
        self.pairs: dict[str, str] = {}
        self._bytes = 0

    def add(self, name: str, value: str) -> bool:
        """Add a value, and return False if it exceeds the limits. Different values of one name become lines of one."""
        earlier = self.pairs.get(name)
        if earlier is not None and f"\n{value}\n" in f"\n{earlier}\n":
            return True
        size = self._bytes + _size(name) + _size(value)
        if size > MAX_PROPERTIES_BYTES or (earlier is None and len(self.pairs) >= MAX_PROPERTIES):
            return False
        self.pairs[name] = value if earlier is None else f"{earlier}\n{value}"
        self._bytes = size + 1
        return True


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode(errors="replace"))
