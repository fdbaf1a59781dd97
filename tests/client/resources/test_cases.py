"""The commands `cases`."""

from typing import Any

import pytest

from service.client.http import Server
from tests.case_states import insert_states
from tests.client.resources.running import CommandLine, fields, rows
from tests.run_events import result, run_event


async def test_cases_are_listed_ranked_and_shown_with_their_history(command_line: CommandLine) -> None:
    failing = result("pays by card", "failed", variant={"os": "mac"}, failure={"message": "got 503"})
    flaky = result("ships", attempts=[{"status": "failed"}, {"status": "passed"}])
    await command_line.api.store.ingest(
        run_event("run_1", [result("pays by card", variant={"os": "mac"}), flaky], branch="main"),
        run_event("run_2", [failing, flaky], branch="fix", time="2026-05-21T12:00:00Z"),
    )
    header, *found = rows(await command_line.run("cases", "list", RESULTS_PROJECT="shop"))
    assert header == ["ID", "STATE", "LAST STATUS", "FAILED", "FLAKY", "DURATION", "CASE"]
    assert {tuple(row[1:]) for row in found} == {
        ("healthy", "failed", "1 of 2", "0 of 2", "mean 0.812 s", "auth.login > pays by card [os: mac]"),
        ("healthy", "passed", "0 of 2", "2 of 2", "mean 0.812 s", "auth.login > ships"),
    }
    header, *found = rows(await command_line.run("cases", "list", "--runs", "1", RESULTS_PROJECT="shop"))
    assert {row[3:6] for row in map(tuple, found)} == {
        ("1 of 1", "0 of 1", "0.812 s"),
        ("0 of 1", "1 of 1", "0.812 s"),
    }
    ranked = await command_line.run_json(
        "cases", "list", "--project", "shop", "--sort", "failures", "--q", "card pays", "--variant", "os:mac",
        "--runs", "2",
    )  # fmt: skip
    assert [(case["name"], case["failed"], case["runs"]) for case in ranked] == [("pays by card", 1, 2)]
    case_id = ranked[0]["id"]
    assert fields(await command_line.run("cases", "show", case_id, "--runs", "1"))["failure_rate"] == "1.0"
    header, row = rows(await command_line.run("cases", "history", case_id, "--status", "failed"))
    assert header == ["RUN", "STATUS", "DURATION", "BRANCH", "COMPLETED", "RESULT", "FAILURE"]
    assert [*row[:4], row[6]] == ["run_2", "failed", "0.812 s", "fix", "got 503"]
    assert [each["run_id"] for each in await command_line.run_json("cases", "history", case_id)] == ["run_2", "run_1"]


async def test_cases_are_filtered_without_a_ranking(command_line: CommandLine) -> None:
    await command_line.api.store.ingest(
        run_event("run_1", [result("pays"), result("ships")], branch="main"),
        run_event("run_2", [result("added")], branch="fix", time="2026-05-21T12:00:00Z"),
    )
    for options, names in (
        (("--branch", "main", "--q", "p"), {"pays", "ships"}),
        (("--from", "2026-05-21"), {"added"}),
        (("--variant", "os:mac"), set()),
    ):
        cases = await command_line.run_json("cases", "list", "--project", "shop", *options)
        assert {case["name"] for case in cases} == names


async def test_states_are_shown_and_filtered(command_line: CommandLine) -> None:
    store = command_line.api.store
    await store.ingest(run_event("run_1", [result("pays"), result("ships"), result("logs in")]))
    await insert_states(store.pool, "broken", "linux", "c.name = 'pays'")
    await insert_states(store.pool, "flaky", where="c.name = 'ships'")
    _, *found = rows(await command_line.run("cases", "list", "--project", "shop"))
    assert {(row[1], row[-1].split()[-1]) for row in found} == {
        ("broken", "pays"), ("flaky", "ships"), ("healthy", "in"),
    }  # fmt: skip
    [broken] = await command_line.run_json("cases", "list", "--project", "shop", "--state", "broken")
    shown = fields(await command_line.run("cases", "show", broken["id"]))
    assert shown["state"].startswith("value: broken, environment: linux, since_run_id: run_1, ")
    unhealthy = ("cases", "list", "--project", "shop", "--state", "broken", "--state", "flaky")
    assert {case["name"] for case in await command_line.run_json(*unhealthy)} == {"pays", "ships"}
    invalid = await command_line.invoke("cases", "list", "--project", "shop", "--state", "bad")
    assert (invalid.exit_code, "must be one of healthy, flaky, broken" in invalid.stderr) == (2, True)


async def test_cases_of_an_older_server_are_listed_without_states(
    command_line: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    await command_line.api.store.ingest(run_event("run_1", [result("pays")]))
    get = Server.get

    def get_old(server: Server, *arguments: Any) -> Any:
        page = get(server, *arguments)
        for case in page["data"]:
            del case["state"]
        return page

    monkeypatch.setattr(Server, "get", get_old)
    _, row = rows(await command_line.run("cases", "list", "--project", "shop"))
    assert row[1:3] == ["-", "passed"]
