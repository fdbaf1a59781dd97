"""`python -m consumers [ROLE…]` runs the consumers; `python -m consumers dead-letters …` keeps what they can't take."""

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
from service.commands import CONTEXT, run_command
from service.domain.queues import ConsumerRole
from service.resources import database_connection
from service.settings import read_settings

_HELD: Final = 1_000  # letters that one command looks at


@click.command(context_settings=CONTEXT)
@click.argument("roles", nargs=-1, type=click.Choice(tuple(ROLES)))
def consume(roles: tuple[ConsumerRole, ...]) -> None:
    """Takes messages into the store until SIGTERM or Ctrl-C.

    This process does the work of the roles that are named, or of all. Any number of processes may share one.
    """
    process.run(read_settings(), roles or tuple(ROLES))


@click.group(context_settings=CONTEXT)
def dead_letters() -> None:
    """What could not be taken, with the reason.

    They stay until someone has them replayed or discards them. With RESULTS_AMQP_URL these are the broker's, without it
    those of the queue embedded in the database.
    """


@dead_letters.command("list")
@click.option(
    "--limit", default=100, show_default=True, type=click.IntRange(1, _HELD), metavar="N",
    help="So many at most.",
)  # fmt: skip
def list_letters(limit: int) -> None:
    """Lists the dead letters, oldest first.

    Each with its id, queue, when it came here, size in bytes, and reason.
    """

    async def show(graveyard: DeadLetterStore) -> None:
        letters = await graveyard.list_oldest(limit)
        for letter in letters:
            click.echo(
                f"{letter.id}  {letter.queue}  {letter.dead_lettered_at or '-':25}  {len(letter.body):>9}"
                f"  {letter.reason}: {letter.message}"
            )
        click.echo(f"dead letters: {len(letters)}", err=True)

    _run(show)


@dead_letters.command()
@click.argument("letter_id")
def show(letter_id: str) -> None:
    """Prints one dead letter.

    The body goes to stdout, byte for byte, the reason to stderr.
    """

    async def print_body(graveyard: DeadLetterStore) -> None:
        for letter in _chosen(await graveyard.list_oldest(_HELD), (letter_id,), everything=False)[:1]:
            click.echo(f"{letter.reason}: {letter.message}", err=True)
            sys.stdout.buffer.write(letter.body + b"\n")

    _run(print_body)


@dead_letters.command()
@click.argument("letter_ids", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every dead letter instead of named ones.")
def replay(letter_ids: tuple[str, ...], everything: bool) -> None:
    """Sends dead letters on their way once more.

    Those that fail again come back here.
    """

    async def send(graveyard: DeadLetterStore) -> None:
        chosen = _chosen(await graveyard.list_oldest(_HELD), letter_ids, everything)
        for letter in chosen:
            await graveyard.replay(letter)
        click.echo(f"replayed {len(chosen)}", err=True)

    _run(send)


@dead_letters.command()
@click.argument("letter_ids", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every dead letter instead of named ones.")
def discard(letter_ids: tuple[str, ...], everything: bool) -> None:
    """Deletes dead letters for good."""

    async def delete(graveyard: DeadLetterStore) -> None:
        chosen = _chosen(await graveyard.list_oldest(_HELD), letter_ids, everything)
        for letter in chosen:
            await graveyard.discard(letter)
        click.echo(f"discarded {len(chosen)}", err=True)

    _run(delete)


def _chosen(letters: Sequence[DeadLetter], wanted: tuple[str, ...], everything: bool) -> Sequence[DeadLetter]:
    """The letters of these ids, or all. An id that is not there ends the command before anything is done."""
    if everything:
        return letters
    if not wanted:
        raise click.UsageError("name the ids that `dead-letters list` shows, or say --all")
    missing = set(wanted) - {letter.id for letter in letters}
    if missing:
        raise click.ClickException(f"no such dead letter: {', '.join(sorted(missing))}")
    return [letter for letter in letters if letter.id in wanted]


def _run(work: Callable[[DeadLetterStore], Awaitable[None]]) -> None:
    settings = read_settings()
    logging.disable()  # what the driver of the broker complains of is told in our own words

    async def hold() -> None:
        if settings.amqp_url:
            async with open_dead_letters(settings.amqp_url, Topology(settings.queue_prefix)) as graveyard:
                return await work(graveyard)
        async with database_connection(settings, "results_worker") as connection:
            return await work(EmbeddedDeadLetters(connection))

    asyncio.run(hold())


def main() -> None:
    """Chooses by the first word."""
    if sys.argv[1:2] == ["dead-letters"]:
        run_command(dead_letters, "zof-results dead-letters", sys.argv[2:])
    run_command(consume, "zof-results consume", sys.argv[1:])


if __name__ == "__main__":
    main()
