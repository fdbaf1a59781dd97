"""The command line at a terminal: its help fits, and each error is one line that explains the fix."""

import asyncio
import json
import os
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from io import StringIO

import click
import pytest
from click.testing import CliRunner

from service.cli import cli
from service.client.__main__ import client
from service.command_line import confirm, escape_line, print_line, run_command
from service.domain.errors import InvalidRequest
from tests.databases import empty_database, with_database

HOSTILE = "run \x1b[2J\u202e not found"
SERVER = ("--url", "http://127.0.0.1:9", "--key", "zof_1")


def all_commands(
    command: click.Command, words: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield each command with the words that select it."""
    yield words, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            subcommand = command.get_command(context, name)
            assert subcommand is not None
            yield from all_commands(subcommand, (*words, name))


@pytest.mark.parametrize("root", [cli, client], ids=["zof-results", "client"])
def test_help_fits_a_terminal_and_is_complete(root: click.Command) -> None:
    for words, command in all_commands(root):
        for option, width in (("-h", 80), ("--help", 120)):
            result = CliRunner(env={"COLUMNS": str(width)}).invoke(root, [*words, option])
            assert result.exit_code == 0, result.output
            assert max(map(len, result.stdout.splitlines())) <= width
            assert "..." not in result.stdout.partition("Commands:")[2], words
        options = [param for param in command.params if isinstance(param, click.Option) and param.name != "version"]
        assert [option.name for option in options if option.name != "help" and not option.help] == []
        assert command.help


def test_printed_line_cannot_control_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    text = "Zoë\x1b[2J\x9b1A\r\n\u2028\u202e\u2066🐍\t\x7f"
    print_line(text)
    shown = r"Zoë\u001b[2J\u009b1A\u000d\u000a\u2028\u202e\u2066🐍\u0009\u007f"
    assert capsys.readouterr().out == f"{shown}\n"
    assert json.loads(escape_line(json.dumps(text, ensure_ascii=False))) == text


@pytest.mark.parametrize("error", [click.ClickException(HOSTILE), click.UsageError(HOSTILE), InvalidRequest(HOSTILE)])
def test_error_cannot_control_the_terminal(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    @click.command()
    def fail() -> None:
        raise error

    with pytest.raises(SystemExit):
        run_command(fail, "fail", [])
    err = capsys.readouterr().err
    assert "\\u202e not found" in err
    assert not {"\x1b", "\u202e"} & set(err)


@pytest.mark.parametrize(
    ("variables", "is_colored"),
    [
        ({}, False),
        ({"FORCE_COLOR": "1"}, True),
        ({"FORCE_COLOR": ""}, False),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
    ],
)
def test_variables_choose_colors(
    variables: dict[str, str], is_colored: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.setenv(name, variables.get(name, ""))
    print_line("blocked", fg="red")
    assert capsys.readouterr().out == ("\x1b[31mblocked\x1b[0m\n" if is_colored else "blocked\n")


def test_no_color_applies_to_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    print_line("a", fg="red")
    monkeypatch.setenv("NO_COLOR", "1")
    print_line("b", fg="red")
    assert terminal.getvalue() == "\x1b[31ma\x1b[0m\nb\n"


class Terminal(StringIO):
    """A terminal at which a user has entered the text."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("entered", "is_confirmed"), [("y\n", True), ("n\n", False), ("\n", False)])
def test_confirmation_is_asked_on_a_terminal(
    entered: str, is_confirmed: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(entered))
    with nullcontext() if is_confirmed else pytest.raises(click.ClickException, match="not confirmed"):
        confirm(f"Delete {HOSTILE}?", is_confirmed=False)
    printed = "".join(capsys.readouterr())
    assert "Delete run \\u001b[2J\\u202e not found? [y/N]: " in printed


def test_confirmation_without_a_terminal_needs_the_option(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", StringIO("y\n"))
    confirm("Delete?", is_confirmed=True)
    with pytest.raises(click.UsageError, match="--yes: is required"):
        confirm("Delete?", is_confirmed=False)
    discard = CliRunner().invoke(cli, ["dead-letters", "discard", "--all"])
    assert (discard.exit_code, "--yes: is required" in discard.stderr) == (2, True)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script_is_printed(shell: str) -> None:
    result = CliRunner(env={"_ZOF_RESULTS_COMPLETE": f"{shell}_source"}).invoke(cli, prog_name="zof-results")
    assert result.exit_code == 0, result.output
    assert f"_ZOF_RESULTS_COMPLETE={shell}_complete" in result.stdout


def test_names_of_commands_and_options_are_completed() -> None:
    for words, expected in (("zof-results qu", "quarantines"), ("zof-results runs list --pull", "--pull-request")):
        environment = {
            "_ZOF_RESULTS_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" ")),
        }  # fmt: skip
        result = CliRunner(env=environment).invoke(cli, prog_name="zof-results")
        assert result.stdout == f"plain,{expected}\n"


def test_help_of_consume_and_dead_letters_is_complete() -> None:
    consume = CliRunner().invoke(cli, ["consume", "--help"], prog_name="zof-results").stdout
    assert consume.startswith("Usage: zof-results consume ")
    assert all(role in consume for role in ("runs", "reports", "exports", "webhooks", "relay", "upkeep"))
    dead_letters = CliRunner().invoke(cli, ["dead-letters", "--help"], prog_name="zof-results").stdout
    assert dead_letters.startswith("Usage: zof-results dead-letters ")
    assert all(name in dead_letters for name in ("list", "show", "replay", "discard"))


@pytest.mark.slow
async def test_other_commands_do_not_import_the_consumers() -> None:
    code = "import sys, service.cli; sys.exit('aio_pika' in sys.modules or 'httpx' in sys.modules)"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code)
    assert await process.wait() == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "usage"), [(["runs"], "consume"), (["dead-letters", "list"], "dead-letters list")]
)
async def test_python_m_consumers_names_the_public_command(arguments: list[str], usage: str) -> None:
    command = (sys.executable, "-m", "consumers", *arguments, "--help")
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    assert process.returncode == 0
    assert out.decode().startswith(f"Usage: zof-results {usage} ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["organizations", "create", "Bad Slug!"],
            "'Bad Slug!' must be 1 to 63 lowercase letters, digits, and hyphens",
        ),
        (["organizations", "create", "a-"], "must not start or end with a hyphen"),
        (["organizations", "create", "a" * 64], "must be 1 to 63"),
        (["organizations", "create", ""], "must be 1 to 63"),
        (["organizations", "create", "a", "--name", ""], "'--name': '' must not be empty"),
        (["keys", "create", "--organization", "X", "--role", "viewer"], "'--organization': 'X' must be 1 to 63"),
        (["keys", "create", "--organization", "a", "--role", "viewer", "--name", "x" * 201], "at most 200 characters"),
        (["keys", "create", "--organization", "a", "--role", "viewer", "--project", ""], "must not be empty"),
        (
            ["keys", "create", "--organization", "a", "--role", "viewer", "--expires-in-days", "99999"],
            "must be an integer",
        ),
        (["gate", *SERVER, "--run-id", ""], "must not be empty"),
        (["gate", *SERVER, "--run-id", ".."], "must not be . or .."),
        (["gate", *SERVER, "--run-id", "x", "--url", "results"], "must be a URL such as https://"),
        (["gate", *SERVER, "--run-id", "x", "--key", "zof 1"], "must be an API key"),
        (["tail", *SERVER, "--type", "run.complete"], "'run.complete' is not supported. Did you mean 'run.completed'?"),
        (["tail", *SERVER, "--type", "deployment"], "'deployment' is not one of 'run.completed', "),
        (["webhooks", "create", "https://h", *SERVER, "--event", "run.fail"], "Did you mean 'run.failed'?"),
        (["webhooks", "create", "https://h", *SERVER, "--event", "every"], "'every' is not one of 'all', "),
        (["runs", "list", *SERVER, "--limit", "many"], "'many' must be an integer of at least 1"),
        (["report", *SERVER, "a.xml", "--project", ""], "must not be empty"),
        (["report", *SERVER, "a.xml", "--project", "p", "--shard", "3/2"], "must be i/n"),
        (["report", *SERVER, "a.xml", "--project", "p", "--label", "x"], "must be name:value"),
        (["report", *SERVER, "a.xml", "--project", "p", "--variant", "linux"], "must be key:value"),
        (["export", *SERVER, "-o", "nowhere/a.csv"], "must be a file in an existing folder"),
        (["export", *SERVER, "-o", "a.csv", "--from", "yesterday"], "must be a date or an RFC 3339 time"),
        (["export", *SERVER, "-o", "a.csv", "--case", "tc_1"], "must be case_ followed by 16 hex digits"),
        (["export", *SERVER, "-o", "a.csv", "--suite", "auth"], "--suite requires --run-id"),
        (
            ["export", *SERVER, "-o", "a.csv", "--export-id", "exp_1", "--branch", "main"],
            "--export-id: allows only",
        ),
    ],
    ids=lambda value: " ".join(value)[:80] if isinstance(value, list) else "",
)
def test_invalid_argument_is_named_with_the_valid_values(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.delenv("RESULTS_DATABASE_URL", raising=False)
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == (3 if arguments[0] == "gate" else 2), result.output
    assert message in result.stderr


def test_invalid_key_is_not_printed() -> None:
    assert "secret" not in CliRunner().invoke(cli, ["tail", "--url", "http://h", "--key", "zof_secret\n"]).stderr


async def run(database_url: str, *arguments: str, **settings: str) -> tuple[int, str, str]:
    """Return the exit code, stdout, and stderr. A process that doesn't exit is killed after 30 s."""
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
    """A database URL that stays unusable, so a retry is pointless."""
    with empty_database(postgres_url) as empty:
        scheme, _, rest = postgres_url.partition("://")
        yield {
            "no schema": empty,
            "no database": with_database(postgres_url, "not_there"),
            "no such user": f"{scheme}://unknown_user:wrong@{rest.rpartition('@')[2]}",
            "no address": "results.example.org",
            "no port": "postgresql://user:pass/word@localhost/results",
            "not set": "",
        }[request.param]


COMMANDS = (("organizations", "list"), ("dead-letters", "list"), ("api",), ("consume", "runs"))
MESSAGES = {
    "no schema": "zof-results schema apply",
    "no database": 'RESULTS_DATABASE_URL: the database doesn\'t exist: database "not_there" does not exist',
    "no such user": "RESULTS_DATABASE_URL: the database rejects the user or password",
    "no address": "RESULTS_DATABASE_URL: must start with postgresql://",
    "no port": "RESULTS_DATABASE_URL: has an invalid port",
    "not set": "RESULTS_DATABASE_URL: is required, for example postgresql://",
}


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize(("unusable", "message"), MESSAGES.items(), indirect=["unusable"], ids=MESSAGES)
async def test_unusable_database_is_a_one_line_error(unusable: str, message: str, command: tuple[str, ...]) -> None:
    code, out, err = await run(unusable, *command, RESULTS_HTTP_PORT="0", RESULTS_SCHEMA_WAIT_S="0")
    assert (code, out) == (1, "")
    assert err.startswith("Error: ")
    assert message in err
    assert len(err.splitlines()) == 1


@pytest.mark.slow
@pytest.mark.parametrize("command", [("organizations", "list"), ("schema", "apply"), ("dead-letters", "list")])
async def test_unreachable_database_is_a_one_line_error(command: tuple[str, ...]) -> None:
    code, _, err = await run("postgresql://127.0.0.1:9/results", *command)
    assert code == 1
    assert err.startswith("Error: the database doesn't respond (Connect")
    assert err.endswith("RESULTS_DATABASE_URL is correct.\n")


@pytest.mark.slow
async def test_unreachable_broker_is_a_one_line_error(database_url: str) -> None:
    code, _, err = await run(database_url, "dead-letters", "list", RESULTS_AMQP_URL="amqp://127.0.0.1:9/")
    assert code == 1
    assert err.startswith("Error: RESULTS_AMQP_URL: can't connect to RabbitMQ (")
    assert len(err.splitlines()) == 1


@pytest.mark.slow
@pytest.mark.parametrize("command", [("api",), ("consume", "runs")], ids=" ".join)
async def test_servers_warn_and_wait_if_the_database_is_unreachable(command: tuple[str, ...]) -> None:
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
    ("setting", "value", "message"),
    [
        ("RESULTS_HTTP_PORT", "http", "must be an integer"),
        ("RESULTS_LOG_LEVEL", "loud", "must be 'debug', 'info', 'warning' or 'error'"),
        ("RESULTS_AMQP_URL", "localhost", "must start with amqp:// or amqps://"),
        ("RESULTS_ARTIFACTS_URL", "ftp://x", "must start with file:// or s3://"),
        ("RESULTS_RATE_LIMIT", "fast", "such as 100/second, or off"),
    ],
)
async def test_invalid_setting_is_named(setting: str, value: str, message: str) -> None:
    for command in (("organizations", "list"), ("consume",)):
        code, _, err = await run("", *command, **{setting: value})
        assert (code, err.startswith(f"Error: {setting}: ")) == (1, True), err
        assert message in err
