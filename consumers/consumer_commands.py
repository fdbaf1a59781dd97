"""The command line of the consumers: `consume` and `dead-letters`."""

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import click

from consumers import process
from consumers.dead_letters import DeadLetter, DeadLetterStore, EmbeddedDeadLetters, open_dead_letters
from consumers.roles import ROLES
from consumers.topology import Topology
from service.command_line import CONTEXT, IntegerRange, NameChoice, confirm, print_line, print_warnings
from service.processes import database_connection
from service.settings import names_in_use, read_settings, unknown_variables
from service.tasks.model import ConsumerRole

_MAX_DEAD_LETTERS: Final = 1_000  # that one command reads


@click.command(context_settings=CONTEXT)
@click.argument("roles", nargs=-1, type=NameChoice(tuple(ROLES)))
def consume(roles: tuple[ConsumerRole, ...]) -> None:
    """Process messages and jobs until SIGTERM or Ctrl-C.

    The process performs the given roles, or all roles if none is given. Any number of processes can perform the same
    role.
    """
    process.run(read_settings(), roles or tuple(ROLES))


@click.group("dead-letters", context_settings=CONTEXT)
def dead_letters() -> None:
    """List, show, replay, and discard dead letters.

    A dead letter is a message that the service can't process. It stays until an operator replays or discards it. The
    dead letters are in RabbitMQ if RESULTS_AMQP_URL is set, otherwise in the embedded queue.
    """


@dead_letters.command("list")
@click.option(
    "--limit", default=100, show_default=True, type=IntegerRange(1, _MAX_DEAD_LETTERS), metavar="N",
    help="Maximum number of dead letters.",
)  # fmt: skip
def list_dead_letters(limit: int) -> None:
    """List the dead letters, oldest first.

    Print the ID, queue, time, size in bytes, and reason of each one.
    """

    async def show(store: DeadLetterStore) -> None:
        found = await store.list_oldest(limit)
        for message in found:
            print_line(
                f"{message.id}  {message.queue}  {message.dead_lettered_at or '-':25}  {len(message.body):>9}"
                f"  {_describe(message)}"
            )
        print_line(f"dead letters: {len(found)}", err=True)

    _run(show)


@dead_letters.command()
@click.argument("dead_letter_id")
def show(dead_letter_id: str) -> None:
    """Print one dead letter.

    The unmodified body goes to stdout, the reason to stderr.
    """

    async def print_body(store: DeadLetterStore) -> None:
        message = _select(await store.list_oldest(_MAX_DEAD_LETTERS), (dead_letter_id,), select_all=False)[0]
        print_line(_describe(message), err=True)
        sys.stdout.buffer.write(message.body + b"\n")

    _run(print_body)


@dead_letters.command()
@click.argument("dead_letter_ids", nargs=-1)
@click.option("--all", "select_all", is_flag=True, help=f"Replay every dead letter, at most {_MAX_DEAD_LETTERS}.")
def replay(dead_letter_ids: tuple[str, ...], select_all: bool) -> None:
    """Publish dead letters to their original queues again.

    A message that fails again becomes a dead letter again.
    """
    _change(dead_letter_ids, select_all, "replayed", lambda store, message: store.replay(message))


@dead_letters.command()
@click.argument("dead_letter_ids", nargs=-1)
@click.option("--all", "select_all", is_flag=True, help=f"Discard every dead letter, at most {_MAX_DEAD_LETTERS}.")
@click.option("--yes", "is_confirmed", is_flag=True, help="Don't ask for confirmation of --all.")
def discard(dead_letter_ids: tuple[str, ...], select_all: bool, is_confirmed: bool) -> None:
    """Delete dead letters permanently.

    --all asks for confirmation on a terminal. Without a terminal, it needs --yes.
    """
    if select_all:
        confirm(f"Delete all dead letters, at most {_MAX_DEAD_LETTERS}, permanently?", is_confirmed=is_confirmed)
    _change(dead_letter_ids, select_all, "discarded", lambda store, message: store.discard(message))


def _change(
    ids: tuple[str, ...], select_all: bool, done: str, change: Callable[[DeadLetterStore, DeadLetter], Awaitable[None]]
) -> None:
    """Apply the change to the selected dead letters, and print their number."""

    async def run(store: DeadLetterStore) -> None:
        selected = _select(await store.list_oldest(_MAX_DEAD_LETTERS), ids, select_all)
        for message in selected:
            await change(store, message)
        print_line(f"{done} {len(selected)}", err=True)
        if select_all and len(selected) == _MAX_DEAD_LETTERS:
            print_line(
                f"one command changes at most {_MAX_DEAD_LETTERS}: run `dead-letters list` for the rest", err=True
            )

    _run(run)


def _describe(message: DeadLetter) -> str:
    """Return the reason of a dead letter, and the names of the properties and headers that can't be read."""
    undecodable = f" (unreadable properties: {message.undecodable})" if message.undecodable else ""
    return f"{message.reason}: {message.message}{undecodable}"


def _select(found: Sequence[DeadLetter], ids: tuple[str, ...], select_all: bool) -> Sequence[DeadLetter]:
    """Return the dead letters with these IDs, or all. Raises an error for an unknown ID before anything is changed."""
    if select_all:
        return found
    if not ids:
        raise click.UsageError("specify IDs that `zof-results dead-letters list` prints, or --all")
    missing = set(ids) - {message.id for message in found}
    if missing:
        raise click.ClickException(f"dead letters not found: {', '.join(sorted(missing))}")
    return [message for message in found if message.id in ids]


def _run(work: Callable[[DeadLetterStore], Awaitable[None]]) -> None:
    print_warnings(unknown_variables(names_in_use()))
    settings = read_settings()
    logging.disable()  # this command reports the errors that the broker's driver logs

    async def run() -> None:
        if settings.amqp_url:
            async with open_dead_letters(settings.amqp_url, Topology(settings.queue_prefix)) as store:
                return await work(store)
        async with database_connection(settings, "results_worker") as connection:
            return await work(EmbeddedDeadLetters(connection))

    asyncio.run(run())
