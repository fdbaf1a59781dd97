"""A store with runs of every kind, and a model that filters its rows one by one."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg
import orjson

from service.domain.filters import Position, ResultFilter
from service.domain.ids import CaseKey, OrgId, RunKey
from service.domain.statuses import STATUS_CODES
from service.store.postgres import database
from service.store.queries import results as read_results
from service.store.queries.results import Budgets
from tests.run_events import result, run_event
from tests.stored import Store

ORG = OrgId(1)
PROJECTS = ["shop", "blog", "mail"]
ENVIRONMENTS = ["staging", "production", None]
BRANCHES = ["main", "next", None]
SUITES = ["auth", "pay", ""]
CASE_IDS = ["tc_1", "tc_2", "only_shop"]

Key = tuple[RunKey, CaseKey]


@dataclass(frozen=True)
class Row:
    """One result with all that a filter may ask for."""

    key: Key
    status: str
    completed_ms: int
    project_id: str
    environment: str | None
    branch: str | None
    run_id: str
    case_id: str | None
    suite: str

    def matches(self, wanted: ResultFilter) -> bool:
        asked = [
            (wanted.project_id, self.project_id), (wanted.environment, self.environment), (wanted.branch, self.branch),
            (wanted.run_id, self.run_id), (wanted.case_key, self.key[1]), (wanted.case_id, self.case_id),
            (wanted.suite, self.suite),
        ]  # fmt: skip
        return (
            all(want is None or want == have for want, have in asked)
            and (not wanted.statuses or self.status in wanted.statuses)
            and (wanted.from_ms is None or self.completed_ms >= wanted.from_ms)
            and (wanted.to_ms is None or self.completed_ms < wanted.to_ms)
        )


def random_event(chance: random.Random, run_id: str) -> Any:
    """A run of up to nine results. Small numbers of everything, so that filters meet."""
    project = chance.choice(PROJECTS)
    return run_event(
        run_id,
        [_random_result(chance, project) for _ in range(chance.randint(0, 9))],
        project_id=project,
        environment=chance.choice(ENVIRONMENTS),
        branch=chance.choice(BRANCHES),
        completed_at=f"2026-05-{chance.randint(1, 4):02}T{chance.randint(0, 2):02}:00:00Z",
    )


def _random_result(chance: random.Random, project: str) -> Any:
    status = chance.choice(["passed"] * 4 + [*STATUS_CODES])
    named = chance.choice([None, *CASE_IDS[: 3 if project == "shop" else 2]])
    case = {"case_id": named} if named else {}
    return result(f"case {chance.randint(1, 4)}", status, suite=chance.choice(SUITES), **case)


async def fill(store: Store, runs: int = 60, seed: int = 7) -> None:
    """An organization with these runs, and a second one whose rows must never show."""
    chance = random.Random(seed)
    await store.pool.execute("INSERT INTO organizations (slug, name) VALUES ('other', 'Other')")
    events = [random_event(chance, f"run_{number}") for number in range(runs)]
    foreign = [random_event(chance, f"run_{number}") for number in range(10)]
    for event in foreign:
        event["data"]["organization"] = "other"
    await store.take(*events)
    await store.take(*foreign)


async def read_rows(pool: asyncpg.Pool) -> list[Row]:
    """Every result of the organization, in the order of the list."""
    rows = await pool.fetch(
        "SELECT r.run_key, r.case_key, r.status::text, (extract(epoch FROM completed_at) * 1000)::bigint,"
        " run.project_id, environment, branch, run_id, case_id, suite"
        " FROM results r JOIN runs run USING (org_id, run_key) JOIN cases USING (org_id, case_key) WHERE org_id = $1",
        ORG,
    )
    return sorted((Row((row[0], row[1]), *row[2:]) for row in rows), key=lambda row: row.key, reverse=True)


async def walk(
    pool: asyncpg.Pool, wanted: ResultFilter, limit: int, budgets: Budgets, between: Sequence[Any] = ()
) -> list[str]:
    """The ids that a walk through the list meets; `between` are things to await after each page."""
    ids: list[str] = []
    position: Position | None = None
    steps = iter(between)
    while True:
        async with database.as_organization(pool, ORG) as connection:
            page = await read_results.list_page(connection, ORG, wanted, position, limit, budgets)
        items = orjson.loads(page.data)
        assert len(items) <= limit
        ids += [item["id"] for item in items]
        if page.next is None:
            return ids
        assert position is None or page.next < position
        position = page.next
        if (step := next(steps, None)) is not None:
            await step()
