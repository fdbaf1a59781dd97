"""The public objects of results and runs equal what PostgreSQL's own JSON functions write from the tables."""

import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import asyncpg
import orjson
import pytest

from service.database import database, pages
from service.domain.filters import Position, ResultFilter, RunFilter
from service.domain.ids import CaseKey, RunKey, parse_fingerprint_id
from service.domain.statuses import STATUS_CODES
from service.results import queries as results_queries
from service.results.contract import write_result, write_result_detail
from service.runs import store as runs_store
from service.runs.contract import write_run, write_run_detail
from tests.database.filled import ORG, fill
from tests.run_events import result, run_event
from tests.stored import Store

# The public object as defined by its columns, in the order of the list.
EXPECTED = """
SELECT fact.run_key, fact.case_key, row_to_json(item)::text FROM results fact
JOIN runs run USING (org_id, run_key) JOIN cases test_case USING (org_id, case_key)
LEFT JOIN result_details detail
    ON (detail.org_id, detail.run_key, detail.case_key) = (fact.org_id, fact.run_key, fact.case_key)
    AND CASE WHEN fact.flaky THEN detail.flaky ELSE detail.is_last_attempt AND detail.status <> 'p' END
LEFT JOIN result_details last
    ON (last.org_id, last.run_key, last.case_key) = (fact.org_id, fact.run_key, fact.case_key)
    AND last.is_last_attempt
CROSS JOIN LATERAL (
    SELECT result_id(fact.run_key, fact.case_key) AS id, run.run_id, run.project_id, run.environment, run.branch,
           run.commit_sha, case_public_id(fact.case_key) AS "case", test_case.case_id, test_case.variant,
           test_case.suite, test_case.name, coalesce(detail.file, test_case.file) AS file,
           status_name(fact.status) AS status, fact.flaky, fact.attempts,
           known_duration(fact.duration_ms) AS duration_ms,
           rfc3339(known_start(run.completed_at, fact.started_offset_ms)) AS started_at,
           rfc3339(run.completed_at) AS completed_at, detail.summary AS failure_summary,
           'fp1_' || lpad(to_hex(last.fingerprint), 16, '0') AS fingerprint, run.trusted IS NOT FALSE AS trusted
) item
WHERE fact.org_id = 1 ORDER BY fact.run_key DESC, fact.case_key DESC
"""
EXPECTED_RUNS = """
SELECT row_to_json(item)::text FROM runs r JOIN organizations USING (org_id)
CROSS JOIN LATERAL (
    SELECT r.run_id AS id, slug AS organization_id, r.run_id, r.project_id, r.environment, r.branch, r.base_branch,
           r.commit_sha, r.pull_request, r.ci_url, r.pipeline, r.title, r.author, r.workflow, r.job_url,
           r.repository_url, r.labels, status_name(r.status) AS status, r.failures_missing, r.complete,
           run_counts(r) AS counts, r.expected_results, r.expected_shards, r.revision,
           rfc3339(r.started_at) AS started_at, rfc3339(r.completed_at) AS completed_at,
           rfc3339(r.last_completed_at) AS last_completed_at, r.duration_ms, r.results_expired, r.pinned,
           r.trusted IS NOT FALSE AS trusted
) item
WHERE org_id = 1 ORDER BY r.run_key DESC
"""
OPTIONAL_OF_RUNS = ("environment", "branch", "base_branch", "commit_sha", "pull_request", "ci_url", "pipeline", "title",
                    "author", "workflow", "job_url", "repository_url", "started_at",
                    "expected_results", "duration_ms")  # fmt: skip
TEXTS = [
    '"quoted" \\ back/slash',
    "tab\tline\nreturn\r",
    "\x01\x1f\x7f",
    "日本語 🚀 é",
    "</script>&",
    "%s {x} :y $1",
    "a|b|c|d",
    " ",
]
PRINTABLE = [text for text in TEXTS if text.isprintable()]


