"""Weekly digests: their numbers, their receivers, and that each one is created exactly once."""

import asyncio
import random
from collections import Counter, defaultdict
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final

import orjson
import pytest

from service.costs.roll_up import roll_up_costs
from service.database.transactions import notifying_transaction
from service.digests import publish_digests
from service.digests.publish_digests import find_ended_week
from service.domain.ids import case_public_id, first_id, new_id
from service.events import store as events_store
from service.events.model import NewEvent
from service.retention import store as retention_store
from service.retention.cleanup import delete_expired_events
from service.retention.deletion import delete_requested_projects
from service.webhooks.message_formats import write_slack, write_teams
from service.webhooks.messages import write_message
from tests.case_states import update_states
from tests.costs.oracle import expected_costs
from tests.owners import set_owners
from tests.run_events import result, run_event
from tests.stored import Store
from tests.webhooks.dispatching import LINK_BASE, ORG, add_webhook
from tests.webhooks.message_rules import check_slack, check_teams

WEEK: Final = find_ended_week(datetime.now(UTC))
DAY: Final = timedelta(days=1)
LATE: Final = datetime.combine(WEEK + 8 * DAY, time(), UTC)  # when digests without costs are published
OWNER: Final = "@acme/cart"
OWNERS: Final = {"c.name IN ('c1', 'c2', 'c3', 'c10')": [OWNER], "c.name = 'c4'": [OWNER, "b"]}
URL: Final = "http://127.0.0.1:9/hook"


def run(run_id: str, results: list[Any], day: date = WEEK, **fields: Any) -> Any:
    at = f"{day}T{int(run_id[-1], 36) % 24:02}:30:00Z"
    return run_event(run_id, results, **{"time": at, "completed_at": at, "branch": "main"} | fields)


def failing(name: str, message: str = "no connection", duration_ms: int = 70_000) -> dict[str, Any]:
    return result(name, "failed", duration_ms=duration_ms, failure={"message": message})


async def subscribe(store: Store, **changes: Any) -> str:
    """Add a webhook for digests that existed before the week, and return its ID."""
    webhook = await add_webhook(store, URL, **{"events": ("project.digest",), **changes})
    await store.pool.execute("UPDATE webhooks SET created_at = created_at - interval '40 days'")
    return webhook.webhook_id


async def publish(store: Store, monkeypatch: pytest.MonkeyPatch | None = None, now: datetime = LATE) -> None:
    async def pass_time(_: Any) -> datetime:
        return now

    if monkeypatch:
        monkeypatch.setattr(retention_store, "read_clock", pass_time)
    await publish_digests.publish_digests(store.pool, LINK_BASE)


async def digests(store: Store) -> dict[tuple[str, str | None], dict[str, Any]]:
    """Return the digests by project and owner, which are unique."""
    rows = await store.pool.fetch("SELECT data::text FROM events WHERE type = 'project.digest'")
    found = [orjson.loads(row["data"]) for row in rows]
    keyed = {(each["project_id"], each["owner"]): each for each in found}
    assert len(keyed) == len(found)
    return keyed


async def receivers(store: Store) -> set[tuple[str, str | None]]:
    """Return the webhooks with the owners of the digests that they get."""
    rows = await store.pool.fetch(
        "SELECT webhook_id, data::text FROM deliveries JOIN events USING (org_id, event_id)"
        " WHERE type = 'project.digest'"
        " UNION ALL SELECT webhook_id, data::text FROM notices JOIN events USING (org_id, event_id)"
    )
    return {(row["webhook_id"], orjson.loads(row["data"])["owner"]) for row in rows}


def group_event(rng: random.Random) -> NewEvent:
    at = datetime.combine(WEEK, time(), UTC) + rng.randrange(-9 * 24, 9 * 24) * timedelta(hours=1)
    event_id = first_id("evt", int(at.timestamp() * 1000)) + new_id("evt")[16:]
    event_type = f"failure_group.{rng.choice(['opened', 'recurred', 'resolved'])}"
    owners = rng.choice([None, [OWNER], ["b", OWNER], ["b"]])
    return NewEvent(ORG, event_id, event_type, rng.choice(["shop", "app"]), None, "{}", owners=owners)


