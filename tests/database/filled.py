"""A store with random runs, and a model that filters its rows one by one."""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg

from service.database import database
from service.domain.filters import Position, ResultFilter
from service.domain.ids import CaseKey, OrgId, RunKey
from service.domain.statuses import STATUS_CODES
from service.results import queries as results_queries
from service.results.queries import Budgets
from tests.owners import set_owners
from tests.run_events import result, run_event
from tests.stored import Store

ORG = OrgId(1)
PROJECTS = ["shop", "blog", "mail"]
ENVIRONMENTS = ["staging", "production", None]
BRANCHES = ["main", "next", None]
SUITES = ["auth", "pay", "", "Größe_2"]
# A fifth of the cases has no owner.
OWNERS = {
    "c.case_key % 5 <> 0": ["web"],
    "abs(c.case_key % 5) = 1": ["core", "web"],
    "abs(c.case_key % 5) = 2": ["core"],
}
CASE_IDS = ["tc_1", "tc_2", "only_shop"]
COMMITS = ["c0ffee1" + "0" * 33, "c0ffee1" + "7" * 33, "beef" * 10, None]
LABELS = [{}, {"team": "web"}, {"team": "web", "tier": 'q"\\'}, {"team": "app"}]

Key = tuple[RunKey, CaseKey]


@dataclass(frozen=True)
class StoredResult:
    """A result with every value that a filter can compare."""

    key: Key
    status: str
    completed_ms: int
    project_id: str
    environment: str | None
    branch: str | None
    run_id: str
    case_id: str | None
    suite: str
    name: str
    file: str | None
    variant: str
    flaky: bool
    commit_sha: str | None
    pull_request: str | None
    pipeline: str | None
    author: str | None
    labels: str
    duration_ms: int
    fingerprint: int | None
    trusted: bool
    owners: tuple[str, ...]

    def matches(self, filter_: ResultFilter) -> bool:
        pairs = [
            (filter_.project_id, self.project_id),
            (filter_.environment, self.environment),
            (filter_.branch, self.branch),
            (filter_.run_id, self.run_id),
            (filter_.case_key, self.key[1]),
            (filter_.case_id, self.case_id),
            (filter_.suite, self.suite),
            (filter_.flaky, self.flaky),
            (filter_.pull_request, self.pull_request),
            (filter_.pipeline, self.pipeline),
            (filter_.author, self.author),
            (filter_.fingerprint, self.fingerprint),
            (filter_.is_trusted, self.trusted),
        ]
        return (
            all(expected is None or expected == actual for expected, actual in pairs)
            and (filter_.commit_sha is None or (self.commit_sha or "").startswith(filter_.commit_sha))
            and all(json.loads(label).items() <= json.loads(self.labels).items() for label in filter_.labels)
            and all(json.loads(pair).items() <= json.loads(self.variant).items() for pair in filter_.variants)
            and all(word.lower() in self.suite.lower() or word.lower() in self.name.lower() for word in filter_.words)
            and (filter_.min_duration_ms is None or self.duration_ms >= filter_.min_duration_ms)
            and (filter_.owner is None or filter_.owner in self.owners)
            and (not filter_.statuses or self.status in filter_.statuses)
            and (filter_.from_ms is None or self.completed_ms >= filter_.from_ms)
            and (filter_.to_ms is None or self.completed_ms < filter_.to_ms)
        )


def random_event(rng: random.Random, run_id: str) -> Any:
    """Return a run of up to nine results. Each field has few values, so that combinations of filters match rows."""
    project = rng.choice(PROJECTS)
    return run_event(
        run_id,
        [_random_result(rng, project) for _ in range(rng.randint(0, 9))],
        project_id=project,
        environment=rng.choice(ENVIRONMENTS),
        branch=rng.choice(BRANCHES),
        commit_sha=rng.choice(COMMITS),
        pull_request=rng.choice(["7", None]),
        pipeline=rng.choice(["github-1", "github-2", None]),
        author=rng.choice(["Ada", "ada", None]),
        labels=rng.choice(LABELS),
        completed_at=f"2026-05-{rng.randint(1, 4):02}T{rng.randint(0, 2):02}:00:00Z",
    )


def _random_result(rng: random.Random, project: str) -> Any:
    status = rng.choice(["passed"] * 4 + [*STATUS_CODES])
    named = rng.choice([None, *CASE_IDS[: 3 if project == "shop" else 2]])
    case: dict[str, Any] = {"case_id": named} if named else {}
    if rng.random() < 0.4:
        case["variant"] = {"os": rng.choice(["linux", "macos"])}
    if rng.random() < 0.5:
        case["file"] = rng.choice(["b.py", "A.py"])
    if rng.random() < 0.2:
        case["attempts"] = [{"status": "failed"}, {"status": status}]
    return result(
        f"Case {rng.randint(1, 4)}%", status, suite=rng.choice(SUITES), duration_ms=rng.choice([None, 5, 500]), **case
    )


async def fill(store: Store, runs: int = 60, seed: int = 7) -> None:
    """Store these runs in the organization, and others in a second one, which must never be visible."""
    rng = random.Random(seed)
    await store.pool.execute("INSERT INTO organizations (slug, name) VALUES ('other', 'Other')")
    events = [random_event(rng, f"run_{number}") for number in range(runs)]
    hidden = [random_event(rng, f"run_{number}") for number in range(10)]
    for event in hidden:
        event["data"]["organization"] = "other"
    await store.ingest(*events)
    await store.ingest(*hidden)
    await set_owners(store.pool, OWNERS)


async def distrust_runs(store: Store) -> None:
    """Let some runs be untrusted, and others be stored by an earlier version."""
    await store.pool.execute("UPDATE runs SET trusted = false WHERE run_key::text ~ '[0-2]$'")
    await store.pool.execute("UPDATE runs SET trusted = NULL WHERE run_key::text ~ '[3-9]$'")


async def read_rows(pool: asyncpg.Pool) -> list[StoredResult]:
    """Return every result of the organization, in the order of the list."""
    rows = await pool.fetch(
        "SELECT r.run_key, r.case_key, r.status::text, (extract(epoch FROM completed_at) * 1000)::bigint,"
        " run.project_id, environment, branch, run_id, case_id, suite, cases.name, file, variant::text, r.flaky,"
        " commit_sha, pull_request, pipeline, author, labels::text, r.duration_ms,"
        " (SELECT fingerprint FROM result_details d WHERE d.org_id = r.org_id AND d.run_key = r.run_key"
        " AND d.case_key = r.case_key AND d.is_last_attempt), run.trusted IS NOT FALSE, owners"
        " FROM results r JOIN runs run USING (org_id, run_key) JOIN cases USING (org_id, case_key) WHERE org_id = $1",
        ORG,
    )
    return sorted(
        (StoredResult((row[0], row[1]), *(*row[2:-1], tuple(row["owners"]))) for row in rows),
        key=lambda row: row.key,
        reverse=True,
    )


async def list_all_ids(
    pool: asyncpg.Pool, filter_: ResultFilter, limit: int, budgets: Budgets, between: Sequence[Any] = ()
) -> list[str]:
    """Return the IDs on all pages of the list. Call and await one function of `between` after each page."""
    ids: list[str] = []
    position: Position | None = None
    steps = iter(between)
    while True:
        async with database.as_organization(pool, ORG) as connection:
            page = await results_queries.list_page(connection, ORG, filter_, position, limit, budgets)
        assert len(page.rows) <= limit
        ids += [row.id for row in page.rows]
        if page.next is None:
            return ids
        assert position is None or filter_.sort or page.next < position
        position = page.next
        if (step := next(steps, None)) is not None:
            await step()
