"""The demo organization of the local stack and its admin key."""

import asyncio
from pathlib import Path
from typing import Final

from service.resources import database_connection, database_url
from service.settings import Settings
from service.store import organizations
from service.store.postgres import migrations
from service.usecases.administration.keys import create_key

ORGANIZATION: Final = "demo"


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
        found = await organizations.find_by_slugs(connection, [ORGANIZATION])
        if ORGANIZATION in found and known_key:
            return known_key
        org_id = found.get(ORGANIZATION) or await organizations.create(connection, ORGANIZATION, "Demo")
        return (await create_key(connection, org_id, "local stack", "admin")).key