async def store_weeks(store: Store, seed: int) -> None:
    """Store random runs of two weeks and around them, with owners, states, costs, and events of failure groups."""
    rng = random.Random(seed)
    for number in range(60):
        day = WEEK + rng.randrange(-9, 9) * DAY
        if day >= datetime.now(UTC).date():
            continue
        names = rng.sample([f"c{case}" for case in range(12)], 6)
        results = [
            failing(name, f"error {'abcdefghijkl'[int(name[1:])] * 9}", rng.randrange(9))
            if rng.random() < 0.3
            else result(name, duration_ms=rng.randrange(99))
            for name in names
        ]
        if rng.random() < 0.3:
            results[0]["attempts"] = [
                {"status": "failed", "duration_ms": 5},
                {"status": results[0]["status"], "duration_ms": 7},
            ]
        branch = rng.choice(["main", "main", "topic"])
        await store.ingest(
            run(f"r{number}", results, day, branch=branch, project_id=rng.choice(["shop", "shop", "app"]))
        )
        if number % 10 == 0:
            await update_states(store.pool)
            await set_owners(store.pool, OWNERS)
    await set_owners(store.pool, OWNERS)
    await update_states(store.pool)
    await roll_up_costs(store.pool, timedelta(days=3653))
    await store.pool.execute(
        "DELETE FROM events WHERE type LIKE 'failure_group.%'"
    )  # others have the times of the weeks
    async with store.pool.acquire() as connection, notifying_transaction(connection):
        await events_store.insert(connection, [group_event(rng) for _ in range(200)])
    await store.pool.execute(
        "INSERT INTO quarantines"
        " (org_id, quarantine_id, project_id, case_key, reason, expires_at, created_by, ended_at)"
        " SELECT 1, 'qua_' || case_key, project_id, case_key, 'r', now() + interval '1 day', 'key_1',"
        " CASE WHEN name = 'c3' THEN now() END FROM cases WHERE name IN ('c1', 'c3', 'c5')"
    )


async def expected_week(store: Store, project_id: str, owner: str | None, first: date) -> dict[str, Any]:
    """Return the numbers of a week, counted row by row."""
    found: Counter[str] = Counter()
    week = [first + number * DAY for number in range(7)]
    for row in await store.pool.fetch("SELECT completed_at, status::text FROM runs WHERE project_id = $1", project_id):
        if row["completed_at"].astimezone(UTC).date() in week:
            found["runs"] += 1
            found["failed_runs"] += row["status"] in ("f", "e")
    owned = await owned_cases(store, owner)
    costs, _ = await expected_costs(store.pool, project_id)
    for (day, key), sums in costs.items():
        if day in week and key in owned:
            found.update(results=sums.results, duration_ms=sums.duration_ms, retry_duration_ms=sums.retry_ms)
    rows = await store.pool.fetch(
        "SELECT event_id, type, owners FROM events WHERE project_id = $1 AND type LIKE 'failure_group.%'", project_id
    )
    for row in rows:
        at = datetime.fromtimestamp(int(row["event_id"][4:16], 16) / 1000, UTC)
        if at.date() in week and (owner is None or owner in (row["owners"] or ())):
            found["resolved" if row["type"].endswith("resolved") else "opened"] += 1
    names = ("runs", "failed_runs", "results", "duration_ms", "retry_duration_ms", "opened", "resolved")
    return {name: found[name] for name in names}


async def owned_cases(store: Store, owner: str | None) -> dict[str, Any]:
    rows = await store.pool.fetch("SELECT * FROM cases WHERE trusted IS NOT FALSE")
    return {str(row["case_key"]): row for row in rows if owner is None or owner in (row["owners"] or ())}


