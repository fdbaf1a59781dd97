"""The artifacts of a result or of a run: a page of the list, and the stored file of one of them."""

from typing import Final, NamedTuple

from service.contracts.queries import PageQuery
from service.contracts.responses import Artifact
from service.domain.cursors import CursorCodec, Cursors, pack_bigint, unpack_bigint
from service.domain.errors import NotFound
from service.domain.ids import RUN_ITSELF, CaseKey, OrgId, RunKey, artifact_id, parse_artifact_id
from service.domain.keys import Caller
from service.store import artifacts
from service.store.postgres.database import Connection, Pool, as_organization
from service.store.queries import artifacts as read_artifacts
from service.store.queries.artifacts import ArtifactPosition, ReportFilePosition
from service.store.queries.pages import RowPage
from service.store.queries.runs import RunSelector
from service.usecases.lists.find_run import run_not_found, select_run
from service.usecases.lists.list_results import parse_result_key, result_not_found
from service.usecases.lists.pages import ListPage, read_page

_CODEC: Final = CursorCodec[ArtifactPosition](
    lambda position: bytes([position.run_level]) + pack_bigint(position.artifact_key),
    lambda data: ArtifactPosition(data[:1] == b"\1", unpack_bigint(data[1:])),
)
_FILE_CODEC: Final = CursorCodec[ReportFilePosition](
    lambda position: pack_bigint(position.case_key) + pack_bigint(position.artifact_key),
    lambda data: ReportFilePosition(unpack_bigint(data[:8]), unpack_bigint(data[8:])),
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
    pool: Pool, caller: Caller, result_id: str, query: PageQuery, link_base: str
) -> ListPage[Artifact]:
    """Return artifacts of a result and the exports of its run.

    Raises NotFound if the caller can't see the result, and InvalidRequest for a cursor of another list.
    """
    parse_result_key(result_id)

    async def read(connection: Connection, after: ArtifactPosition | None) -> RowPage[Artifact, ArtifactPosition]:
        key = await read_result_key(connection, caller, result_id)
        return await read_artifacts.list_page(connection, caller.org_id, key, after, query.limit, link_base)

    cursors = Cursors(_CODEC, "artifacts", caller.org_id, {"result": result_id})
    return await read_page(pool, caller, cursors, query.starting_after, read)


async def list_run_artifacts(
    pool: Pool, caller: Caller, run_id: str, query: PageQuery, link_base: str
) -> ListPage[Artifact]:
    """Return artifacts of a run that belong to none of its results.

    Raises NotFound if the caller can't see the run, and InvalidRequest for a cursor of another list.
    """
    selector = select_run(caller, run_id)

    async def read(connection: Connection, after: ArtifactPosition | None) -> RowPage[Artifact, ArtifactPosition]:
        key = await _find_run_key(connection, caller, selector)
        of_run = key, RUN_ITSELF
        return await read_artifacts.list_page(connection, caller.org_id, of_run, after, query.limit, link_base)

    cursors = Cursors(_CODEC, "artifacts", caller.org_id, {"run": run_id})
    return await read_page(pool, caller, cursors, query.starting_after, read)


async def list_report_files(
    pool: Pool, caller: Caller, run_id: str, receipt_id: str, query: PageQuery, link_base: str
) -> ListPage[Artifact]:
    """Return files that a report names, of the results of a run and of the run itself.

    Raises NotFound if the caller can't see the run, and InvalidRequest for a cursor of another list.
    """
    selector = select_run(caller, run_id)

    async def read(connection: Connection, after: ReportFilePosition | None) -> RowPage[Artifact, ReportFilePosition]:
        key = await _find_run_key(connection, caller, selector)
        return await read_artifacts.list_report_files(
            connection, caller.org_id, key, receipt_id, after, query.limit, link_base
        )

    cursors = Cursors(_FILE_CODEC, "artifacts", caller.org_id, {"run": run_id, "receipt": receipt_id})
    return await read_page(pool, caller, cursors, query.starting_after, read)


async def _find_run_key(connection: Connection, caller: Caller, selector: RunSelector) -> RunKey:
    """Return the key of a run. Raises NotFound if the caller can't see it."""
    key = await read_artifacts.find_run_key(connection, caller.org_id, selector)
    if key is None:
        raise run_not_found(selector.run_id)
    return key


async def read_result_key(connection: Connection, caller: Caller, result_id: str) -> tuple[RunKey, CaseKey]:
    """Return the key of a result. Raises NotFound if the caller can't see it."""
    key = parse_result_key(result_id)
    if not await read_artifacts.result_exists(connection, caller.org_id, key, caller.project_id):
        raise result_not_found(result_id)
    return key


async def read_artifact(
    connection: Connection, org_id: OrgId, address: tuple[RunKey, CaseKey, int], link_base: str
) -> Artifact:
    """Return one artifact. Raises NotFound."""
    artifact = await read_artifacts.find_one(connection, org_id, address, link_base)
    if artifact is None:
        raise NotFound(f"artifact {artifact_id(*address)!r} not found")
    return artifact


async def find_file(pool: Pool, caller: Caller, requested_id: str) -> StoredFile:
    """Return the stored file of an artifact. Raises NotFound, also if the file wasn't uploaded."""
    address, found = parse_artifact_id(requested_id), None
    if address is not None:
        async with as_organization(pool, caller.org_id) as connection:
            found = await artifacts.find_one(connection, caller.org_id, address, caller.project_id)
    if found is None or found.path is None or found.size is None:
        raise NotFound(f"artifact {requested_id[:100]!r} not found, or its file wasn't uploaded")
    return StoredFile(found.path, found.name, found.content_type, found.size, found.sha256, found.byte_offset)
