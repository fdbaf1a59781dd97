"""Queries for the artifacts of a result or of a run."""

from typing import Final, NamedTuple

import orjson

from service.contracts.responses import Artifact
from service.domain.ids import CaseKey, OrgId, RunKey
from service.store.postgres import composition
from service.store.postgres.composition import Statement, compose
from service.store.postgres.database import Connection
from service.store.queries.pages import RowPage, cut_page, find_object
from service.store.queries.runs import RunSelector


class ArtifactPosition(NamedTuple):
    """A position in a list of artifacts: those of the result are first, then those of its run."""

    run_level: bool
    artifact_key: int


class ReportFilePosition(NamedTuple):
    """A position in the list of the files that a report names."""

    case_key: int
    artifact_key: int


class FileOfReport(NamedTuple):
    """A file that a report names: its key, and its public object as JSON."""

    case_key: int
    artifact_key: int
    item: str


class OwnerRun(NamedTuple):
    """The run of an uploaded file."""

    run_key: RunKey
    project_id: str


class NamedCase(NamedTuple):
    """A case of a run that has the requested suite, name, and variant."""

    case_key: CaseKey
    variant: dict[str, str]


_START: Final = ArtifactPosition(False, -(2**63))
_FIRST_FILE: Final = ReportFilePosition(-(2**63), -(2**63))


async def list_page(
    connection: Connection, org_id: OrgId, key: tuple[RunKey, CaseKey], after: ArtifactPosition | None, limit: int,
    link_base: str,
) -> RowPage[Artifact, ArtifactPosition]:  # fmt: skip
    """Return the next artifacts of the result and the exports of its run, or of the run itself (RUN_ITSELF)."""
    statement = page_statement()
    run_level, artifact_key = after or _START
    values = {
        "org_id": org_id, "run_key": key[0], "case_key": key[1], "page": limit,
        "after_run_level": run_level, "after_key": artifact_key, "link_base": link_base,
    }  # fmt: skip
    row = await statement.fetch_row(connection, values)
    is_last = row["artifact_key"] is None
    end = None if is_last else ArtifactPosition(row["run_level"], row["artifact_key"])
    return RowPage(orjson.loads(row["data"]), end)


async def list_report_files(
    connection: Connection, org_id: OrgId, run_key: RunKey, receipt_id: str, after: ReportFilePosition | None,
    limit: int, link_base: str,
) -> RowPage[Artifact, ReportFilePosition]:  # fmt: skip
    """Return the next files that a report names, of the results of the run and of the run itself."""
    case_key, artifact_key = after or _FIRST_FILE
    values = {
        "org_id": org_id, "run_key": run_key, "receipt_id": receipt_id, "page": limit, "after_case": case_key,
        "after_key": artifact_key, "link_base": link_base,
    }  # fmt: skip
    rows = await compose("page_of_report_files").fetch_rows(connection, values)
    files = [FileOfReport(*row[:3]) for row in rows if row["item"] is not None]
    end = None if rows[0]["end_key"] is None else ReportFilePosition(rows[0]["end_case"], rows[0]["end_key"])
    page = cut_page(files, limit, end, lambda file: ReportFilePosition(*file[:2]))
    return RowPage([orjson.loads(file.item) for file in page.rows], page.next)


async def find_owner_run(connection: Connection, org_id: OrgId, selector: RunSelector) -> OwnerRun | None:
    """Return the run of an uploaded file, or None if it doesn't exist or its results have expired."""
    rows = await compose("owner_run").fetch_rows(connection, {"org_id": org_id, **selector._asdict()})
    return OwnerRun(*rows[0]) if rows else None


async def find_cases(
    connection: Connection, org_id: OrgId, run: OwnerRun, suite: str, name: str, variant: dict[str, str]
) -> list[NamedCase]:
    """Return the cases of the results of a run that have this suite and name, and all pairs of the variant."""
    values = {"org_id": org_id, **run._asdict(), "suite": suite, "name": name, "variant": variant}
    return [NamedCase(*row) for row in await compose("cases_by_name").fetch_rows(connection, values)]


async def result_exists(
    connection: Connection, org_id: OrgId, key: tuple[RunKey, CaseKey], project_id: str | None
) -> bool:
    """Return whether the organization, or the given project, has this result."""
    statement = compose("has_result")
    values = {"org_id": org_id, "run_key": key[0], "case_key": key[1], "project_id": project_id}
    return await statement.fetch_value(connection, values) is not None


async def find_run_key(connection: Connection, org_id: OrgId, selector: RunSelector) -> RunKey | None:
    """Return the key of a run, or None if the organization, or the given project, doesn't have it."""
    values = {"org_id": org_id, **selector._asdict()}
    key: RunKey | None = await compose("key_of_run_of_artifacts").fetch_value(connection, values)
    return key


async def find_one(
    connection: Connection, org_id: OrgId, address: tuple[RunKey, CaseKey, int], link_base: str
) -> Artifact | None:
    """Return one artifact, or None if it doesn't exist."""
    run_key, case_key, artifact_key = address
    values = {
        "org_id": org_id, "run_key": run_key, "case_key": case_key, "artifact_key": artifact_key,
        "link_base": link_base,
    }  # fmt: skip
    found: Artifact | None = await find_object(connection, "one_artifact", values)
    return found


def page_statement() -> Statement:
    """Return the statement for the list."""
    return compose("page_of_artifacts", page_bytes=composition.MAX_PAGE_BYTES)
