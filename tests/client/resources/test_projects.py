"""The commands `projects`."""

import json

import pytest

from service.client.commands import projects
from tests.client.resources.running import CommandLine, fields, rows
from tests.run_events import run_event


async def test_default_branch_is_shown_and_changed(command_line: CommandLine) -> None:
    await command_line.api.store.ingest(run_event("run_1"), run_event("run_2", project_id="blog"))
    assert [row[:2] for row in rows(await command_line.run("projects", "list"))] == [
        ["PROJECT", "DEFAULT BRANCH"], ["blog", "main"], ["shop", "main"],
    ]  # fmt: skip
    text = await command_line.run("projects", "set", "shop", "--default-branch", "trunk")
    assert fields(text)["default_branch"] == "trunk"
    pattern = "https://git.example.org/{commit}/{file}#L{line}"
    [changed] = await command_line.run_json("projects", "set", "shop", "--code-url", pattern)
    assert (changed["default_branch"], changed["code_url_pattern"]) == ("trunk", pattern)
    assert (await command_line.invoke("projects", "set", "shop")).exit_code == 2
    [shown] = await command_line.run_json("projects", "show", "shop")
    assert shown == await command_line.api.get("/v1/projects/shop")


async def test_policy_of_automatic_quarantine_is_set_and_removed(command_line: CommandLine) -> None:
    await command_line.api.store.ingest(run_event("run_1"))
    command = ("projects", "set", "shop", "--auto-quarantine")
    [changed] = await command_line.run_json(*command, "max_share=0.05,days=14,release_after_runs=50")
    assert changed["auto_quarantine"] == {"max_share": 0.05, "days": 14, "release_after_runs": 50}
    [removed] = await command_line.run_json(*command, "none")
    assert removed["auto_quarantine"] is None


@pytest.mark.parametrize(
    "policy",
    [
        "",
        "on",
        "max_share=0.05,days=14",
        "max_share=0.05,days=x,release_after_runs=50",
        "max_share=0.05,days=1,weeks=2",
    ],
)
async def test_policy_that_can_not_be_read_is_not_sent(command_line: CommandLine, policy: str) -> None:
    result = await command_line.invoke("projects", "set", "shop", "--auto-quarantine", policy)
    assert result.exit_code == 2
    assert "must be such as max_share=0.05,days=14,release_after_runs=50" in result.stderr


async def test_deletion_needs_the_name_again(command_line: CommandLine) -> None:
    await command_line.api.store.ingest(run_event("run_1"))
    for options, message in (
        ((), "--confirm: is required, because stdin isn't a terminal"),
        (("--confirm", "shpo"), "--confirm: must be shop, the name of the project"),
    ):
        result = await command_line.invoke("projects", "delete", "shop", *options)
        assert result.exit_code == 2
        assert message in result.stderr
    assert len(await command_line.run_json("projects", "list")) == 1


async def test_project_is_deleted_in_the_background(command_line: CommandLine) -> None:
    await command_line.api.store.ingest(run_event("run_1"))
    deleted = await command_line.invoke("projects", "delete", "shop", "--confirm", "shop", "--json")
    assert (deleted.exit_code, deleted.stderr) == (0, "the project shop is being deleted\n")
    assert json.loads(deleted.stdout)["deletion_requested_at"]
    [shown] = await command_line.run_json("projects", "show", "shop")
    assert shown == json.loads(deleted.stdout)


async def test_terminal_asks_for_the_name(monkeypatch: pytest.MonkeyPatch, command_line: CommandLine) -> None:
    await command_line.api.store.ingest(run_event("run_1"))
    monkeypatch.setattr(projects, "_is_terminal", lambda: True)
    for entered, exit_code in (("shpo", 2), ("shop", 0)):
        result = await command_line.invoke("projects", "delete", "shop", entered=f"{entered}\n")
        assert result.exit_code == exit_code, result.output
        assert "Enter its name to confirm" in result.stderr
