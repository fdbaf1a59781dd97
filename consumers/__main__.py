"""`python -m consumers [ROLE…]` runs the consumers; `python -m consumers dead-letters …` keeps what they can't take."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import click

from consumers import process
from consumers.dead_letters import DeadLetter, Graveyard, open_graveyard, open_store_graveyard
from consumers.roles import ROLES, Role
from consumers.topology import Topology
from service.domain.errors import ServiceError
from service.resources import database_pool
from service.settings import Settings

_HELD: Final = 1_000  # letters that one command looks at


@click.command()
@click.argument("roles", nargs=-1, type=click.Choice(tuple(ROLES)))
def consume(roles: tuple[Role, ...]) -> None:
    """Runs the consumers of these ROLES, all of them by default, until SIGTERM or Ctrl-C."""
    process.run(Settings(), roles or tuple(ROLES))


@click.group()
def dead_letters() -> None:
    """What could not be taken, with the reason: list, show, replay, discard."""


@dead_letters.command("list")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1, _HELD))
def list_letters(limit: int) -> None:
    """Lists the oldest dead letters: id, queue, when, size in bytes, reason."""

    async def show(graveyard: Graveyard) -> None:
        letters = await graveyard.letters(limit)
        for letter in letters:
            click.echo(
                f"{letter.id}  {letter.queue}  {letter.buried_at or '-':25}  {len(letter.body):>9}"
                f"  {letter.reason}: {letter.message}"
            )
        click.echo(f"dead letters: {len(letters)}", err=True)

    _run(show)


@dead_letters.command()
@click.argument("letter_id")
def show(letter_id: str) -> None:
    """Prints the reason to stderr and the body, byte for byte, to stdout."""

    async def print_body(graveyard: Graveyard) -> None:
        for letter in _chosen(await graveyard.letters(_HELD), (letter_id,), everything=False)[:1]:
            click.echo(f"{letter.reason}: {letter.message}", err=True)
            sys.stdout.buffer.write(letter.body + b"\n")

    _run(print_body)


@dead_letters.command()
@click.argument("letter_ids", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every dead letter instead of named ones.")
def replay(letter_ids: tuple[str, ...], everything: bool) -> None:
    """Sends these dead letters on their way once more; those that fail again come back here."""

    async def send(graveyard: Graveyard) -> None:
        chosen = _chosen(await graveyard.letters(_HELD), letter_ids, everything)
        for letter in chosen:
            await graveyard.replay(letter)
        click.echo(f"replayed {len(chosen)}", err=True)

    _run(send)


@dead_letters.command()
@click.argument("letter_ids", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every dead letter instead of named ones.")
def discard(letter_ids: tuple[str, ...], everything: bool) -> None:
    """Deletes these dead letters for good."""

    async def delete(graveyard: Graveyard) -> None:
        chosen = _chosen(await graveyard.letters(_HELD), letter_ids, everything)
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


def _run(work: Callable[[Graveyard], Awaitable[None]]) -> None:
    settings = Settings()

    async def hold() -> None:
        if settings.amqp_url:
            async with open_graveyard(settings.amqp_url, Topology(settings.queue_prefix)) as graveyard:
                return await work(graveyard)
        async with database_pool(settings, "results_worker") as pool, open_store_graveyard(pool) as stored:
            return await work(stored)

    asyncio.run(hold())


def main() -> None:
    """Chooses by the first word, and turns our own errors into a line that says what to do."""
    command = dead_letters if sys.argv[1:2] == ["dead-letters"] else consume
    arguments = sys.argv[2:] if command is dead_letters else sys.argv[1:]
    try:
        command.main(arguments, prog_name=f"python -m consumers{' dead-letters' if command is dead_letters else ''}")
    except ServiceError as error:
        raise SystemExit(f"Error: {error}") from error


if __name__ == "__main__":
    main()
