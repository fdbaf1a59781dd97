"""Property tests: results and events without a shortcut lead to the same outcomes, cases, and problems."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from service.contracts.run_events import RUN_COMPLETED_EVENT
from service.domain.cases import Case, KnownCases
from service.domain.ids import OrgId
from service.domain.shards import CaseOutcomes
from service.usecases.ingest.parse_events import AcceptanceWindow, ParsedEvent, RejectedEvent, parse_event
from service.usecases.ingest.parse_results import IndexedResults, UnseenCases, parse_results, parse_valid_results
from service.usecases.ingest.validate_events import has_failing_status
from service.usecases.ingest.validate_results import RESULT, describe_first_error, result_name
from tests.run_events import COMPLETED_AT, body, run_event

ORG: Final = OrgId(1)
WINDOW: Final = AcceptanceWindow(datetime.fromisoformat(COMPLETED_AT).astimezone(UTC), timedelta(days=90))
FIELDS: Final = ("case_id", "suite", "name", "file", "status", "duration_ms")
VALUES: Final = (
    None, True, False, 0, 1, -1, 0.0, 0.4, 1.5, 2**31 - 1, 2**31, 2**63, "", "a", "b", "1", "x" * 1_001, "passed",
    "failed", "error", "2026-05-20", "2026-05-20T12:00:00Z", 1_779_278_400, [], {}, ["a"], {"os": "linux"}, {"a": 1},
    {"message": "m"}, [{"status": "failed"}, {"status": "passed"}], [{"name": "a.png"}],
)  # fmt: skip


class Parsed(NamedTuple):
    outcomes: CaseOutcomes
    unseen: UnseenCases
    problems: list[str]
    rejected_count: int
    rejected_failing: bool


@st.composite
def plain_results(draw: st.DrawFn) -> dict[str, Any]:
    """Return a valid result with the usual fields. Its case is known if all of its texts are equal."""
    case_id, suite, name, file = [draw(st.sampled_from("aab")) for _ in range(4)]
    duration_ms = draw(st.sampled_from([0, 1, 812, 0.0, 0.3, 1.5, 2**31 - 1]))
    values = case_id, suite, name, file, draw(st.sampled_from(["passed", "passed", "failed"])), duration_ms
    return dict(zip(FIELDS, values, strict=True))


@st.composite
def results(draw: st.DrawFn) -> Any:
    """Return a result with at most two changes, or another value."""
    result = draw(plain_results())
    for _ in range(draw(st.integers(0, 2))):
        if draw(st.booleans()):
            result.pop(draw(st.sampled_from(FIELDS)), None)
        else:
            result[draw(st.sampled_from([*RESULT.json_schema()["properties"], "other"]))] = draw(st.sampled_from(VALUES))
    return draw(st.sampled_from([result] * 9 + [draw(st.sampled_from([*VALUES, list(FIELDS), "passed"]))]))


def known_cases(variant: str) -> KnownCases:
    known = KnownCases()
    for case_id in ("a", None):
        case = Case("shop", case_id, "a", "a", 0, "a", variant)
        known.add(ORG, case, case.key)
    return known


def parsed_event(raw: list[Any], variant: dict[str, str] | None) -> ParsedEvent:
    event = run_event(results=raw)
    event["data"]["variant"] = variant
    parsed = parse_event(body(event), WINDOW)
    assert isinstance(parsed, ParsedEvent)
    return parsed


def parse(event: ParsedEvent) -> Parsed:
    parsed = parse_results(event, ORG, known_cases(event.variant))
    return as_parsed(event, *parsed)


def parse_without_shortcut(event: ParsedEvent) -> Parsed:
    """Validate each result as JSON, and look each case up."""
    valid: IndexedResults = []
    for index, result in enumerate(event.results):
        try:
            valid.append((index, RESULT.validate_json(orjson.dumps(result))))
        except ValidationError as error:
            reason, failing = describe_first_error(error), has_failing_status(result)
            event.reject(index, result_name(result), reason, failing=failing)
    return as_parsed(event, *parse_valid_results(event, valid, ORG, known_cases(event.variant), {}))


def as_parsed(event: ParsedEvent, outcomes: CaseOutcomes, unseen: UnseenCases) -> Parsed:
    problems = sorted(map(repr, event.problems))
    return Parsed(outcomes, unseen, problems, event.rejected_count, event.rejected_failing)


@settings(max_examples=300, deadline=None)
@given(st.lists(results(), max_size=8), st.sampled_from([None, {"os": "linux"}]))
def test_results_lead_to_the_same_outcomes_as_with_validation_of_each(
    raw: list[Any], variant: dict[str, str] | None
) -> None:
    assert parse(parsed_event(raw, variant)) == parse_without_shortcut(parsed_event(raw, variant))
