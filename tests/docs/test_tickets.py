"""The receivers in docs/guides/tickets.md, run unchanged, keep one ticket per failure group from real deliveries."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from service.dev.ports import choose_port
from service.webhooks.model import new_webhook_secret
from tests.docs.blocks import blocks
from tests.docs.test_receiver import RunningReceiver, wait_until_open
from tests.docs.trackers import Tracker, serving_tracker
from tests.failures.test_lifecycle import MESSAGES, events, run
from tests.fixtures.broker import until
from tests.served import Api
from tests.states.test_update_states import update
from tests.webhooks.dispatching import add_webhook, dispatching

PAGE: Final = (Path(__file__).parents[2] / "docs" / "guides" / "tickets.md").read_text()
FILES: Final = {block.note: block.code for block in blocks(PAGE) if block.kind == "file"}
TYPES: Final = ("failure_group.opened", "failure_group.recurred", "failure_group.resolved")


@dataclass
class Setup:
    """A tracker, the API, and a folder with the files of the guide."""

    api: Api
    tracker: Tracker
    name: str
    folder: Path
    port: int
    secret: str

    async def follow(self, *outcomes: str, first: int = 1) -> None:
        """Store runs with an update after each one."""
        for number, letters in enumerate(outcomes, first):
            await self.api.store.ingest(run(number, letters, commit_sha=f"c{number}"))
            await update(self.api.store)

    @asynccontextmanager
    async def receiving(self) -> AsyncIterator[RunningReceiver]:
        """Run the receiver."""
        environment = {
            **os.environ, "WEBHOOK_SECRET": self.secret, "RESULTS_URL": str(self.api.http.make_url("/")).rstrip("/"),
            "RESULTS_API_KEY": (await self.api.make_key("engineer")).key, "PORT": str(self.port),
            "GITHUB_API": self.tracker.url, "GITHUB_REPOSITORY": "acme/shop", "GITHUB_TOKEN": "token",
            "JIRA_URL": self.tracker.url, "JIRA_PROJECT": "SHOP", "JIRA_USER": "ada", "JIRA_TOKEN": "token",
        }  # fmt: skip
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-u", "tickets.py", self.name, cwd=self.folder, env=environment,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            await wait_until_open(self.port)
            yield RunningReceiver(f"http://127.0.0.1:{self.port}/", self.secret, process)
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()

    async def ticket_url(self) -> str | None:
        [group] = (await self.api.get("/v1/failures", {"project_id": "shop"}))["data"]
        url: str | None = group["ticket_url"]
        return url

    async def post(self, receiver: RunningReceiver, type_: str) -> int:
        """Send the stored event of a type."""
        [row] = await self.api.store.pool.fetch(
            "SELECT event_id, data::text FROM events WHERE type = $1", f"failure_group.{type_}"
        )
        body = f'{{"type": "failure_group.{type_}", "data": {{"object": {row["data"]}}}}}'.encode()
        return await receiver.post(receiver.signed(body, event_id=row["event_id"]), body)


@pytest.fixture(params=["github_issues", "jira_issues"])
async def setup(request: pytest.FixtureRequest, api: Api, tmp_path: Path) -> AsyncIterator[Setup]:
    for file, code in FILES.items():
        (tmp_path / file).write_text(code)
    async with serving_tracker(request.param) as tracker:
        yield Setup(api, tracker, request.param, tmp_path, choose_port(), new_webhook_secret())


async def delivered(api: Api) -> bool:
    return not await api.store.pool.fetchval("SELECT count(*) FROM deliveries WHERE status = 'pending'")


async def test_deliveries_open_close_and_reopen_one_ticket(setup: Setup) -> None:
    hook = await add_webhook(setup.api.store, f"http://127.0.0.1:{setup.port}/", TYPES)
    setup.secret = hook.secret
    async with setup.receiving(), dispatching(setup.api.store):
        for outcomes, first in ((["pp", "ap"], 1), (["pp"], 3), (["ap"], 4)):
            await setup.follow(*outcomes, first=first)
            await until(lambda: delivered(setup.api), "deliveries")
        [issue] = setup.tracker.issues
        assert setup.tracker.changes == ["create", "comment", "close", "comment", "reopen"]
        [first_event, _, _] = await events(setup.api.store)
        group = first_event["data"]
        assert (issue.title, issue.labels) == (f"shop: {MESSAGES['a']}", [group["id"]])
        for text in ("Commit: c2", "Last good commit: c1", "First failed in: r2", "Failing tests: 1", "c0 (no file)"):
            assert text in issue.body
        assert group["links"]["console"] in issue.body
        assert ["Run: r3" in issue.comments[0], "Run: r4" in issue.comments[1]] == [True, True]
        assert await setup.ticket_url() in (
            f"{setup.tracker.url}/acme/shop/issues/1", f"{setup.tracker.url}/browse/SHOP-1",
        )  # fmt: skip
        for row in await setup.api.store.pool.fetch("SELECT delivery_id FROM deliveries"):
            path = f"/v1/webhooks/{hook.webhook_id}/deliveries/{row['delivery_id']}/redeliver"
            assert (await setup.api.send("POST", path)).status == 202
        await until(lambda: delivered(setup.api), "redeliveries")
    assert len(setup.tracker.changes) == 5


@pytest.mark.parametrize(
    "order",
    [("resolved", "recurred", "opened"), pytest.param(("recurred", "opened", "resolved"), marks=pytest.mark.slow)],
)
async def test_reordered_and_repeated_events_lead_to_the_current_state(setup: Setup, order: tuple[str, ...]) -> None:
    await setup.follow("pp", "ap", "pp", "ap")
    async with setup.receiving() as receiver:
        assert [await setup.post(receiver, type_) for type_ in order] == [204, 204, 204]
    await setup.follow("pp", first=5)
    await setup.api.store.pool.execute(
        "DELETE FROM events WHERE type = 'failure_group.resolved'"
        " AND event_id > (SELECT min(event_id) FROM events WHERE type = 'failure_group.resolved')"
    )
    async with setup.receiving() as receiver:  # a new process, which has processed no event
        assert [await setup.post(receiver, type_) for type_ in order] == [204, 204, 204]
    assert setup.tracker.changes == ["create", "comment", "close"]
    assert len(setup.tracker.issues) == 1


@pytest.mark.parametrize(
    "change", ["create", *(pytest.param(change, marks=pytest.mark.slow) for change in ("comment", "close"))]
)
async def test_crash_after_a_change_leads_to_one_ticket(setup: Setup, change: str) -> None:
    """The receiver is killed after the tracker has made a change and before the receiver knows it."""
    await setup.follow("pp", "ap")
    type_ = "opened"
    if change != "create":
        async with setup.receiving() as receiver:
            assert await setup.post(receiver, "opened") == 204
        await setup.follow("pp", first=3)
        type_ = "resolved"
    setup.tracker.hang_after = change
    async with setup.receiving() as receiver:
        posting = asyncio.create_task(setup.post(receiver, type_))
        await asyncio.wait_for(setup.tracker.has_hung.wait(), 10)
        receiver.process.kill()
        await asyncio.gather(posting, return_exceptions=True)
    setup.tracker.hang_after = ""
    async with setup.receiving() as receiver:
        assert await setup.post(receiver, type_) == 204
    assert setup.tracker.changes == (["create"] if change == "create" else ["create", "comment", "close"])
    assert await setup.ticket_url() is not None


async def test_failing_tracker_lets_the_service_repeat_the_delivery(setup: Setup) -> None:
    await setup.follow("pp", "ap")
    setup.tracker.fail = 1
    async with setup.receiving() as receiver:
        assert [await setup.post(receiver, "opened") for _ in range(2)] == [502, 204]
    assert setup.tracker.changes == ["create"]


async def test_unsigned_event_changes_nothing(setup: Setup) -> None:
    async with setup.receiving() as receiver:
        assert await receiver.post({}, b"{}") == 401
        signed: dict[str, Any] = receiver.signed(b"{}")
        assert await receiver.post(signed, b'{"type": "failure_group.opened"}') == 401
        assert await receiver.post(receiver.signed(b"{}", age_s=3_600), b"{}") == 401
    assert setup.tracker.changes == []


async def test_texts_of_tests_are_not_interpreted(setup: Setup) -> None:
    message = "@acme/all ``` *bold* h1. [x|https://evil.example] is not the expected text of the page"
    await setup.follow("pp")
    event = run(2, "ap")
    event["data"]["results"][0]["failure"]["message"] = message
    await setup.api.store.ingest(event)
    await update(setup.api.store)
    async with setup.receiving() as receiver:
        assert await setup.post(receiver, "opened") == 204
    [issue] = setup.tracker.issues
    if setup.name == "github_issues":
        assert "@acme" not in issue.title
        block, _, links = issue.body.removeprefix("```text\n").partition("\n```")
        assert "@acme/all ''' *bold*" in block
        assert "```" not in block
        assert "evil" not in links
    else:
        assert message in issue.body
