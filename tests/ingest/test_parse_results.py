"""Property tests: the fast validation of events accepts the same as the models, with the same outcomes and problems."""

from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any, Final, NamedTuple

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from service.cases.model import Case, KnownCases
from service.domain.bounded_cache import BoundedCache
from service.domain.ids import OrgId
from service.failures.fingerprints import Fingerprinter
from service.ingest.contract import RUN_COMPLETED_EVENT, ResultIn, RunIn
from service.ingest.parse_events import AcceptanceWindow, ParsedEvent, RejectedEvent, parse_event
from service.ingest.parse_results import (
    RESULT,
    IndexedResults,
    UnseenCases,
    parse_results,
    parse_valid_results,
    repair_or_reject,
)
from service.results.model import CaseOutcomes
from tests.run_events import COMPLETED_AT, body, run_event

ORG: Final = OrgId(1)
WINDOW: Final = AcceptanceWindow(datetime.fromisoformat(COMPLETED_AT).astimezone(UTC), timedelta(days=90))
FIELDS: Final = ("case_id", "suite", "name", "file", "status", "duration_ms")
VALUES: Final[tuple[Any, ...]] = (
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
def results(draw: st.DrawFn) -> Any:
    """Return a plain result of a known case or, often, with a change; rarely another value."""
    values = "a", "a", draw(st.sampled_from("aaab")), "a", "passed", draw(st.sampled_from([0, 812, 0.0, 0.3, 1.5]))
    result = dict(zip(FIELDS, values, strict=True))
    for name in draw(st.lists(st.sampled_from(("case_id", "case_id", *FIELDS)), max_size=2)):
        result.pop(name, None)
    if draw(st.booleans()):
        result[draw(st.sampled_from(FIELDS))] = draw(st.sampled_from(VALUES))
    if draw(st.booleans()):
        result[draw(st.sampled_from([*RESULT.json_schema()["properties"], "other"]))] = draw(st.sampled_from(VALUES))
    return draw(st.sampled_from([result] * 9 + [draw(st.sampled_from([*VALUES, list(FIELDS), "passed"]))]))


def known_cases(variant: str) -> KnownCases:
    known = KnownCases.of(BoundedCache(2**20), ORG, None)
    for case_id, suite, file, occurrence in product(("a", None), ("a", ""), ("a", None), (0, 1)):
        case = Case("shop", case_id, suite, "a", 0 if case_id else occurrence, file, variant)
        known.add(case, case.key)
    return known


def parsed_event(raw: list[Any], variant: dict[str, str] | None) -> ParsedEvent:
    event = run_event(results=raw)
    event["data"]["variant"] = variant
    parsed = parse_event(body(event), WINDOW)
    assert isinstance(parsed, ParsedEvent)
    return parsed


def parse(event: ParsedEvent) -> Parsed:
    parsed = parse_results(event, known_cases(event.variant), Fingerprinter(2**20))
    return as_parsed(event, *parsed)


def validate_json(result: Any) -> ResultIn:
    return RESULT.validate_json(orjson.dumps(result))


def parse_without_shortcut(event: ParsedEvent) -> Parsed:
    """Validate each result as JSON, and find each case."""
    valid: IndexedResults = []
    for index, result in enumerate(event.results):
        try:
            valid.append((index, validate_json(result)))
        except ValidationError as error:
            repaired = repair_or_reject(event, index, result, error, validate_json)
            valid += [] if repaired is None else [(index, repaired)]
    parsed = parse_valid_results(event, valid, known_cases(event.variant), Fingerprinter(2**20), {})
    return as_parsed(event, *parsed)


def as_parsed(event: ParsedEvent, outcomes: CaseOutcomes, unseen: UnseenCases) -> Parsed:
    problems = sorted(map(repr, event.problems))
    return Parsed(outcomes, unseen, problems, event.rejected_count, event.rejected_failing)


@settings(max_examples=100, deadline=None)
@given(st.lists(results(), max_size=6), st.sampled_from([None, {"os": "linux"}]))
def test_results_lead_to_the_same_outcomes_as_with_validation_of_each(
    raw: list[Any], variant: dict[str, str] | None
) -> None:
    assert parse(parsed_event(raw, variant)) == parse_without_shortcut(parsed_event(raw, variant))


@pytest.mark.parametrize("name", [*RESULT.json_schema()["properties"], "other"])
def test_result_with_one_other_value_leads_to_the_same_outcome(name: str) -> None:
    plain = dict(zip(FIELDS, ("a", "a", "a", "a", "passed", 812), strict=True))
    without_id = {field: plain[field] for field in FIELDS[1:]}
    for value in VALUES:
        raw = [plain | {name: value}, without_id | {name: value}, without_id]
        assert parse(parsed_event(raw, None)) == parse_without_shortcut(parsed_event(raw, None)), value


@st.composite
def events(draw: st.DrawFn) -> dict[str, Any]:
    """Return an event with one change."""
    event = run_event()
    fields = draw(st.sampled_from([event, event["data"], event["data"]["run"]]))
    name = draw(st.sampled_from([*fields, *RunIn.__annotations__, "variant", "traceparent", "other"]))
    if draw(st.booleans()):
        fields[name] = draw(st.sampled_from(VALUES))
    else:
        fields.pop(name, None)
    return event


@settings(max_examples=100, deadline=None)
@given(events())
def test_event_is_invalid_if_and_only_if_its_model_is(event: dict[str, Any]) -> None:
    parsed = parse_event(body(event), WINDOW)
    message = parsed.message if isinstance(parsed, RejectedEvent) and parsed.reason == "invalid" else ""
    if isinstance(run := event["data"].get("run") if isinstance(event.get("data"), dict) else None, dict):
        run["status"] = None  # an unknown status never makes the event invalid
    try:
        RUN_COMPLETED_EVENT.validate_json(body(event))
    except ValidationError:
        assert message or (isinstance(parsed, ParsedEvent) and parse(parsed).problems)
    else:
        assert not message or "shard" in message or "must not be combined" in message
