"""Complete deletion of an organization, in steps that a later call continues after an interruption."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from service.database.database import Connection
from service.database.errors import is_conflict
from service.domain.errors import NotFound
from service.domain.ids import OrgId
from service.log import log
from service.organizations import store as organizations_store
from service.retention import organization_store
from service.retries import with_retries
from service.storage import Storage, organization_prefixes

_MAX_ROWS: Final = 5_000  # per transaction
_KEY_CACHE_S: Final = 5.0  # until every process rejects the keys
_LOCK_DELAYS_S: Final = (0.5,) * 20
_CONCURRENT_DELETIONS: Final = 50


class OrganizationDeletion:
    """The deletion of one organization. `owner` owns the partitions, and `worker` can delete all other rows."""

    def __init__(self, worker: Connection, owner: Connection, storage: Storage) -> None:
        self._worker = worker
        self._owner = owner
        self._storage = storage

    async def run(self, slug: str) -> None:
        """Delete all rows and files of the organization. Raises NotFound.

        First, events and keys no longer find the organization. Then its rows and files are deleted while the
        organization still exists, so that a later call can continue. The organization is locked and deleted last. If
        an organization with the same slug was created after an interruption, the call only finishes the interrupted
        deletion.
        """
        org_id = await _find(self._worker, slug)
        await with_retries(partial(organization_store.close, self._worker, org_id), is_conflict, _LOCK_DELAYS_S)
        await asyncio.sleep(_KEY_CACHE_S)
        await self._delete_rows(org_id)
        await _delete_files(self._storage, org_id)
        await with_retries(partial(self._finish, org_id), is_conflict, _LOCK_DELAYS_S)
        await _delete_files(self._storage, org_id)  # of uploads that were in progress
        log.info("organization_deleted", organization=slug, org_id=org_id)

    async def _finish(self, org_id: OrgId) -> None:
        """Delete the organization, with the rows that transactions in progress have inserted since the last step."""
        async with self._worker.transaction():
            await organization_store.lock(self._worker, org_id)
            await self._delete_rows(org_id)
            await organization_store.delete_organization(self._worker, org_id)

    async def _delete_rows(self, org_id: OrgId) -> None:
        for connection, of_partitions in ((self._owner, True), (self._worker, False)):
            for statement in await organization_store.find_statements(
                connection, _MAX_ROWS, of_partitions=of_partitions
            ):
                delete = partial(organization_store.delete_some, connection, statement, org_id)
                while await _delete_with_retries(connection, delete):
                    pass


async def _find(worker: Connection, slug: str) -> OrgId:
    closed = slug + organization_store.CLOSED_SUFFIX
    found = await organizations_store.find_by_slugs(worker, [slug, closed])
    if not found:
        raise NotFound(f"organization {slug!r} not found")
    return found.get(closed) or found[slug]


async def _delete_with_retries(connection: Connection, delete: Callable[[], Awaitable[int]]) -> int:
    """Delete rows that another transaction might have locked. In a transaction, only the caller can retry."""
    delays_s = () if connection.is_in_transaction() else _LOCK_DELAYS_S
    return await with_retries(delete, is_conflict, delays_s)


async def _delete_files(storage: Storage, org_id: OrgId) -> None:
    for prefix in organization_prefixes(org_id):
        async for paths in storage.list_all(prefix):
            while paths:
                chunk = [paths.pop() for _ in range(min(len(paths), _CONCURRENT_DELETIONS))]
                await asyncio.gather(*map(storage.delete, chunk))