@pytest.mark.parametrize("seed", [1, 2])
async def test_numbers_equal_those_of_the_stored_rows(store: Store, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for owner in (None, OWNER):
        await subscribe(store, owner=owner)
    await store_weeks(store, seed)
    await publish(store, monkeypatch)
    found = await digests(store)
    assert found.keys() == {(project, owner) for project in ("shop", "app") for owner in (None, OWNER)}
    year, number, _ = WEEK.isocalendar()
    for (project, owner), digest in found.items():
        assert digest["week"] == f"{year}-W{number:02}"
        assert digest["current"] == await expected_week(store, project, owner, WEEK)
        assert digest["previous"] == await expected_week(store, project, owner, WEEK - 7 * DAY)
        assert digest["current"]["opened"] + digest["previous"]["opened"] > 0
        owned = await owned_cases(store, owner)
        spent: defaultdict[str, int] = defaultdict(int)
        for (day, key), sums in (await expected_costs(store.pool, project))[0].items():
            if key in owned and WEEK <= day < WEEK + 7 * DAY:
                spent[key] += sums.duration_ms
        longest = sorted(spent, key=lambda key: (-spent[key], int(key)))[:5]
        assert digest["longest"] == [
            {
                "case": case_public_id(int(key)), "suite": owned[key]["suite"], "name": owned[key]["name"],  # type: ignore[arg-type]
                "duration_ms": spent[key], "console": f"{LINK_BASE}/console/cases/{case_public_id(int(key))}",  # type: ignore[arg-type]
            } for key in longest
        ]  # fmt: skip
        states: defaultdict[str, set[str]] = defaultdict(set)
        for row in await store.pool.fetch("SELECT case_key, state FROM case_states WHERE project_id = $1", project):
            states[str(row["case_key"])].add(row["state"])
        shown = Counter("broken" if "broken" in states[key] else "flaky" for key in states.keys() & owned.keys())
        assert (digest["broken"], digest["flaky"]) == (shown["broken"], shown["flaky"])
        assert digest["quarantined"] == sum(
            case["name"] in ("c1", "c5") and case["project_id"] == project for case in owned.values()
        )
        assert digest["open_group_count"] == len(digest["open_groups"]) <= 10


async def store_run(store: Store) -> None:
    await store.ingest(run("r1", [failing("pays"), result("ships", duration_ms=900)]))
    await set_owners(store.pool, {"c.name = 'pays'": [OWNER]})
    await roll_up_costs(store.pool, timedelta(days=3653))


async def test_digest_of_an_owner_reaches_only_webhooks_with_this_owner(store: Store) -> None:
    every, owned, other, slack, main, all_types = [
        await subscribe(store, **changes)
        for changes in (
            {}, {"owner": OWNER}, {"owner": "b"}, {"owner": OWNER, "format": "slack"}, {"branch": "main"},
            {"events": ()},
        )
    ]  # fmt: skip
    await subscribe(store, branch="topic")
    await subscribe(store, project_id="app")
    await store_run(store)
    await publish(store)
    assert await receivers(store) == {
        (every, None), (all_types, None), (main, None), (owned, OWNER), (slack, OWNER), (other, "b"),
    }  # fmt: skip
    digests_of = await digests(store)
    assert digests_of["shop", OWNER]["current"]["duration_ms"] == 70_000
    assert digests_of["shop", "b"]["current"]["results"] == 0
    assert digests_of["shop", "b"]["current"]["runs"] == 1


@pytest.mark.parametrize(
    "change",
    [
        "events = '{}'",
        "enabled = false",
        "deleted_at = now()",
        "state = 'broken'",
        "created_at = now()",
        "branch = 'x'",
    ],
)
async def test_no_digest_without_a_webhook_that_names_it(store: Store, change: str) -> None:
    await subscribe(store)
    await store.pool.execute(f"UPDATE webhooks SET {change}")
    await store_run(store)
    await publish(store)
    assert await digests(store) == {}
    await store.pool.execute("DELETE FROM digests")


async def test_project_without_runs_has_a_digest_only_for_its_own_webhook(store: Store) -> None:
    await subscribe(store)
    await store.ingest(run("r1", [result()], WEEK - 8 * DAY))
    await store.ingest(run("r2", [result()], WEEK + 7 * DAY))
    await publish(store)
    assert await digests(store) == {}
    await subscribe(store, project_id="shop")
    await publish(store)
    [digest] = (await digests(store)).values()
    assert digest["current"]["runs"] == digest["current"]["results"] == 0


async def test_two_processes_create_each_digest_once(store: Store) -> None:
    for owner in (None, OWNER, "b", "c"):
        await subscribe(store, owner=owner)
    await store_run(store)
    await asyncio.gather(*(publish(store) for _ in range(4)))
    await publish(store)
    assert len(await digests(store)) == len(await receivers(store)) == 4


async def test_failure_between_the_row_and_the_event_repeats_the_digest(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await subscribe(store)
    await store_run(store)
    await store.ingest(run("r2", [result()], project_id="app"))
    await roll_up_costs(store.pool, timedelta(days=3653))
    insert = events_store.insert

    async def fail(connection: Any, events: Any) -> None:
        await insert(connection, events)
        if events[0].project_id == "app":
            raise RuntimeError("lost")

    with monkeypatch.context() as patch:
        patch.setattr(events_store, "insert", fail)
        with pytest.raises(RuntimeError):
            await publish(store)
    assert (await digests(store)).keys() == {("shop", None)}  # the other project isn't delayed
    await publish(store)
    assert (await digests(store)).keys() == {("shop", None), ("app", None)}


def test_week_ends_on_monday_at_two() -> None:
    monday = datetime(2026, 11, 30, 2, tzinfo=UTC)
    assert find_ended_week(monday) == date(2026, 11, 23)
    assert find_ended_week(monday - timedelta(seconds=1)) == date(2026, 11, 16)
    assert find_ended_week(monday + 7 * DAY - timedelta(seconds=1)) == date(2026, 11, 23)


async def test_only_the_newest_missed_week_is_published(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    await subscribe(store, project_id="shop")
    await store_run(store)
    await publish(store, monkeypatch, datetime.combine(WEEK + 7 * DAY, time(1, 59), UTC))
    year, number, _ = (WEEK - 7 * DAY).isocalendar()
    [before] = (await digests(store)).values()
    assert before["week"] == f"{year}-W{number:02}"
    await store.pool.execute("DELETE FROM events")
    await publish(store, monkeypatch, datetime.combine(WEEK + 7 * DAY, time(2), UTC))
    assert len(await digests(store)) == 1
    weeks = await store.pool.fetch("SELECT week FROM digests ORDER BY week")
    assert [row["week"] for row in weeks] == [WEEK - 7 * DAY, WEEK]


async def test_digest_waits_for_costs_and_then_lacks_them(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    await subscribe(store)
    await store.ingest(run("r1", [result()]))
    await publish(store, monkeypatch, datetime.combine(WEEK + 7 * DAY, time(11, 59), UTC))
    assert await digests(store) == {}
    await publish(store, monkeypatch, datetime.combine(WEEK + 7 * DAY, time(12), UTC))
    [digest] = (await digests(store)).values()
    assert (digest["current"]["runs"], digest["current"]["results"], digest["current"]["duration_ms"]) == (
        1,
        None,
        None,
    )
    assert digest["longest"] == []
    assert digest["previous"]["results"] == 0


async def test_changed_day_is_not_rolled_up(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    await subscribe(store)
    await store_run(store)
    await store.pool.execute("INSERT INTO cost_changes SELECT 1, 'shop', $1::date", WEEK)
    await publish(store, monkeypatch, datetime.combine(WEEK + 7 * DAY, time(11), UTC))
    assert await digests(store) == {}


async def test_large_digest_fits_into_an_event(store: Store) -> None:
    await subscribe(store)
    await store.ingest(run("r0", [result()], WEEK - DAY))
    await update_states(store.pool)
    large = [failing(letter * 8 + "\U0001f600" * 400, letter * 9 + "\U0001f600" * 300) for letter in "abcdefghijklm"]
    await store.ingest(run("r1", large))
    await update_states(store.pool)
    await roll_up_costs(store.pool, timedelta(days=3653))
    await publish(store)
    size = await store.pool.fetchval("SELECT octet_length(data::text) FROM events WHERE type = 'project.digest'")
    [digest] = (await digests(store)).values()
    assert size <= 19_000
    assert digest["open_group_count"] == 13
    assert 0 < len(digest["open_groups"]) <= 10
    assert len(digest["longest"]) == 5


async def test_messages_are_readable(store: Store) -> None:
    await subscribe(store)
    await store.ingest(run("r0", [result("pays")], WEEK - DAY))
    await update_states(store.pool)
    await store_run(store)
    await update_states(store.pool)
    await publish(store)
    [digest] = (await digests(store)).values()
    message = write_message("project.digest", digest, "shop", LINK_BASE)
    check_slack(write_slack(message))
    check_teams(write_teams(message))
    year, number, _ = WEEK.isocalendar()
    assert message.title == f"Week {year}-W{number:02}: shop"
    facts = dict(message.facts)
    assert facts["Runs"] == facts["Failed runs"] == "1"
    assert facts["Duration"] == "0.0 h"
    assert [line.text for line in message.lines] == ["no connection", "auth.login › pays", "auth.login › ships"]
    assert message.lines[1].detail == "1.2 min"
    assert all(line.url and line.url.startswith(LINK_BASE) for line in message.lines)
    assert message.links == {"Project": f"{LINK_BASE}/console/health?project_id=shop"}


async def test_deletion_of_a_project_deletes_its_digests(store: Store) -> None:
    await subscribe(store)
    await store_run(store)
    await store.ingest(run("r2", [result()], project_id="app"))
    await publish(store)
    await store.pool.execute("UPDATE projects SET deletion_requested_at = now() WHERE project_id = 'shop'")
    await delete_requested_projects(store.pool)
    assert [row["project_id"] for row in await store.pool.fetch("SELECT project_id FROM digests")] == ["app"]


async def test_old_rows_are_deleted(store: Store) -> None:
    for days in (20, 40):
        await store.pool.execute("INSERT INTO digests VALUES (1, 'shop', '', current_date - $1::int)", days)
    await delete_expired_events(store.pool)
    assert await store.pool.fetchval("SELECT count(*) FROM digests") == 1
