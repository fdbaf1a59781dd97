"""The commands `webhooks`."""

from typing import Any

from service.cli import cli
from service.client.__main__ import client
from service.client.commands.webhooks import _explain_secret
from tests.client.resources.running import CommandLine, fields, rows

ENDPOINT = "https://hooks.example.com/zof"


async def create(command_line: CommandLine, *options: str) -> Any:
    [created] = await command_line.run_json("webhooks", "create", ENDPOINT, *options)
    return created


async def test_webhook_is_created_changed_and_deleted(command_line: CommandLine) -> None:
    created = await command_line.invoke("webhooks", "create", ENDPOINT, "--event", "run.failed", "--description", "ci")
    webhook = fields(created.stdout)
    assert webhook["secret"].startswith("whsec_")
    assert created.stderr == "store the secret now: it isn't shown again\n"
    webhook_id = webhook["id"]
    header, row = rows(await command_line.run("webhooks", "list"))
    assert header == ["ID", "STATE", "PROJECT", "URL", "FORMAT", "EVENTS"]
    assert row == [webhook_id, "enabled", "-", ENDPOINT, "standard", "run.failed"]
    [changed] = await command_line.run_json(
        "webhooks", "update", webhook_id, "--disable", "--event", "all", "--endpoint", f"{ENDPOINT}/2"
    )
    assert (changed["enabled"], changed["events"], changed["url"]) == (False, [], f"{ENDPOINT}/2")
    assert changed["description"] == "ci"
    assert rows(await command_line.run("webhooks", "list"))[1][1] == "disabled (by_request)"
    [rotated] = await command_line.run_json("webhooks", "rotate-secret", webhook_id)
    assert rotated["secret"] not in (None, webhook["secret"])
    assert "secret" not in fields(await command_line.run("webhooks", "show", webhook_id))
    assert (await command_line.invoke("webhooks", "delete", webhook_id, "--yes")).exit_code == 0
    assert await command_line.run_json("webhooks", "list") == []


async def test_delivery_is_tested_listed_and_repeated(command_line: CommandLine) -> None:
    webhook = await create(command_line, "--project", "shop")
    [delivery] = await command_line.run_json("webhooks", "test", webhook["id"])
    header, row = rows(await command_line.run("webhooks", "deliveries", webhook["id"], "--status", "pending"))
    assert header == ["ID", "STATUS", "ATTEMPTS", "LAST STATUS", "NEXT ATTEMPT", "CREATED", "EVENT"]
    assert [*row[:4], row[6]] == [delivery["id"], "pending", "0", "-", delivery["event_id"]]
    assert await command_line.run_json("webhooks", "deliveries", webhook["id"], "--status", "delivered") == []
    [repeated] = await command_line.run_json("webhooks", "redeliver", webhook["id"], delivery["id"])
    assert (repeated["id"], repeated["status"]) == (delivery["id"], "pending")


async def test_options_set_the_format_and_the_filters(command_line: CommandLine) -> None:
    webhook = await create(command_line, "--format", "slack", "--owner", "@shop/cart", "--state", "broken")
    assert webhook["format"] == "slack"
    assert webhook["filters"] == {"project_id": None, "branch": None, "owner": "@shop/cart", "state": "broken"}
    [changed] = await command_line.run_json(
        "webhooks", "update", webhook["id"], "--format", "teams", "--branch", "main", "--project", "shop"
    )
    assert (changed["format"], changed["project_id"]) == ("teams", "shop")
    assert changed["filters"] == {"project_id": "shop", "branch": "main", "owner": "@shop/cart", "state": "broken"}


async def test_disabled_webhook_is_created(command_line: CommandLine) -> None:
    assert (await create(command_line, "--disabled"))["enabled"] is False
    result = await command_line.invoke("webhooks", "update", "whk_1")
    assert (result.exit_code, "at least one option is required" in result.stderr) == (2, True)


def test_lost_secret_is_explained(capsys: Any) -> None:
    _explain_secret({"id": "whk_1", "secret": None})
    assert capsys.readouterr().err.endswith("run zof-results webhooks rotate-secret whk_1\n")


def test_command_of_operators_is_not_in_the_client() -> None:
    assert "encrypt-secrets" in cli.commands["webhooks"].commands  # type: ignore[attr-defined]
    assert "encrypt-secrets" not in client.commands["webhooks"].commands  # type: ignore[attr-defined]
