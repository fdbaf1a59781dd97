"""The operator commands: their changes apply immediately and are in the audit trail."""

import asyncio
import os
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from service.cli import cli
from tests.run_events import run_event
from tests.served import Api


async def command(database_url: str, *arguments: str) -> tuple[int, str, str]:
    """Run a command and return its exit code, stdout, and stderr."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "service", *arguments, env={**os.environ, "RESULTS_DATABASE_URL": database_url},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    return await process.wait(), out.decode().strip(), err.decode()


async def in_process(database_url: str, *arguments: str) -> tuple[int, str, str]:
    """Run a command in this process, without the start of another one, and return the same."""
    called = await asyncio.to_thread(CliRunner().invoke, cli, arguments, env={"RESULTS_DATABASE_URL": database_url})
    return called.exit_code, called.stdout.strip(), called.stderr


async def trail(database_url: str, *arguments: str, organization: str = "shop") -> list[list[str]]:
    """Return the actor, action, and subject of each entry that the command lists."""
    code, out, err = await command(database_url, "audit", "list", "--organization", organization, *arguments)
    assert code == 0, err
    return [line.split("  ")[1:4] for line in out.splitlines()]


@pytest.mark.slow
async def test_changes_on_the_command_line_are_in_the_audit_trail(database_url: str) -> None:
    await command(database_url, "organizations", "create", "shop")
    _, _, stderr = await command(database_url, "keys", "create", "--organization", "shop", "--role", "viewer")
    key_id = stderr.split()[1]
    await command(database_url, "keys", "revoke", key_id, "--organization", "shop")
    assert await trail(database_url) == [
        ["command line", "keys revoke", key_id],
        ["command line", "keys create", key_id],
        ["command line", "organizations create", "shop"],
    ]
    assert await trail(database_url, "--limit", "1") == [["command line", "keys revoke", key_id]]


@pytest.mark.slow
async def test_removed_producer_that_is_no_longer_checked_is_reported(
    api: Api, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def producers(*arguments: str) -> tuple[int, str, str]:
        return await command(database_url, "producers", *arguments, "--organization", "acme")

    assert (await producers("add", "team-a"))[::2] == (0, "registered team-a for all projects of acme\n")
    code, _, err = await producers("add", "team-a", "--project", "shop")
    assert (code, err) == (0, "registered team-a for shop of acme\n")
    assert (await producers("add", "team-a", "--project", "shop"))[0] == 1
    _, out, _ = await producers("list")
    assert [line.split()[:2] for line in out.splitlines()] == [["team-a", "*"], ["team-a", "shop"]]
    _, _, err = await producers("remove", "team-a", "--project", "shop")
    assert err == "removed team-a from shop of acme\n"
    _, _, err = await producers("remove", "team-a")
    assert "team-a has no registration left. RESULTS_PRODUCER_IDENTITY is optional" in err
    monkeypatch.setenv("RESULTS_PRODUCER_IDENTITY", "required")
    await producers("add", "team-a")
    assert (await producers("remove", "team-a"))[2] == "removed team-a from all projects of acme\n"


@pytest.mark.nightly
async def test_publishers_are_managed_on_the_command_line(api: Api, database_url: str) -> None:
    async def publishers(*arguments: str) -> tuple[int, str, str]:
        return await command(database_url, "publishers", *arguments, "--organization", "acme")

    new = "add", "--project", "shop", "--provider", "gitlab", "--claim", "project_id=7"
    code, _, err = await publishers(*new)
    assert (code, err.startswith("Error: claims.namespace_id: is required for gitlab")) == (1, True), err
    code, out, err = await publishers(*new, "--claim", "namespace_id=3", "--claim", "ref=a=b", "--name", "CI")
    publisher_id = out.strip()
    assert (code, err) == (0, "added a publisher (uploader) for shop of acme\n")
    _, out, _ = await publishers("list")
    assert out.split("  ")[:2] == [publisher_id, "name=CI"]
    assert "  claims.ref=a=b" in out
    assert (await publishers("disable", publisher_id))[0] == 0
    assert not (await api.get(f"/v1/publishers/{publisher_id}"))["enabled"]
    assert (await publishers("exchanges", "--publisher", publisher_id))[:2] == (0, "")
    assert (await publishers("remove", publisher_id))[2] == f"removed {publisher_id}\n"
    assert (await publishers("enable", publisher_id))[0] == 1


async def test_listed_key_can_be_revoked(api: Api, database_url: str) -> None:
    created = await api.send("POST", "/v1/api-keys", json={"name": "ci", "role": "viewer"})
    _, out, _ = await in_process(database_url, "keys", "list", "--organization", "acme")
    listed, *fields = out.splitlines()[0].split("  ")
    assert (listed, fields[:2]) == ((await created.json())["id"], ["name=ci", "role=viewer"])
    code, _, err = await in_process(database_url, "keys", "revoke", listed, "--organization", "acme")
    assert code == 0, err


async def test_name_of_a_key_cannot_control_the_terminal(api: Api, database_url: str) -> None:
    created = await api.make_key("viewer")
    name = "ci\x1b]0;title\x07\nkey_0  name=admin\u202e"
    await api.store.pool.execute("UPDATE api_keys SET name = $2 WHERE key_id = $1", created.key_id, name)
    _, out, _ = await in_process(database_url, "keys", "list", "--organization", "acme")
    [line] = [line for line in out.split("\n") if line.startswith(created.key_id)]
    assert r"name=ci\u001b]0;title\u0007\u000akey_0  name=admin\u202e  role=viewer" in line
    assert "\nkey_0  " not in out


async def test_all_keys_of_an_organization_are_listed(api: Api, database_url: str) -> None:
    await api.store.pool.execute(
        "INSERT INTO api_keys (org_id, key_id, name, role, secret_sha256)"
        " SELECT org_id, 'key_' || lpad(n::text, 20, '0'), n::text, 'viewer', sha256(n::text::bytea)"
        " FROM organizations, generate_series(1, 1001) n WHERE slug = 'acme'"
    )
    _, out, _ = await in_process(database_url, "keys", "list", "--organization", "acme")
    oldest = out.splitlines()[-1]
    assert oldest.startswith("key_00000000000000000001  name=1  ")


@pytest.mark.nightly
async def test_members_are_managed_and_people_erased_on_the_command_line(api: Api, database_url: str) -> None:
    async def members(*arguments: str) -> tuple[int, str, str]:
        return await command(database_url, "members", *arguments, "--organization", "acme")

    code, member_id, err = await members("add", "--email", " Ada@example.org", "--role", "admin")
    assert (code, err) == (0, "added email 'ada@example.org' (admin) to all projects of acme\n")
    _, group_id, err = await members("add", "--group", "qa", "--role", "engineer", "--project", "shop")
    assert err == "added group 'qa' (engineer) to shop of acme\n"
    code, _, err = await members("add", "--group", "qa", "--role", "viewer", "--project", "shop")
    assert (code, "is already a member of the project 'shop'" in err) == (1, True)
    for wrong in (("--email", "ada"), (), ("--email", "ada@example.org", "--group", "qa")):
        assert (await members("add", "--role", "viewer", *wrong))[0] == 2
    _, out, _ = await members("list")
    assert [line.split("  ")[:3] for line in out.splitlines()] == [
        [group_id, "group=qa", "role=engineer"], [member_id, "email=ada@example.org", "role=admin"]
    ]  # fmt: skip
    assert (await members("remove", group_id))[2] == f"removed {group_id}\n"
    assert (await members("remove", group_id))[2] == f"Error: member {group_id!r} not found\n"

    erase = "organizations", "erase-person", "acme"
    for wrong in ((), ("--person", "key_0123456789abcdef0123")):
        assert (await command(database_url, *erase, *wrong))[0] == 2
    _, _, err = await command(database_url, *erase, "--email", "ada@example.org")
    assert err == "erasing members\nerased 0 people, 1 members, 0 names in events\n"
    assert await api.store.pool.fetchval("SELECT count(*) FROM members WHERE email IS NOT NULL") == 0
    entries = await trail(database_url, "--limit", "2", organization="acme")
    assert entries == [
        ["command line", "organizations erase-person", "-"],
        ["command line", "members remove", group_id],
    ]


@pytest.mark.slow
async def test_command_for_all_dead_letters_states_that_some_remain(api: Api, database_url: str) -> None:
    await api.store.pool.execute(
        "INSERT INTO dead_letters (queue, payload, reason, message)"
        " SELECT 'runs', '{}', 'invalid_event', n::text FROM generate_series(1, 1001) n"
    )
    _, _, err = await command(database_url, "dead-letters", "discard", "--all", "--yes")
    assert err.startswith("discarded 1000\none command changes at most 1000")
    _, _, err = await command(database_url, "dead-letters", "discard", "--all", "--yes")
    assert err == "discarded 1\n"


@pytest.mark.slow
async def test_failed_changes_are_not_in_the_audit_trail(database_url: str) -> None:
    await command(database_url, "organizations", "create", "shop")
    assert (await command(database_url, "organizations", "create", "shop"))[0] == 1
    assert (await command(database_url, "keys", "revoke", "key_1", "--organization", "shop"))[0] == 1
    assert len(await trail(database_url)) == 1


async def test_audit_trail_contains_changes_over_http(api: Api, database_url: str) -> None:
    created = await api.send("POST", "/v1/api-keys", json={"name": "ci", "role": "viewer"}, X_Request_Id="req-7")
    code, out, _ = await in_process(database_url, "audit", "list", "--organization", "acme")
    assert code == 0
    assert out.split("  ")[2:] == ["POST /v1/api-keys", created.headers["Location"], "req-7", "test", "-"]


@pytest.mark.slow
@pytest.mark.usefixtures("no_partitions")
async def test_retention_prints_expired_data_and_then_deletes_it(
    api: Api, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"RETENTION_DAYS": "30", "RETENTION_GRACE_DAYS": "0", "ARTIFACTS_URL": tmp_path.as_uri()}
    for name, value in settings.items():
        monkeypatch.setenv(f"RESULTS_{name}", value)
    await api.store.ingest(run_event(time=(datetime.now(UTC) - timedelta(days=100)).isoformat()))
    code, out, err = await command(database_url, "retention", "--dry-run")
    assert code == 0, err
    assert out.split()[:4] == ["results", "acme", "shop", "rows=1"]
    code, _, err = await command(database_url, "retention")
    assert code == 0
    assert "removed results of " in err
    assert await api.store.results() == []
    assert (await command(database_url, "retention", "--dry-run"))[1:] == ("", "no data is expired\n")
    assert "no month is expired" in (await command(database_url, "retention"))[2]


@pytest.mark.slow
async def test_deletion_of_an_organization_requires_its_slug_twice_and_ends_its_keys(
    api: Api, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESULTS_ARTIFACTS_URL", tmp_path.as_uri())
    await api.store.ingest(run_event())
    code, _, err = await command(database_url, "organizations", "delete", "acme", "--confirm", "other")
    assert (code, "--confirm must be the same as SLUG" in err) == (2, True)
    await api.get("/v1/runs")
    code, out, err = await command(database_url, "organizations", "delete", "acme", "--confirm", "acme")
    assert (code, out, "deleted organization acme" in err) == (0, "", True), err
    await api.error("/v1/runs", 401)
    assert await api.store.pool.fetchval("SELECT count(*) FROM organizations") == 0
    assert (await command(database_url, "organizations", "delete", "acme", "--confirm", "acme"))[0] == 1


async def test_unknown_organization_is_named(database_url: str) -> None:
    code, _, stderr = await command(database_url, "audit", "list", "--organization", "absent")
    assert code == 1
    assert "organization 'absent' not found" in stderr


@pytest.mark.slow
async def test_created_key_works_immediately_and_revoked_key_ends_within_five_seconds(
    api: Api, database_url: str
) -> None:
    _, key, stderr = await command(database_url, "keys", "create", "--organization", "acme", "--role", "viewer")
    await api.get("/v1/results", key=key)
    await command(database_url, "keys", "revoke", stderr.split()[1], "--organization", "acme")
    revoked_at = time.monotonic()
    while (await api.send("GET", "/v1/results", key=key)).status == 200:
        assert time.monotonic() - revoked_at < 5
        await asyncio.sleep(0.1)
    await api.error("/v1/results", 401, key=key)
