"""Complete export of an organization to a local folder: the rows of all tables, and all stored files."""

import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from time import monotonic
from typing import IO, Any, Final, get_args
from uuid import uuid4

import orjson

from service.database.database import Connection
from service.domain.errors import Conflict, NotFound
from service.domain.ids import OrgId
from service.organizations import store as organizations_store
from service.retention import organization_store
from service.storage import Area, Storage, belongs_to, organization_prefixes

FILES: Final = "files"
MANIFEST: Final = "manifest.json"

_FILE_LIST: Final = "files.ndjson"
_MISSING_LIST: Final = "missing_files.ndjson"
_TABLES_WITH_FILES: Final = ("artifacts", "exports")
_VERSION: Final = 1
_REPORT_EVERY_S: Final = 5.0

Report = Callable[[str], object]


class HashedFile:
    """A file that is written once, with its SHA-256, size, and number of rows for the manifest."""

    def __init__(self, path: Path, file: IO[bytes], report: Report) -> None:
        self.rows = 0
        self.size = 0
        self._path = path
        self._file = file
        self._report = report
        self._digest = sha256()
        self._reported_at = monotonic()

    async def write(self, data: bytes) -> None:
        """Append data, and report the progress every few seconds."""
        self._digest.update(data)
        self._file.write(data)
        self.size += len(data)
        if monotonic() - self._reported_at > _REPORT_EVERY_S:
            self._reported_at = monotonic()
            self._report(f"{self._path.name}: {self.size:,} bytes")

    async def write_row(self, row: dict[str, Any]) -> None:
        """Append one JSON line."""
        await self.write(orjson.dumps(row) + b"\n")
        self.rows += 1

    def entry(self) -> dict[str, Any]:
        """Return the properties of the complete file."""
        return {"name": self._path.name, "rows": self.rows, "size": self.size, "sha256": self._digest.hexdigest()}


class OrganizationExport:
    """The export of one organization. `worker` has the role results_worker. `report` gets lines about the progress."""

    def __init__(self, worker: Connection, storage: Storage, report: Report) -> None:
        self._worker = worker
        self._storage = storage
        self._report = report
        self._entries: list[dict[str, Any]] = []

    async def run(self, slug: str, folder: Path) -> None:
        """Write all rows and files to the folder, which appears when the export is complete.

        Raises NotFound, and Conflict if the folder exists and isn't empty.
        """
        found = await organizations_store.find_by_slugs(self._worker, [slug])
        if slug not in found:
            raise NotFound(f"organization {slug!r} not found")
        org_id, started_at = found[slug], datetime.now(UTC)
        with _complete_folder(folder) as incomplete:
            await self._write_tables(org_id, incomplete)
            await self._write_files(org_id, incomplete)
            await self._list_missing(incomplete)
            manifest = {
                "version": _VERSION, "organization": slug, "org_id": org_id, "started_at": started_at,
                "excluded_columns": organization_store.SECRET_COLUMNS, "files": self._entries,
            }  # fmt: skip
            (incomplete / MANIFEST).write_bytes(orjson.dumps(manifest, option=orjson.OPT_INDENT_2))

    async def _write_tables(self, org_id: OrgId, folder: Path) -> None:
        async with organization_store.one_snapshot(self._worker, org_id):
            for table, query in await organization_store.find_queries(self._worker, org_id):
                async with self._listed_file(folder / f"{table}.ndjson") as file:
                    file.rows = await organization_store.copy_rows(self._worker, query, file.write)

    async def _write_files(self, org_id: OrgId, folder: Path) -> None:
        """Copy the stored files, also files of rows that were inserted after the snapshot, and list them."""
        async with self._listed_file(folder / _FILE_LIST) as listed:
            for prefix in organization_prefixes(org_id):
                async for paths in self._storage.list_all(prefix):
                    for path in paths:
                        await self._write_file(org_id, path, folder / FILES, listed)

    async def _write_file(self, org_id: OrgId, path: str, folder: Path, listed: HashedFile) -> None:
        if not belongs_to(path, org_id, *get_args(Area)):
            raise Conflict(f"{path!r} can't be the path of a local file. Delete or rename it in the storage.")
        try:
            chunks = await self._storage.read(path)
        except NotFound:
            return  # deleted after it was listed
        async with self._file(folder / path) as file:
            async for chunk in chunks:
                await file.write(chunk)
        await listed.write_row(file.entry() | {"name": path, "rows": None})

    async def _list_missing(self, folder: Path) -> None:
        """List the files that rows of the snapshot name, and that the storage doesn't contain."""
        async with self._listed_file(folder / _MISSING_LIST) as missing:
            for table in _TABLES_WITH_FILES:
                for path in _stored_paths(folder / f"{table}.ndjson"):
                    if not (folder / FILES / path).is_file():
                        await missing.write_row({"table": table, "path": path})

    @asynccontextmanager
    async def _listed_file(self, path: Path) -> AsyncIterator[HashedFile]:
        """Open a file that the manifest lists."""
        async with self._file(path) as file:
            yield file
        self._entries.append(file.entry())
        self._report(f"{path.name}: {file.rows:,} rows, {file.size:,} bytes")

    @asynccontextmanager
    async def _file(self, path: Path) -> AsyncIterator[HashedFile]:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as opened:
            yield HashedFile(path, opened, self._report)


@contextmanager
def _complete_folder(folder: Path) -> Iterator[Path]:
    """Provide a temporary folder that is renamed to `folder` when the block ends, and deleted if the block raises."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise Conflict(f"{folder}: must not exist, or must be an empty folder")
    incomplete = folder.with_name(f"{folder.name}.incomplete-{uuid4().hex[:8]}")
    incomplete.mkdir(mode=0o700, parents=True)
    try:
        yield incomplete
        os.sync()  # otherwise, a crash of the machine could leave a renamed folder with empty files
        incomplete.rename(folder)
    except BaseException:
        shutil.rmtree(incomplete)
        raise


def _stored_paths(file: Path) -> Iterator[str]:
    with file.open("rb") as lines:
        for line in lines:
            if path := orjson.loads(line)["path"]:
                yield path