def special_event(rng: random.Random, number: int) -> Any:
    """Return a run whose texts need escapes, with every optional field present or missing."""

    def text() -> str:
        return rng.choice(TEXTS) + str(rng.randint(0, 3))

    def identifier() -> str:
        return rng.choice(PRINTABLE) + str(rng.randint(0, 3))

    def maybe(value: Any) -> Any:
        return rng.choice([value, None])

    def outcome(index: int) -> Any:
        failed = {"status": "failed", "failure": {"type": text(), "message": text()}}
        passed = {"status": "passed", "duration_ms": rng.randint(0, 10**6)}
        attempts: Any = rng.choice([[failed, passed], [failed, failed], [passed]])
        fields: Any = rng.choice(
            [{}, {"variant": {identifier(): identifier()}}, {"file": text()}, {"attempts": attempts}]
        )
        started = f"2026-05-20T1{rng.randint(0, 9)}:59:59.{rng.randint(0, 999):03}Z"
        case = {"case_id": f"{identifier()} {index}"} if rng.random() < 0.5 else {}
        optional = {"started_at": maybe(started), "duration_ms": maybe(rng.randint(0, 10**6)), **case, **fields}
        return result(f"{text()} {index}", attempts[-1]["status"] if "attempts" in fields else "failed",
                      suite=text(), failure=maybe({"message": text()}), **optional)  # fmt: skip

    results = [outcome(index) for index in range(rng.randint(1, 9))]
    optional: dict[str, Any] = {
        **{name: identifier() for name in ("branch", "base_branch", "commit_sha", "pull_request")},
        "pipeline": identifier(),
        **{name: text()[:200] for name in ("title", "author", "workflow")},
        **{name: f"https://{rng.randint(0, 9)}.example/a?b=%22" for name in ("ci_url", "job_url", "repository_url")},
        "labels": {identifier(): text()}, "started_at": "2026-05-20T11:59:59.123Z", "expected_results": 99,
    }  # fmt: skip
    run = {name: value for name, value in optional.items() if rng.random() < 0.5}
    return run_event(f"run {number} {identifier()}", results, project_id=identifier(), environment=maybe(identifier()),
                     completed_at="2026-05-20T12:00:00.007Z", **run)  # fmt: skip


@pytest.fixture
async def expected(store: Store) -> list[tuple[RunKey, CaseKey, Any]]:
    await fill(store, 20)
    rng = random.Random(3)
    receipts = await store.ingest(*(special_event(rng, number) for number in range(30)))
    assert {receipt.status for receipt in receipts} == {"stored"}
    rows = [(run_key, case_key, orjson.loads(item)) for run_key, case_key, item in await store.pool.fetch(EXPECTED)]
    assert len(rows) > 150
    for name in (
        "environment", "branch", "case_id", "file", "duration_ms", "started_at", "failure_summary", "commit_sha",
        "fingerprint",
    ):  # fmt: skip
        assert 0 < sum(item[name] is None for *_, item in rows) < len(rows), name
    assert any(item["flaky"] for *_, item in rows)
    assert any(item["variant"] for *_, item in rows)
    return rows


@pytest.mark.parametrize("page_bytes", [pages.MAX_PAGE_BYTES, 3_000])
async def test_lists_write_the_public_object(
    expected: list[tuple[RunKey, CaseKey, Any]],
    api_pool: asyncpg.Pool,
    monkeypatch: pytest.MonkeyPatch,
    page_bytes: int,
) -> None:
    monkeypatch.setattr(pages, "MAX_PAGE_BYTES", page_bytes)
    statuses = (), ("p", "f"), ("f",)
    async with database.as_organization(api_pool, ORG) as connection:
        for filter_ in (*(ResultFilter(statuses=chosen) for chosen in statuses), ResultFilter(flaky=True)):
            found: list[Any] = []
            position: Position | None = None
            while position is not None or not found:
                page = await results_queries.list_page(connection, ORG, filter_, position, 50)
                items = list(map(write_result, page.rows))
                assert len(orjson.dumps(items)) < page_bytes + 5_000
                found += items
                position = page.next
                if position is None:
                    break
            names = [{"p": "passed", "f": "failed"}[status] for status in filter_.statuses]
            listed = [item for *_, item in expected if not names or item["status"] in names]
            assert found == [item for item in listed if not filter_.flaky or item["flaky"]]


