"""The commands `quarantines`."""

from typing import Any

from tests.client.resources.running import CommandLine, fields, rows
from tests.run_events import result, run_event


async def create(command_line: CommandLine, *options: str, **variables: str) -> Any:
    [created] = await command_line.run_json("quarantines", "create", "--reason", "issue 7", *options, **variables)
    return created


async def test_quarantine_is_created_changed_and_ended(command_line: CommandLine) -> None:
    created = await create(
        command_line, "--project", "shop", "--suite", "auth*", "--variant", "os:mac", "--owner", "kim"
    )
    assert (created["project_id"], created["suite"], created["name"]) == ("shop", "auth*", None)
    assert (created["variant"], created["owner"], created["active"]) == ({"os": "mac"}, "kim", True)
    header, row = rows(await command_line.run("quarantines", "list"))
    assert header == ["ID", "PROJECT", "ACTIVE", "EXPIRES", "CASES", "CREATED BY", "REASON"]
    assert [row[0], *row[4:]] == [created["id"], "auth* > * [os: mac]", 'key "test"', "issue 7"]
    changed = fields(await command_line.run("quarantines", "update", created["id"], "--reason", "issue 8"))
    assert (changed["reason"], changed["owner"]) == ("issue 8", "kim")
    ended = await command_line.invoke("quarantines", "end", created["id"])
    assert (ended.exit_code, ended.stderr) == (0, f"ended the quarantine {created['id']}\n")
    assert await command_line.run_json("quarantines", "list") == []
    [listed] = await command_line.run_json("quarantines", "list", "--state", "ended")
    assert listed["ended_at"]
    assert await command_line.run_json("quarantines", "show", created["id"]) == [listed]


async def test_quarantine_of_a_case_ignores_the_project_of_the_environment(command_line: CommandLine) -> None:
    await command_line.api.store.ingest(run_event("run_1", [result("pays")]))
    case = (await command_line.api.get("/v1/results"))["data"][0]["case"]
    created = await create(command_line, "--case", case, RESULTS_PROJECT="other")
    assert (created["case"], created["project_id"]) == (case, "shop")
    await create(command_line, "--name", "ships", RESULTS_PROJECT="blog")
    listed = await command_line.run_json("quarantines", "list", RESULTS_PROJECT="blog")
    assert [quarantine["name"] for quarantine in listed] == ["ships"]


async def test_invalid_quarantine_names_the_option(command_line: CommandLine) -> None:
    for arguments, message in (
        (("create",), "Missing option '--reason'"),
        (("create", "--reason", "a", "--name", "b", "--variant", "os:a", "--variant", "os:b"), "'os' only once"),
        (("create", "--reason", "a", "--name", "b", "--expires-at", "soon"), "'--expires-at': 'soon' must be"),
        (("update", "qua_1"), "at least one option is required"),
    ):
        result = await command_line.invoke("quarantines", *arguments)
        assert result.exit_code == 2
        assert message in result.stderr
