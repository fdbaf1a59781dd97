"""A simulated year of notices, with spikes of 10,000 failures, and crashes at each step of planning and delivering."""

import random
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import asyncpg
import orjson
import pytest

from service.database.database import Connection
from service.webhooks import plan_notices as planner
from service.webhooks import store as webhooks_store
from service.webhooks.deliver_events import AttemptedDelivery, lease_deliveries, record_attempts
from service.webhooks.model import MAX_MESSAGES, AttemptOutcome
from tests.stored import Store
from tests.webhooks.dispatching import LINK_BASE, POLICY
from tests.webhooks.noticing import add_slack, publish

START: Final = datetime(2036, 1, 1, tzinfo=UTC)  # later than the events, which have the time of the test
DAYS: Final = 366
SPIKES: Final = {40: 10_000, 41: 3_000, 200: 10_000}  # notices by day
STEPS: Final = ("lock_planned", "plan", "summarize", "find_events", "insert_test", "record")
MESSAGES: Final = "SELECT {} FROM notices WHERE message_id = event_id"


class Crashes:
    """Crashes of random steps: an error of the process, or the end of its connection."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, chance: random.Random) -> None:
        self.count: Counter[str] = Counter()
        self.executed: list[str] = []  # steps, which a caller clears
        self._chance = chance
        for step in STEPS:
            monkeypatch.setattr(webhooks_store, step, self._crashing(step, getattr(webhooks_store, step)))

    def _crashing(self, step: str, execute: Any) -> Any:
        async def execute_or_crash(connection: Connection, *values: Any) -> Any:
            result = await execute(connection, *values)
            self.executed.append(step)
            if self._chance.random() < 0.15:
                self.count[step] += 1
                if self._chance.random() < 0.05:
                    connection.terminate()
                raise ConnectionError("the process was killed")
            return result

        return execute_or_crash


def activity(chance: random.Random) -> Iterator[tuple[datetime, list[str | None]]]:
    """Yield times in their order, and the subjects of the notices of each one."""
    for day in range(DAYS):
        hours = sorted(chance.sample(range(24), chance.choice([0, 0, 0, 0, 1, 2])))
        for hour in hours:
            now = START + timedelta(days=day, hours=hour, minutes=chance.randrange(60))
            yield now, [chance.choice([None, f"group_{chance.randrange(12)}"]) for _ in range(chance.randrange(1, 30))]
        if day in SPIKES:
            subjects = [f"case_{chance.randrange(SPIKES[day])}" for _ in range(SPIKES[day])]
            yield START + timedelta(days=day, hours=23, minutes=59, seconds=59), list(subjects)


async def deliver(store: Store) -> None:
    """Deliver all that is due. A crash before the outcomes are recorded repeats the attempts, as after a lease."""
    while leased := await lease_deliveries(store.pool, None, {}, 100, POLICY):
        outcomes = [AttemptedDelivery(one, START, AttemptOutcome(200, 1)) for one in leased]
        try:
            await record_attempts(store.pool, outcomes, POLICY)
        except (ConnectionError, asyncpg.InterfaceError):
            await store.pool.execute("UPDATE deliveries SET due_at = now(), claim = NULL WHERE status = 'pending'")


@pytest.mark.slow
async def test_year_has_each_notice_in_one_message_or_summary(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(7)  # the same year in each run
    await add_slack(store)
    crashes, published, summaries = Crashes(monkeypatch, chance), list[str](), Counter[datetime]()

    async def plan_and_deliver(now: datetime) -> None:
        while True:
            crashes.executed.clear()
            try:
                if not await planner.plan_notices(store.pool, LINK_BASE, now):
                    break
                summaries[now.replace(minute=0, second=0)] += crashes.executed.count("insert_test")
            except (ConnectionError, asyncpg.InterfaceError):
                continue
        await deliver(store)

    for now, subjects in [*activity(chance), (START + timedelta(days=DAYS + 2), [])]:
        while (
            due := await store.pool.fetchval("SELECT min(due_at) FROM notices WHERE decided_at < $1", now)
        ) and due <= now:
            await plan_and_deliver(due)
        if subjects:
            published += await publish(store, subjects)
            await plan_and_deliver(now)

    assert crashes.count.keys() == set(STEPS)
    rows = await store.pool.fetch("SELECT event_id, message_id, due_at FROM notices")
    assert sorted(row["event_id"] for row in rows) == sorted(published)
    assert not [row for row in rows if row["message_id"] is None or row["due_at"] is not None]
    in_messages = Counter(row["message_id"] for row in rows)
    delivered = await store.pool.fetch(
        "SELECT event_id, type, data, status FROM deliveries JOIN events USING (org_id, event_id)"
    )
    assert {row["event_id"] for row in delivered} == in_messages.keys()
    assert {row["status"] for row in delivered} == {"delivered"}
    totals = {row["event_id"]: orjson.loads(row["data"])["total"] for row in delivered if "summary" in row["type"]}
    assert {id_: count for id_, count in in_messages.items() if id_ in totals} == totals
    assert {count for id_, count in in_messages.items() if id_ not in totals} == {1}

    hours = await store.pool.fetch(MESSAGES.format("date_trunc('hour', decided_at, 'UTC') AS hour"))
    assert max(Counter(row["hour"] for row in hours).values()) == MAX_MESSAGES
    assert max(summaries.values()) == 1
    days = await store.pool.fetch(MESSAGES.format("subject, date_trunc('day', decided_at, 'UTC') AS day"))
    assert max(Counter((row["subject"], row["day"]) for row in days if row["subject"]).values()) == 1
    print(f"{len(published)} notices, {len(delivered)} messages, {len(totals)} summaries, {crashes.count}")
