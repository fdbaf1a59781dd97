"""The commands `gates`."""

import pytest

from tests.client.resources.running import CommandLine, fields, rows


async def test_gate_is_set_shown_listed_and_deleted(command_line: CommandLine) -> None:
    created = fields(
        await command_line.run("gates", "set", "release", "--max-new-failures", "0", "--min-pass-rate", "0.9")
    )
    assert (created["name"], created["version"]) == ("release", "1")
    replaced = await command_line.run_json("gates", "set", "release", "--max-flaky", "3", "--max-missing-parts", "any")
    assert [gate["policy"] for gate in replaced] == [{"min_results": 1, "max_flaky": 3, "max_missing_parts": None}]
    assert await command_line.run_json("gates", "show", "release") == replaced
    header, row = rows(await command_line.run("gates", "list"))
    assert header == ["NAME", "VERSION", "UPDATED", "POLICY"]
    assert (row[:2], row[3]) == (["release", "2"], "max_flaky: 3, min_results: 1, max_missing_parts: any")
    deleted = await command_line.invoke("gates", "delete", "release", "--yes")
    assert (deleted.exit_code, deleted.stdout, deleted.stderr) == (0, "", "deleted the gate release\n")
    empty = await command_line.invoke("gates", "list")
    assert (empty.stdout, empty.stderr) == ("", "no gates\n")


async def test_policy_contains_only_the_given_limits(command_line: CommandLine) -> None:
    [gate] = await command_line.run_json("gates", "set", "a.b", "--max-failures", "5", "--max-missing-parts", "2")
    assert gate["policy"] == {"min_results": 1, "max_failures": 5, "max_missing_parts": 2}
    assert await command_line.run_json("gates", "show", "a.b") == [gate]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "at least one limit is required"),
        (("--max-missing-parts", "none"), "must be a number, or any"),
        (("--min-pass-rate", "nan"), "'nan' must be a number from 0 to 1, for example 0.95"),
        (("--min-pass-rate", "95"), "'--min-pass-rate': '95' must be a number from 0 to 1, for example 0.95"),
        (("--min-pass-rate", "x"), "'--min-pass-rate': 'x' must be a number from 0 to 1, for example 0.95"),
        (("--max-new-failures", "x"), "'--max-new-failures': 'x' must be an integer of at least 0"),
        (("--max-new-failures", "-1"), "'--max-new-failures': '-1' must be an integer of at least 0"),
    ],
)
async def test_invalid_policy_is_a_usage_error(
    command_line: CommandLine, options: tuple[str, ...], message: str
) -> None:
    result = await command_line.invoke("gates", "set", "release", *options)
    assert result.exit_code == 2
    assert message in result.stderr
    assert await command_line.run_json("gates", "list") == []
