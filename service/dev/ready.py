"""What other programs need to use the local stack: its API key, and ready.json with its addresses."""

import asyncio
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from service.database import migrations
from service.identity.keys.operations import create_key
from service.organizations import store as organizations_store
from service.processes import database_connection, database_url
from service.settings import Settings

ORGANIZATION: Final = "demo"


@dataclass(frozen=True)
class Processes:
    """Process IDs by component; None if the component is external or waits for its restart."""

    api: list[int]
    consumers: list[int]
    postgres: int | None
    rabbitmq: int | None


@dataclass(frozen=True)
class Ready:
    """The content of ready.json, which exists only while the stack runs.

    Addresses stay the same in this time, but process IDs change at a restart. `amqp_url` is None if the stack uses the
    embedded queue.
    """

    pid: int
    api_url: str
    api_key: str
    amqp_url: str | None
    database_url: str
    artifacts_url: str
    processes: Processes


def write(file: Path, ready: Ready) -> None:
    """Replace the file atomically. Only its owner can read it, because it contains a key and passwords."""
    unfinished = file.with_suffix(".new")
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        json.dump(asdict(ready), stream, indent=2)
    unfinished.replace(file)


def load_or_create_key(settings: Settings, file: Path) -> str:
    """Apply the schema and return the admin key stored in `file`; create organization and key if they are missing."""
    known = file.read_text().strip() if file.exists() else None
    key = asyncio.run(_set_up(settings, known))
    file.touch(mode=0o600)
    file.write_text(f"{key}\n")
    return key


async def _set_up(settings: Settings, known_key: str | None) -> str:
    await migrations.apply(database_url(settings))
    async with database_connection(settings, "results_worker") as connection:
        found = await organizations_store.find_by_slugs(connection, [ORGANIZATION])
        if ORGANIZATION in found and known_key:
            return known_key
        org_id = found.get(ORGANIZATION) or await organizations_store.create(connection, ORGANIZATION, "Demo")
        return (await create_key(connection, org_id, "local stack", "admin")).key
