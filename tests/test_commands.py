"""The command line to someone at a terminal: its help fits, and what is wrong is one line that says what to do."""

import asyncio
import os
import sys
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from consumers.__main__ import consume, dead_letters
from service.cli import cli
from tests.databases import empty_database, with_database

PASSED_ON = {"consume": consume, "dead-letters": dead_letters}
HERE = ("--url", "http://127.0.0.1:9", "--key", "zof_1")


Asked = tuple[click.Command, tuple[str, ...], click.Command]


def all_commands(root: click.Command, command: click.Command, words: tuple[str, ...] = ()) -> Iterator[Asked]:
    """Each with the command that a process runs and the words that lead to it from there."""
    yield root, words, command
    for name, below in getattr(command, "commands", {}).items():
        if below in (cli.commands["consume"], cli.commands["dead-letters"]):
            yield from all_commands(PASSED_ON[name], PASSED_ON[name])
        else:
            yield from all_commands(root, below, (*words, name))


@pytest.mark.parametrize(("root", "words", "command"), list(all_commands(cli, cli)), ids=lambda value: str(value))
def test_help_fits_a_terminal_and_is_cut_nowhere(
    root: click.Command, words: tuple[str, ...], command: click.Command
) -> None:
    for asked, width in (("-h", 80), ("--help", 120)):
        result = CliRunner(env={"COLUMNS": str(width)}).invoke(root, [*words, asked])
        assert result.exit_code == 0, result.output
        assert max(map(len, result.stdout.splitlines())) <= width
        assert "..." not in result.stdout.partition("Commands:")[2]
    options = [one for one in command.params if isinstance(one, click.Option) and one.name not in ("help", "version")]
    assert [option.name for option in options if not option.help] == []
    assert command.help


