"""The commands `runs`, and what all commands of lists have in common."""

import pytest

from service.client.commands import requests
from service.client.http import ClientError, ServerError
from tests.client.resources.running import CommandLine, fields, rows
from tests.run_events import result, run_event

UNKNOWN = "doesn't exist, or has no results that the key can read"
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


@pytest.mark.parametrize("noun", ["runs", "cases", "quarantines"])
async def test_list_of_an_unknown_project_is_an_error_that_names_a_similar_one(
    command_line: CommandLine, noun: str
) -> None:
    await command_line.api.store.ingest(run_event("run_1"), run_event("run_2", project_id="blog"))
    for options, hint in ((("shpo",), ". Did you mean 'shop'?"), (("unlike", "--json"), "")):
        unknown = await command_line.invoke(noun, "list", "--project", *options)
        assert isinstance(unknown.exception, ClientError)  # exit code 1
        assert str(unknown.exception) == f"--project: {options[0]!r} {UNKNOWN}{hint}"
        assert unknown.output == ""
    filters = {"runs": "--branch", "cases": "--branch", "quarantines": "--case"}
    empty = await command_line.invoke(noun, "list", "--project", "shop", filters[noun], "case_00c0ffee00c0ffee")
    assert (empty.exit_code, empty.output) == (0, f"no {noun}\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("runs list --from 2026-05-02 --to 2026-05-01", "--to: must not be before --from (400)"),
        ("cases list --project shop --from 2026-05-02 --to 2026-05-01", "--to: must not be before --from (400)"),
        ("export -o - --from 2026-05-02 --to 2026-05-01", "--to: must not be before --from (400)"),
        ("export -o - --content runs --column suite", "--column: suite is not a column of runs (400)"),
        ("export -o - --project shpo", f"--project: 'shpo' {UNKNOWN}. Did you mean 'shop'?"),
        ("cases list", "--project: is required"),
        ("webhooks create ftp://hooks.example.com", "ENDPOINT: must "),
        ("quarantines create --project shop --reason flaky --name a --expires-at 2020-01-01", "--expires-at: must "),
        ("quarantines create --reason flaky --name a", "--project: is required"),
    ],
)
async def test_error_of_the_server_names_the_option(command_line: CommandLine, arguments: str, message: str) -> None:
    await command_line.api.store.ingest(run_event("run_1"))
    result = await command_line.invoke(*arguments.split())
    shown = str(result.exception) if isinstance(result.exception, ClientError) else result.output
    assert shown.startswith(message), result.output