async def test_every_search_writes_the_public_object(
    expected: list[tuple[RunKey, CaseKey, Any]], api_pool: asyncpg.Pool
) -> None:
    items = {item["id"]: item for *_, item in expected}
    seen: set[str] = set()
    async with database.as_organization(api_pool, ORG) as connection:
        for _, case_key, item in random.Random(1).sample(expected, 40):
            for filter_ in _filters_of(case_key, item):
                page = await results_queries.list_page(connection, ORG, filter_, None, 100)
                written = list(map(write_result, page.rows))
                assert item["id"] in {each["id"] for each in written}, filter_
                assert written == [items[each["id"]] for each in written], filter_
                direct = results_queries.direct_search(filter_) or results_queries.search_in_runs(filter_)
                seen.add(filter_.sort or direct.name)
    assert len(seen) == 11


def _filters_of(case_key: CaseKey, item: Any) -> Iterator[ResultFilter]:
    """Yield filters that match a result, of each search if it has a failure group."""
    in_run = ResultFilter(run_id=item["run_id"])
    code = STATUS_CODES[item["status"]]
    group = parse_fingerprint_id(item["fingerprint"] or "")
    yield in_run
    yield replace(in_run, suite=item["suite"])
    yield replace(in_run, case_key=case_key)
    yield from (replace(in_run, sort=sort, fingerprint=group) for sort in ("-duration_ms", "suite"))
    if item["flaky"]:
        yield replace(in_run, flaky=True)
    if item["case_id"]:
        yield ResultFilter(case_id=item["case_id"])
    if code in ("f", "e"):
        yield replace(in_run, statuses=(code,))
        yield replace(in_run, fingerprint=group)
        yield ResultFilter(fingerprint=group)
        yield ResultFilter(case_key=case_key, statuses=(code,))


async def test_one_result_begins_with_the_object_of_the_list(
    expected: list[tuple[RunKey, CaseKey, Any]], api_pool: asyncpg.Pool
) -> None:
    async with database.as_organization(api_pool, ORG) as connection:
        for run_key, case_key, item in expected:
            detail = await results_queries.find_one(connection, ORG, (run_key, case_key), None)
            assert detail is not None
            one: dict[str, Any] = {**write_result_detail(detail, "http://x")}
            assert one | item == one
            assert one["run"]["run_id"] == item["run_id"]
            assert list(one)[: len(item)] == list(item)


async def test_results_of_keys_are_in_the_requested_order(
    expected: list[tuple[RunKey, CaseKey, Any]], api_pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    requested = random.Random(1).sample(expected, 100)
    keys = [(run_key, case_key) for run_key, case_key, _ in requested]
    items = [item for *_, item in requested]
    async with database.as_organization(api_pool, ORG) as connection:
        assert list(map(write_result, await results_queries.find_by_keys(connection, ORG, keys))) == items
        monkeypatch.setattr(pages, "MAX_PAGE_BYTES", 3_000)
        found = await results_queries.find_by_keys(connection, ORG, keys)
    assert list(map(write_result, found)) == items[: len(found)]
    assert 0 < len(found) < 50


@pytest.mark.one_server
@pytest.mark.usefixtures("expected")
async def test_runs_are_the_public_object(store: Store, api_pool: asyncpg.Pool) -> None:
    runs = [orjson.loads(row[0]) for row in await store.pool.fetch(EXPECTED_RUNS)]
    for name in OPTIONAL_OF_RUNS:
        assert 0 < sum(run[name] is None for run in runs) < len(runs), name
    assert any(run["labels"] for run in runs)
    async with database.as_organization(api_pool, ORG) as connection:
        page = await runs_store.list_page(connection, ORG, RunFilter(), None, 100)
        found = list(map(write_run, page.rows))
        assert found == runs
        assert list(found[0]) == list(runs[0])
        for run in runs:
            detail = await runs_store.find_one(connection, ORG, run["run_id"], None)
            assert detail is not None
            one: dict[str, Any] = {**write_run_detail(detail)}
            assert isinstance(one.pop("parts"), list)
            assert one == run