@pytest.mark.parametrize("name", PASSED_ON)
async def test_consumers_name_themselves_as_they_are_called(name: str) -> None:
    code, out, _ = await run("", name, "--help")
    assert code == 0
    assert out.startswith(f"Usage: zof-results {name} ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["organizations", "create", "Bad Slug!"], "'Bad Slug!' must be 1 to 63 lower-case letters, digits and dashes"),
        (["organizations", "create", "a-"], "without a dash first or last"),
        (["organizations", "create", "a" * 64], "must be 1 to 63"),
        (["organizations", "create", ""], "must be 1 to 63"),
        (["organizations", "create", "a", "--name", ""], "'--name': '' must not be empty"),
        (["keys", "create", "--organization", "X", "--role", "viewer"], "'--organization': 'X' must be 1 to 63"),
        (["keys", "create", "--organization", "a", "--role", "viewer", "--name", "x" * 201], "at most 200 characters"),
        (["keys", "create", "--organization", "a", "--role", "viewer", "--project", ""], "must not be empty"),
        (["keys", "create", "--organization", "a", "--role", "viewer", "--expires-in-days", "99999"], "1<=x<=3650"),
        (["gate", *HERE, "--run-id", ""], "must not be empty"),
        (["gate", *HERE, "--run-id", "x", "--url", "results"], "must be an address such as https://"),
        (["gate", *HERE, "--run-id", "x", "--key", "zof 1"], "must be an API key"),
        (["tail", *HERE, "--type", "run.started"], "is not one of"),
        (["report", *HERE, "a.xml", "--project", ""], "must not be empty"),
        (["report", *HERE, "a.xml", "--project", "p", "--shard", "3/2"], "must be i/n"),
        (["report", *HERE, "a.xml", "--project", "p", "--label", "x"], "must be name:value"),
        (["export", *HERE, "-o", "nowhere/a.csv"], "must be a file in a folder that is there"),
        (["export", *HERE, "-o", "-"], "must be a file in a folder that is there"),
        (["export", *HERE, "-o", "a.csv", "--from", "yesterday"], "must be a date or a time"),
        (["export", *HERE, "-o", "a.csv", "--case", "tc_1"], "must be case_ and 16 hex digits"),
        (["export", *HERE, "-o", "a.csv", "--suite", "auth"], "--suite works only together with --run-id"),
        (["export", *HERE, "-o", "a.csv", "--export-id", "exp_1", "--branch", "main"], "with --export-id go only"),
    ],
    ids=lambda value: " ".join(value)[:80] if isinstance(value, list) else "",
)
def test_a_wrong_argument_is_named_with_what_is_allowed(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    monkeypatch.delenv("RESULTS_DATABASE_URL", raising=False)
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 2, result.output
    assert said in result.stderr


def test_a_wrong_key_is_not_shown() -> None:
    assert "secret" not in CliRunner().invoke(cli, ["tail", "--url", "http://h", "--key", "zof_secret\n"]).stderr


async def run(database_url: str, *arguments: str, **settings: str) -> tuple[int, str, str]:
    """Exit code, stdout, stderr; a process that would serve for ever is ended after some seconds."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RESULTS_")}
    environment |= {"RESULTS_DATABASE_URL": database_url, **settings}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "service", *arguments, env=environment,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        out, err = await asyncio.wait_for(process.communicate(), 30)
    finally:
        if process.returncode is None:
            process.kill()
    return await process.wait(), out.decode(), err.decode()


@pytest.fixture
def unusable(postgres_url: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """A database URL that waiting does not mend."""
    with empty_database(postgres_url) as empty:
        scheme, _, rest = postgres_url.partition("://")
        yield {
            "no schema": empty,
            "no database": with_database(postgres_url, "not_there"),
            "no such user": f"{scheme}://nobody:wrong@{rest.rpartition('@')[2]}",
            "no address": "results.example.org",
            "no port": "postgresql://user:pass/word@localhost/results",
            "not set": "",
        }[request.param]


COMMANDS = (("organizations", "list"), ("dead-letters", "list"), ("api",), ("consume", "runs"))
SAID = {
    "no schema": "run `zof-results schema apply`",
    "no database": 'database that is not there: database "not_there" does not exist',
    "no such user": "the database refuses the user and password in RESULTS_DATABASE_URL",
    "no address": "RESULTS_DATABASE_URL: must begin with postgresql://",
    "no port": "RESULTS_DATABASE_URL: has a port that is none",
    "not set": "set RESULTS_DATABASE_URL, for example postgresql://",
}


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize(("unusable", "said"), SAID.items(), indirect=["unusable"], ids=SAID)
async def test_a_database_that_is_no_use_is_one_line_that_says_why(
    unusable: str, said: str, command: tuple[str, ...]
) -> None:
    code, out, err = await run(unusable, *command, RESULTS_HTTP_PORT="0")
    assert (code, out) == (1, "")
    assert err.startswith("Error: ")
    assert said in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("command", [("organizations", "list"), ("schema", "apply"), ("dead-letters", "list")])
async def test_a_database_that_does_not_answer_is_one_line(command: tuple[str, ...]) -> None:
    code, _, err = await run("postgresql://127.0.0.1:9/results", *command)
    assert code == 1
    assert err.startswith("Error: the database does not answer (Connect")
    assert err.endswith("is RESULTS_DATABASE_URL right?\n")


async def test_a_broker_that_does_not_answer_is_one_line(database_url: str) -> None:
    code, _, err = await run(database_url, "dead-letters", "list", RESULTS_AMQP_URL="amqp://127.0.0.1:9/")
    assert code == 1
    assert err.startswith("Error: RESULTS_AMQP_URL: can't connect to RabbitMQ (")
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("command", [("api",), ("consume", "runs")], ids=" ".join)
async def test_who_serves_warns_of_a_database_that_does_not_answer_and_waits(command: tuple[str, ...]) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "service", *command, stderr=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL,
        env={**os.environ, "RESULTS_DATABASE_URL": "postgresql://127.0.0.1:9/results", "RESULTS_HTTP_PORT": "0"},
    )  # fmt: skip
    assert process.stderr is not None
    try:
        line = await asyncio.wait_for(process.stderr.readline(), 30)
        assert b'"event":"database_unreachable"' in line
        await asyncio.sleep(0.5)
        assert process.returncode is None
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 30) == 0
    finally:
        if process.returncode is None:
            process.kill()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("RESULTS_HTTP_PORT", "http", "must be a whole number"),
        ("RESULTS_LOG_LEVEL", "loud", "must be 'debug', 'info', 'warning' or 'error'"),
        ("RESULTS_AMQP_URL", "localhost", "must begin with amqp:// or amqps://"),
        ("RESULTS_ARTIFACTS_URL", "ftp://x", "must begin with file:// or s3://"),
        ("RESULTS_RATE_LIMIT", "fast", "such as 100/second, or off"),
    ],
)
async def test_a_wrong_setting_is_named(setting: str, value: str, said: str) -> None:
    for command in (("organizations", "list"), ("consume",)):
        code, _, err = await run("", *command, **{setting: value})
        assert (code, err.startswith(f"Error: {setting}: ")) == (1, True), err
        assert said in err
