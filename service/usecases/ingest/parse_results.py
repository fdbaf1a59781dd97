"""From the valid results of an event to the outcomes that are stored, and the cases that may be new."""

from collections.abc import Mapping
from typing import Any, Final

from service.contracts.run_events import AttemptIn, ResultIn
from service.domain import texts
from service.domain.cases import Case, KnownCases
from service.domain.ids import CaseKey, OrgId
from service.domain.results import ArtifactReference, Attempt, CaseOutcome, add_attempt, is_flaky
from service.domain.statuses import STATUS_CODES
from service.usecases.ingest.parse_events import ParsedEvent, cut, to_ms

MAX_ATTEMPTS: Final = 1_000
CLASH: Final = "case_key_clash: another case has the same key"

_SAYS_MORE: Final = frozenset({"attempts", "failure", "logs_ref", "artifacts"})

# Makes a named tuple without the call of Python code that its own constructor is: once for each result, it shows.
_tuple: Final = tuple.__new__

CaseOutcomes = dict[CaseKey, CaseOutcome]
UnseenCases = dict[CaseKey, tuple[int, Case]]  # with the index of the result that names it
Occurrences = dict[tuple[str, str], int]  # of a suite and a name


def parse_results(
    event: ParsedEvent, org_id: OrgId, known: KnownCases, occurrences: Occurrences | None = None
) -> tuple[CaseOutcomes, UnseenCases]:
    """One outcome per case, and those cases that are not known to be stored.

    The same case id again is a further attempt of its case; the same suite and name without one a further occurrence.
    `occurrences` are those that came before, where an event comes in pieces.
    """
    outcomes: CaseOutcomes = {}
    unseen: UnseenCases = {}
    occurrences = {} if occurrences is None else occurrences
    find = known.of(org_id)
    for index, result in event.results:
        case = _case(event, index, result, occurrences)
        key = find(case)
        if key is None:
            key = case.key
            if not case.is_same(unseen.setdefault(key, (index, case))[1]):
                event.reject(index, case.name, CLASH)
                continue
            unseen[key] = index, case
        outcome = _outcome(event, index, result, key)
        if outcome is not None:
            before = outcomes.get(key)
            if before is None:
                outcomes[key] = outcome
            elif before.attempt_count + outcome.attempt_count > MAX_ATTEMPTS:
                event.reject(index, case.name, f"attempts: at most {MAX_ATTEMPTS} of one case")
            else:
                outcomes[key] = add_attempt(before, outcome)
    return outcomes, unseen


def _case(event: ParsedEvent, index: int, result: ResultIn, occurrences: Occurrences) -> Case:
    name, suite, file = result["name"], result.get("suite") or "", result.get("file")
    if len(name) > texts.MAX_TEXT:
        name = cut(name, texts.MAX_TEXT, event.problems, index, "name")
    if len(suite) > texts.MAX_TEXT:
        suite = cut(suite, texts.MAX_TEXT, event.problems, index, "suite")
    if file and len(file) > texts.MAX_TEXT:
        file = cut(file, texts.MAX_TEXT, event.problems, index, "file")
    case_id = result.get("case_id")
    occurrence = 0
    if case_id is None:
        occurrence = occurrences.get((suite, name), 0)
        occurrences[suite, name] = occurrence + 1
    return _tuple(Case, (event.state.project_id, case_id, suite, name, occurrence, file))


def _outcome(event: ParsedEvent, index: int, result: ResultIn, key: CaseKey) -> CaseOutcome | None:
    """The outcome of one result, or None where its attempts contradict it."""
    started_at = result.get("started_at")
    started_ms = to_ms(started_at) if started_at else None
    duration_ms = round(result.get("duration_ms") or 0)
    if result["status"] == "passed" and _SAYS_MORE.isdisjoint(result):
        # nearly all results are this
        return _tuple(CaseOutcome, (key, "p", duration_ms, started_ms, event.event_s, 1, False, (), ()))
    attempts = _attempts(event, index, result)
    if attempts is None:
        return None
    status = STATUS_CODES[result["status"]]
    flaky = len(attempts) > 1 and is_flaky(status, attempts)
    artifacts = tuple(_artifact(event, index, artifact) for artifact in result.get("artifacts") or ())
    return CaseOutcome(
        key, status, duration_ms, started_ms, event.event_s, len(attempts) or 1, flaky, attempts, artifacts
    )  # fmt: skip


def _attempts(event: ParsedEvent, index: int, result: ResultIn) -> tuple[Attempt, ...] | None:
    listed = result.get("attempts")
    if not listed:
        says_more = result["status"] != "passed" or result.get("logs_ref") or result.get("failure")
        return (_attempt(event, index, result),) if says_more else ()
    if listed[-1]["status"] != result["status"]:
        event.reject(index, result["name"][: texts.MAX_TEXT], "attempts: the last one must have the result's status")
        return None
    if len(listed) > MAX_ATTEMPTS:
        event.reject(index, result["name"][: texts.MAX_TEXT], f"attempts: at most {MAX_ATTEMPTS}")
        return None
    last = _with_what_the_result_says(listed[-1], result)
    return tuple(_attempt(event, index, attempt) for attempt in (*listed[:-1], last))


def _with_what_the_result_says(last: AttemptIn, result: ResultIn) -> Mapping[str, Any]:
    """Producers write failure and log on the result; both belong to its last attempt, which may say them itself."""
    own = {name: value for name, value in last.items() if value is not None}
    return {"failure": result.get("failure"), "logs_ref": result.get("logs_ref"), **own}


def _attempt(event: ParsedEvent, index: int, said: Mapping[str, Any]) -> Attempt:
    failure = said.get("failure") or {}
    started_at = said.get("started_at")

    def text(source: Mapping[str, Any], name: str, limit: int) -> str | None:
        value = source.get(name)
        return cut(value, limit, event.problems, index, name) if value else None

    return Attempt(
        STATUS_CODES[said["status"]],
        round(said.get("duration_ms") or 0),
        to_ms(started_at) if started_at else None,
        text(failure, "type", texts.MAX_TEXT),
        text(failure, "message", texts.MAX_MESSAGE),
        text(failure, "details", texts.MAX_DETAILS),
        text(said, "logs_ref", texts.MAX_TEXT),
    )


def _artifact(event: ParsedEvent, index: int, said: Mapping[str, Any]) -> ArtifactReference:
    sha256 = said.get("sha256")
    uri = said.get("uri")
    content_type = said.get("content_type")
    return ArtifactReference(
        said.get("kind") or "other",
        cut(said["name"], texts.MAX_TEXT, event.problems, index, "artifact name"),
        content_type[: texts.MAX_TEXT] if content_type else None,
        said.get("size"),
        bytes.fromhex(sha256) if sha256 else None,
        cut(uri, texts.MAX_TEXT, event.problems, index, "artifact uri") if uri else None,
    )
