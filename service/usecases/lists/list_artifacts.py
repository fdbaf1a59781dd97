"""The artifacts of a result or of a run: a page of the list, and the stored file of one of them."""

from typing import Final, NamedTuple

from service.contracts.queries import PageQuery
from service.domain.cursors import CursorCodec, Cursors, pack_bigint, unpack_bigint
from service.domain.errors import NotFound
from service.domain.ids import RUN_ITSELF, CaseKey, RunKey, parse_artifact_id, result_id
from service.domain.keys import Caller
from service.store import artifacts
from service.store.postgres.database import Pool, as_organization
from service.store.queries import artifacts as read_artifacts
from service.store.queries.artifacts import ArtifactPosition
from service.store.queries.runs import RunSelector
from service.usecases.lists.list_runs import ListPage

_CODEC: Final = CursorCodec[ArtifactPosition](
    lambda position: bytes([position.run_level]) + pack_bigint(position.artifact_key),
    lambda data: ArtifactPosition(data[:1] == b"\1", unpack_bigint(data[1:])),
)


class StoredFile(NamedTuple):
    """The file of an artifact in the storage of the service. `byte_offset` is that of a part of a file, else None."""

    path: str
    name: str
    content_type: str | None
    size: int
    sha256: bytes | None
    byte_offset: int | None


async def list_artifacts(
    pool: Pool, caller: Caller, key: tuple[RunKey, CaseKey], query: PageQuery, link_base: str
) -> ListPage | None:
    """Return artifacts of a result and the exports of its run, or None if the caller can't see the result.

    Raises InvalidRequest for a cursor of another list.
    """
    cursors = Cursors(_CODEC, "artifacts", caller.org_id, {"result": result_id(*key)})
    after = cursors.read(query.starting_after)
    async with as_organization(pool, caller.org_id) as connection:
        if not await read_artifacts.result_exists(connection, caller.org_id, key, caller.project_id):
            return None
        page = await read_artifacts.list_page(connection, caller.org_id, key, after, query.limit, link_base)
    return ListPage(page.data, cursors.write(page.next))


async def list_run_artifacts(
    pool: Pool, caller: Caller, selector: RunSelector, query: PageQuery, link_base: str
) -> ListPage | None:
    """Return artifacts of a run that belong to none of its results, or None if the caller can't see the run.

    Raises InvalidRequest for a cursor of another list.
    """
    cursors = Cursors(_CODEC, "artifacts", caller.org_id, {"run": selector.run_id})
    after = cursors.read(query.starting_after)
    async with as_organization(pool, caller.org_id) as connection:
        key = await read_artifacts.find_run_key(connection, caller.org_id, selector)
        if key is None:
            return None
        of_run = key, RUN_ITSELF
        page = await read_artifacts.list_page(connection, caller.org_id, of_run, after, query.limit, link_base)
    return ListPage(page.data, cursors.write(page.next))


async def find_file(pool: Pool, caller: Caller, artifact_id: str) -> StoredFile:
    """Return the stored file of an artifact. Raises NotFound, also if the file wasn't uploaded."""
    address, found = parse_artifact_id(artifact_id), None
    if address is not None:
        async with as_organization(pool, caller.org_id) as connection:
            found = await artifacts.find_one(connection, caller.org_id, address, caller.project_id)
    if found is None or found.path is None or found.size is None:
        raise NotFound(f"artifact {artifact_id[:100]!r} not found, or its file wasn't uploaded")
    return StoredFile(found.path, found.name, found.content_type, found.size, found.sha256, found.byte_offset)
