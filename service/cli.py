"""The `zof-results` command, which composes the API, the consumers, the client, and the commands of operators."""

import asyncio
from typing import Final

import click

from service import log
from service.administration.operator_commands import ADMINISTRATION_COMMANDS, encrypt_webhook_secrets
from service.client.commands.webhooks import webhooks
from service.client.user_commands import USER_COMMANDS
from service.command_line import CONTEXT, IntegerRange, print_warnings, run_command, version_option
from service.mcp.command import mcp
from service.processes import wait_for_schema
from service.settings import Settings, names_in_use, read_settings, unknown_variables
from service.stopping import Stopped, stop_on_signals

_CONSUMER_COMMANDS: Final = ("consume", "dead-letters")


class _RootGroup(click.Group):
    """The root group, which imports the consumers only when one of their commands is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted((*super().list_commands(ctx), *_CONSUMER_COMMANDS))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _CONSUMER_COMMANDS:
            return super().get_command(ctx, cmd_name)
        from consumers.consumer_commands import consume, dead_letters

        return consume if cmd_name == "consume" else dead_letters


def with_command(group: click.Group, command: click.Command) -> click.Group:
    """Return a group that also contains the command."""
    commands = {**group.commands, str(command.name): command}
    return click.Group(group.name, commands, help=group.help, context_settings=group.context_settings)


@click.group(cls=_RootGroup, context_settings=CONTEXT)
@version_option
def cli() -> None:
    """Store and query the results of validation runs.

    Operators set RESULTS_DATABASE_URL, RESULTS_AMQP_URL, and the other settings of docs/reference/settings.md. Users of
    `report`, `gate`, `comment`, `promote`, `export`, `backtest`, `tail`, `mcp`, and the commands that list and change
    runs, cases, gates, quarantines, projects, and webhooks set RESULTS_URL and RESULTS_API_KEY. Without a key, a CI job
    uses its ID token.

    Exit codes: 0 for success, 1 for an error, 2 if an option is invalid, and 130 after Ctrl-C. The help of `gate`,
    `comment`, `report`, and `export` describes their codes.
    """


for command in (*USER_COMMANDS, mcp, *ADMINISTRATION_COMMANDS):
    cli.add_command(command)
cli.add_command(with_command(webhooks, encrypt_webhook_secrets))


@cli.command()
@click.option(
    "--processes", default=1, show_default=True, type=IntegerRange(1, 64), metavar="N",
    help="Number of processes that share the port.",
)  # fmt: skip
def api(processes: int) -> None:
    """Serve the Results API over HTTP until SIGTERM or Ctrl-C.

    If there are several processes, one that crashes is restarted. Each process has its own pool of
    RESULTS_DATABASE_POOL_SIZE connections and counts rate limits separately unless RESULTS_RATE_LIMIT_URL is set. Each
    process returns the /metrics of all processes.
    """
    from service.api.server import main as serve
    from service.app import make_app

    settings = read_settings()
    log.set_up(settings.log_level)
    log.log_unknown_settings(unknown_variables(names_in_use()))
    try:
        asyncio.run(_wait_for_schema(settings))
    except Stopped:
        return
    serve.run(settings, make_app, processes)


async def _wait_for_schema(settings: Settings) -> None:
    await wait_for_schema(settings, "results_api", stop_on_signals())


@cli.command()
@click.option("--without-rabbitmq", is_flag=True, help="Use the embedded queue even if RabbitMQ is installed.")
def dev(without_rabbitmq: bool) -> None:
    """Run the complete stack on this machine until Ctrl-C.

    The stack consists of PostgreSQL, RabbitMQ, the API, and the consumers. It has demo data. When it is ready, the
    command prints example commands. PostgreSQL comes from the extra `stack`: pip install 'zof-results[stack]', or
    uvx --from 'zof-results[stack]' zof-results dev. Without RabbitMQ, the stack uses the embedded queue.

    All data is in the folder RESULTS_DEV_DIR, by default .dev in the current folder, and stays there for the next
    start. To delete the data, stop the stack and delete the folder. For root, PostgreSQL can have a second folder,
    which the command prints. RESULTS_HTTP_PORT selects the port of the API, which must be free.
    """
    from service.dev import stack

    print_warnings(unknown_variables(names_in_use()))
    stack.run(read_settings(), with_rabbitmq=not without_rabbitmq)


def main() -> None:
    """Run the command."""
    run_command(cli, "zof-results")
