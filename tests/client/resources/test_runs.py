"""The commands `runs`, and what all commands of lists have in common."""

import pytest

from service.client.http import ServerError
from service.client.resources import requests
from tests.client.resources.running import CommandLine, fields, rows
from tests.run_events import result, run_event

HOSTILE = "\x1b[2Jrun\u202e::error::x"


async def test_runs_are_listed_with_the_filters_of_the_api(command_line: CommandLine) -> None:
    failed = [result("pays", "failed"), result("ships")]
    await command_line.api.store.ingest(
        run_event("run_1", branch="main"),
        run_event(
            "run_2",
            failed,
            branch="main",
            commit_sha="c0ffee1234567890",
            title="pay by card",
            author="kim",
            time="2026-05-21T12:00:00Z",
        ),
        run_event("run_3", project_id="blog", branch="main", labels={"team": "web", "tier": "1"}),
    )
    header, row = rows(await command_line.run("runs", "list", "--branch", "main", "--status", "failed"))
    assert header == ["RUN", "PROJECT", "STATUS", "COMPLETE", "BRANCH", "COMMIT", "COMPLETED", "RESULTS", "TITLE"]
    assert row == ["run_2", "shop", "failed", "yes", "main", "c0ffee1234", row[6], "1 passed, 1 failed", "pay by card"]
    for options, variables, expected in (
        (("--label", "team:web", "--label", "tier:1"), {}, ["run_3"]),
        (("--from", "2026-05-21"), {}, ["run_2"]),
        (("--author", "kim"), {}, ["run_2"]),
        ((), {"RESULTS_PROJECT": "blog"}, ["run_3"]),
        (("--project", "shop", "--no-flaky"), {"RESULTS_PROJECT": "blog"}, ["run_2", "run_1"]),
    ):
        listed = await command_line.run_json("runs", "list", *options, **variables)
        assert [run["run_id"] for run in listed] == expected


async def test_limit_and_all_read_further_pages(command_line: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "PAGE_SIZE", 2)
    await command_line.api.store.ingest(*(run_event(f"run_{number}") for number in range(5)))
    three = await command_line.invoke("runs", "list", "--limit", "3", "--json")
    assert len(three.stdout.splitlines()) == 3
    assert three.stderr == "there are more runs: use a larger --limit, or --all\n"
    everything = await command_line.invoke("runs", "list", "--all")
    assert [len(row) for row in rows(everything.stdout)] == [9] * 6
    assert everything.stderr == ""


async def test_run_is_shown_completed_and_deleted(command_line: CommandLine) -> None:
    await command_line.api.store.ingest(run_event("a/1", [result()], final=False, part="unit"))
    shown = fields(await command_line.run("runs", "show", "a/1"))
    assert (shown["complete"], shown["branch"], shown["counts"][:8]) == ("no", "-", "passed: ")
    assert shown["parts"].startswith("part: unit, ")
    [completed] = await command_line.run_json("runs", "complete", "a/1")
    assert completed["complete"]
    assert (await command_line.invoke("runs", "delete", "a/1")).exit_code == 2
    assert (await command_line.invoke("runs", "delete", "a/1", "--yes")).stderr == "deleted the run a/1\n"
    missing = await command_line.invoke("runs", "show", "a/1")
    assert isinstance(missing.exception, ServerError)
    assert str(missing.exception) == "run 'a/1' not found (404)"


async def test_text_of_a_producer_cannot_control_the_terminal(command_line: CommandLine) -> None:
    await command_line.api.store.ingest(run_event("run_1", branch=HOSTILE, labels={"a": HOSTILE}))
    for arguments in (("runs", "list"), ("runs", "show", "run_1")):
        printed = await command_line.run(*arguments)
        assert not {"\x1b", "\u202e"} & set(printed)
    [listed] = await command_line.run_json("runs", "list")
    assert listed["branch"] == (await command_line.api.get("/v1/runs/run_1"))["branch"]


async def test_invalid_filter_is_a_usage_error(command_line: CommandLine) -> None:
    result = await command_line.invoke("runs", "list", "--status", "skipped")
    assert (result.exit_code, "'skipped' must be one of passed, failed" in result.stderr) == (2, True)
