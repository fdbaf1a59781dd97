"""Artifacts for a caller: the lists of a result, a run, and a report, a stored file, and the owner of a new one."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final, NamedTuple

from service.artifacts import store
from service.artifacts.contract import Artifact
from service.artifacts.store import ArtifactPosition, OwnerRun, ReportFilePosition
from service.contracts.queries import PageQuery
from service.database.database import Connection, Pool, as_organization
from service.database.pages import ListPage, RowPage, read_page
from service.domain.cursors import CursorCodec, Cursors, pack_bigint, unpack_bigint
from service.domain.errors import Conflict, InvalidRequest, NotFound
from service.domain.ids import RUN_ITSELF, CaseKey, OrgId, RunKey, artifact_id, parse_artifact_id, parse_case_id
from service.identity.keys.model import Caller
from service.results.operations import parse_result_key, result_not_found
from service.runs.operations import run_not_found, select_run
from service.runs.store import RunSelector

_CODEC: Final = CursorCodec[ArtifactPosition](
    lambda position: bytes([position.run_level]) + pack_bigint(position.artifact_key),
    lambda data: ArtifactPosition(data[:1] == b"\1", unpack_bigint(data[1:])),
)
_FILE_CODEC: Final = CursorCodec[ReportFilePosition](
    lambda position: pack_bigint(position.case_key) + pack_bigint(position.artifact_key),
    lambda data: ReportFilePosition(unpack_bigint(data[:8]), unpack_bigint(data[8:])),
)


async def list_artifacts(
    pool: Pool, caller: Caller, result_id: str, query: PageQuery, link_base: str
) -> ListPage[Artifact]:
    """Return artifacts of a result and the exports of its run.

    Raises NotFound if the caller can't see the result, and InvalidRequest for a cursor of another list.
    """
    parse_result_key(result_id)

    async def read(connection: Connection, after: ArtifactPosition | None) -> RowPage[Artifact, ArtifactPosition]:
        key = await read_result_key(connection, caller, result_id)
        return await store.list_page(connection, caller.org_id, key, after, query.limit, link_base)

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
        return await store.list_page(connection, caller.org_id, of_run, after, query.limit, link_base)

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
        return await store.list_report_files(connection, caller.org_id, key, receipt_id, after, query.limit, link_base)

    cursors = Cursors(_FILE_CODEC, "artifacts", caller.org_id, {"run": run_id, "receipt": receipt_id})
    return await read_page(pool, caller, cursors, query.starting_after, read)


async def _find_run_key(connection: Connection, caller: Caller, selector: RunSelector) -> RunKey:
    """Return the key of a run. Raises NotFound if the caller can't see it."""
    key = await store.find_run_key(connection, caller.org_id, selector)
    if key is None:
        raise run_not_found(selector.run_id)
    return key


async def read_result_key(connection: Connection, caller: Caller, result_id: str) -> tuple[RunKey, CaseKey]:
    """Return the key of a result. Raises NotFound if the caller can't see it."""
    key = parse_result_key(result_id)
    if not await store.result_exists(connection, caller.org_id, key, caller.project_id):
        raise result_not_found(result_id)
    return key


async def read_artifact(
    connection: Connection, org_id: OrgId, address: tuple[RunKey, CaseKey, int], link_base: str
) -> Artifact:
    """Return one artifact. Raises NotFound."""
    artifact = await store.find_one(connection, org_id, address, link_base)
    if artifact is None:
        raise NotFound(f"artifact {artifact_id(*address)!r} not found")
    return artifact


class StoredFile(NamedTuple):
    """The file of an artifact in the storage of the service. A part of a file has a `byte_offset`."""

    path: str
    name: str
    content_type: str | None
    size: int
    sha256: bytes | None
    byte_offset: int | None


async def find_file(pool: Pool, caller: Caller, requested_id: str) -> StoredFile:
    """Return the stored file of an artifact. Raises NotFound, also if the file wasn't uploaded."""
    address, found = parse_artifact_id(requested_id), None
    if address is not None:
        async with as_organization(pool, caller.org_id) as connection:
            found = await store.find_stored(connection, caller.org_id, address, caller.project_id)
    if found is None or found.path is None or found.size is None:
        raise NotFound(f"artifact {requested_id[:100]!r} not found, or its file wasn't uploaded")
    return StoredFile(found.path, found.name, found.content_type, found.size, found.sha256, found.byte_offset)


# Returns the result that a file belongs to, or the run (RUN_ITSELF). Raises NotFound or Conflict.
FindOwner = Callable[[Connection], Awaitable[tuple[RunKey, CaseKey]]]


class CaseSelector(NamedTuple):
    """A case of a run: by its ID, or by suite, name, and variant. If nothing is set, the run itself is selected."""

    case: str | None = None
    suite: str | None = None
    name: str | None = None
    variant: Mapping[str, str] = {}


async def find_artifact_owner(
    connection: Connection, caller: Caller, run_id: str, selector: CaseSelector
) -> tuple[RunKey, CaseKey]:
    """Return the key of the result, or the key of the run and RUN_ITSELF.

    Raises NotFound if the caller can't see it, InvalidRequest for an incomplete selector, and Conflict if several
    results match.
    """
    run = await store.find_owner_run(connection, caller.org_id, select_run(caller, run_id))
    if run is None:
        raise NotFound(
            f"run {run_id[:100]!r} not found, or its results have expired. Upload a report of the run first, and wait"
            " until its receipt is stored"
        )
    if selector.case is not None:
        return run.run_key, await _check_case(connection, caller, run, selector.case)
    suite, name, variant = selector.suite, selector.name, selector.variant
    if name is not None and suite is not None:
        return run.run_key, await _find_by_name(connection, caller, run, suite, name, variant)
    if name is not None or suite is not None or variant:
        missing = "name" if name is None else "suite"
        raise InvalidRequest(f"{missing}: is required, because suite, name, and variant state a result", missing)
    return run.run_key, RUN_ITSELF


async def _check_case(connection: Connection, caller: Caller, run: OwnerRun, case: str) -> CaseKey:
    key = parse_case_id(case)
    if key is None or not await store.result_exists(connection, caller.org_id, (run.run_key, key), caller.project_id):
        raise NotFound(f"case: the run has no result of {case[:100]!r}")
    return key


async def _find_by_name(
    connection: Connection, caller: Caller, run: OwnerRun, suite: str, name: str, variant: Mapping[str, str]
) -> CaseKey:
    """Return the only case with this suite and name that has all pairs of the variant, or exactly these pairs."""
    found = await store.find_cases(connection, caller.org_id, run, suite, name, dict(variant))
    exact = [case for case in found if case.variant == variant]
    chosen = exact if len(exact) == 1 else found
    if not chosen:
        raise NotFound(f"name: the run has no result with the suite {suite[:100]!r} and the name {name[:100]!r}")
    if len(chosen) > 1:
        raise Conflict(f"name: {len(chosen)} results have this suite and name. State the variant, or the case")
    return chosen[0].case_key
