"""Results of shards: a stored result is read back completely, from its own tables and from shard_results."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import orjson
import pytest

from service.database.statements import statements
from service.domain.ids import CaseKey, Fingerprint, OrgId, artifact_key, run_key
from service.failures.minutes import KnownMinutes, NewMinutes
from service.results import store as results_store
from service.results.model import ArtifactReference, Attempt, CaseOutcome
from service.results.store import RunOutcomes
from service.runs.store import RunKeyRef
from tests.database.large import plan_nodes
from tests.stored import Store

BASE_MS: Final = int(datetime(2026, 5, 20, 12, tzinfo=UTC).timestamp()) * 1000 + 123
RUN: Final = RunKeyRef(OrgId(1), run_key(OrgId(1), "run_1", BASE_MS))

FILES: Final = sorted(
    [
        ArtifactReference("log", "a.log", "text/plain", 1, b"\x01" * 32, "s3://a"),
        ArtifactReference("other", "b", None, None, None, None),
    ],
    key=lambda file: artifact_key(file.name),
)
ATTEMPTS: Final = (
    Attempt("e", 1, BASE_MS - 9, "Error", "no", "line 1", "s3://log", 7, {"issue": "1"}, Fingerprint(-(2**63)), "a.js"),
    Attempt("f", -1, None),
)
COMPLETE: Final = CaseOutcome(
    CaseKey(1), "f", False, 4, 5, BASE_MS - 5, BASE_MS // 1000 - 3, 2, ATTEMPTS, tuple(FILES)
)  # fmt: skip
MINIMAL: Final = CaseOutcome(CaseKey(2), "p", False, 1, -1, None, BASE_MS // 1000 + 3, 0)


async def test_results_are_read_back_completely(store: Store) -> None:
    assert None not in ATTEMPTS[0][:-1], "every field must be set, so that a field that isn't read back is noticed"
    outcomes, keys = [COMPLETE, MINIMAL], [CaseKey(1), CaseKey(2), CaseKey(3)]
    expected = {CaseKey(1): {2: COMPLETE}, CaseKey(2): {0: MINIMAL}}
    async with store.pool.acquire() as connection:
        await connection.execute("SELECT create_month_partitions('2026-05-01')")
        await results_store.insert(connection, [RunOutcomes(*RUN, outcomes)], NewMinutes(KnownMinutes(2**20)))
        assert await find_stored(connection, keys) == expected
        await results_store.insert_by_part(connection, RUN, outcomes)
        await connection.execute("DELETE FROM result_details; DELETE FROM artifacts")
        assert await find_stored(connection, keys) == expected


async def test_document_of_a_result_does_not_depend_on_the_table_that_it_was_read_from(store: Store) -> None:
    """A start that is out of range and the order of files are normalized, so that any order of events is equal."""
    unordered = COMPLETE._replace(started_ms=0, artifacts=COMPLETE.artifacts[::-1])
    async with store.pool.acquire() as connection:
        await connection.execute("SELECT create_month_partitions('2026-05-01')")
        await results_store.insert_by_part(connection, RUN, [MINIMAL._replace(case_key=CaseKey(1), part=2)])
        await results_store.replace(connection, RUN, [unordered])
        found = await results_store.find(connection, RUN, [CaseKey(1)])
    assert found == {CaseKey(1): {2: COMPLETE._replace(started_ms=None)}}


async def test_documents_of_a_later_version_are_read(store: Store) -> None:
    paths = "{new}", "{attempts,0,new}", "{artifacts,0,new}"
    async with store.pool.acquire() as connection:
        await connection.execute("SELECT create_month_partitions('2026-05-01')")
        await results_store.insert_by_part(connection, RUN, [COMPLETE])
        for path in paths:
            await connection.execute(f"UPDATE shard_results SET result = jsonb_set(result, '{path}', '1')")
        assert await results_store.find(connection, RUN, [CaseKey(1)]) == {CaseKey(1): {2: COMPLETE}}


@pytest.mark.one_server  # reads a plan
async def test_merge_into_a_run_without_shards_reads_one_key_of_shard_results(store: Store) -> None:
    async with store.pool.acquire() as connection:
        await connection.execute("SELECT create_month_partitions('2026-05-01')")
        many = [MINIMAL._replace(case_key=CaseKey(key)) for key in range(100)]
        await results_store.insert(connection, [RunOutcomes(*RUN, many)], NewMinutes(KnownMinutes(2**20)))
        assert await lookups_in_shard_results(connection) == 1
        await results_store.insert_by_part(connection, RUN, [COMPLETE])
        assert await lookups_in_shard_results(connection) == 101


def rank_values(keys: Iterable[int], shard: int = 1) -> list[Any]:
    """Return the parameters of the ranking of equal results of a shard."""
    cases = list(keys)
    ones = [1] * len(cases)
    flaky, texts = [False] * len(cases), [""] * len(cases)
    return [*RUN, cases, [shard] * len(cases), ones, ["p"] * len(cases), flaky, ones, ones, texts, ones, texts]


async def find_stored(connection: Any, keys: Sequence[CaseKey]) -> Any:
    """Return the stored results of cases as the merge of another part reads them."""
    rows = await connection.fetch(statements("results")["rank"], *rank_values(keys, 99))
    return await results_store.find_stored(connection, RUN, rows)


async def lookups_in_shard_results(connection: Any) -> int:
    """Return how often the ranking of 100 results examines shard_results."""
    values = rank_values(range(100))
    plan = await connection.fetchval("EXPLAIN (ANALYZE, FORMAT JSON) " + statements("results")["rank"], *values)
    nodes = plan_nodes(orjson.loads(plan)[0]["Plan"])
    return sum(node["Actual Loops"] for node in nodes if node.get("Relation Name", "").startswith("shard_results_"))
