"""The spool: one folder per execution with everything that an upload needs, until the server has accepted it.

Plugins of tools write their evidence and live reports into the folder, so that a killed execution loses no finished
result.
"""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from service.client.ci import current_job
from service.client.http import ClientError
from service.client.report_files import OWNERS_FILE, SentReport, owners_in, pack_files
from service.client.report_options import ReportFields, UploadOptions
from service.client.runner.evidence import finished_sessions
from service.client.splits import describe_job, pack_assignments
from service.client.terminal import to_json

FOLDER_VARIABLE: Final = "RESULTS_SPOOL_FOLDER"

_UPLOAD: Final = "upload.json"
_REPORTS: Final = "reports"
_QUARANTINES: Final = "quarantines.json"
_LIVE_REPORTS: Final = "results-*.ndjson"
_UNFINISHED: Final = "unfinished-"
_FORMAT: Final = 1
_OWNER_ONLY: Final = 0o700


class SpoolEntry:
    """The folder of one execution."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock: int | None = None

    @classmethod
    def create(cls, spool: Path, upload: UploadOptions, *, live: bool) -> "SpoolEntry":
        """Create the folder and describe the upload in it. `live` lets plugins write reports. Raises OSError."""
        spool.mkdir(parents=True, exist_ok=True)
        now = datetime.now(timezone.utc)
        entry = cls((spool / f"{now:%Y%m%dT%H%M%S.%fZ}-{uuid4().hex[:12]}").absolute())
        entry.folder.mkdir(mode=_OWNER_ONLY)
        (entry.folder / ".gitignore").write_text("*\n", encoding="ascii")
        job = describe_job(current_job(os.environ))
        entry._describe(upload.run_id, upload.fields, created_at=now.isoformat(), live=live, job=job)
        if upload.owners:
            (entry.folder / OWNERS_FILE).write_bytes(upload.owners)
        entry.lock()
        return entry

    def lock(self) -> bool:
        """Lock the folder until this process ends. Return whether no other process has locked it. Raises OSError."""
        try:
            import fcntl  # not on Windows
        except ImportError:
            return True
        self._lock = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def unlock(self) -> None:
        """Let other processes lock the folder."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @property
    def created_ns(self) -> int:
        """The time before the command, according to the file system, whose clock can differ. Raises OSError."""
        return (self.folder / _UPLOAD).stat().st_mtime_ns

    def read_upload(self) -> UploadOptions:
        """Return the run and the fields of the upload. Raises ClientError."""
        document = self._read()
        return UploadOptions(
            document["run_id"], [(name, value) for name, value in document["fields"]], expects_new=False
        )

    def live_reports(self) -> list[Path]:
        """Return the reports that plugins have written.

        If a session didn't finish, its report states an error, because results are missing. An incomplete last line is
        left out. Raises OSError.
        """
        finished = finished_sessions(self.folder)
        live = [path for path in sorted(self.folder.glob(_LIVE_REPORTS)) if path.stat().st_size]
        return [
            path if path.stem.removeprefix("results-") in finished else self._mark_unfinished(path) for path in live
        ]

    def _mark_unfinished(self, report: Path) -> Path:
        complete = report.read_bytes().rpartition(b"\n")[0]
        first, _, others = complete.partition(b"\n")
        record = json.loads(first or b"{}")
        if "run" not in record:
            record, others = {"run": {}}, complete
        record["run"]["status"] = "error"
        path = self.folder / f"{_UNFINISHED}{report.name}"
        path.write_bytes(b"%s\n%s\n" % (to_json(record).encode(), others))
        return path

    def write_quarantines(self, quarantines: Sequence[Mapping[str, Any]]) -> None:
        """Tell a plugin which tests are quarantined. Raises OSError."""
        self._write(_QUARANTINES, {"quarantines": quarantines})

    def pack(
        self, files: Sequence[Path], prefixes: Mapping[Path, str], fields: ReportFields, *, is_certain: bool
    ) -> list[SentReport]:
        """Copy the reports and the assignments of the job into the folder, compressed, so that they can be sent later.

        Unless it `is_certain` that the tool reached its end, only items with results count as executed. Raises
        ClientError and OSError.
        """
        document = self._read()
        folder = self.folder / _REPORTS
        folder.mkdir(exist_ok=True)  # an earlier attempt was killed
        packed = []
        for number, report in enumerate(pack_files(files, prefixes, folder)):
            path = report.path
            if path.parent != folder:  # an archive, which is sent unmodified
                path = folder / f"{number}-{path.name}"
                shutil.copyfile(report.path, path)
            packed.append(report._replace(path=path))
        unfinished = not is_certain or any(file.name.startswith(_UNFINISHED) for file in files)
        run_id, job = document["run_id"], document.get("job", {})
        assignments, fields = pack_assignments(run_id, fields, job, folder, expects_results=unfinished)
        described = [[name, path.name, *rest] for name, path, *rest in (*packed, *assignments)]
        self._describe(run_id, fields, reports=described)
        return packed + assignments + owners_in(self.folder)

    def packed_reports(self) -> list[SentReport]:
        """Return the reports to send: those that were packed, or else the live ones. Raises ClientError and OSError."""
        described = self._read().get("reports")
        if described is None:
            live = self.live_reports()
            return self.pack(live, {}, self.read_upload().fields, is_certain=False) if live else []
        reports = [SentReport(name, self.folder / _REPORTS / Path(file).name, *rest) for name, file, *rest in described]
        return reports + owners_in(self.folder)

    def remove(self) -> None:
        """Delete the folder. Without the file that describes it, the rest isn't an entry if this process is killed."""
        (self.folder / _UPLOAD).unlink(missing_ok=True)
        self.unlock()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _describe(self, run_id: str, fields: ReportFields, **others: Any) -> None:
        self._write(_UPLOAD, {"format": _FORMAT, "run_id": run_id, "fields": fields, **others})

    def _read(self) -> dict[str, Any]:
        path = self.folder / _UPLOAD
        try:
            document: dict[str, Any] = json.loads(path.read_bytes())
            is_known = document["format"] == _FORMAT
            _ = document["run_id"], dict(document["fields"])["project_id"]
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise ClientError(f"{path} can't be read: {error!r}") from error
        if not is_known:
            raise ClientError(f"{path} has the unknown format {document['format']!r}. Use a newer client")
        return document

    def _write(self, name: str, document: Any) -> None:
        temporary = self.folder / f".{name}"
        temporary.write_text(to_json(document), encoding="utf-8")
        temporary.replace(self.folder / name)  # a killed process leaves no incomplete file


def find_entries(path: Path) -> list[SpoolEntry]:
    """Return the entries of a spool, oldest first, or the entry that the path names. Any other path has none."""
    folders = [path, *sorted(path.iterdir())] if path.is_dir() else []
    return [SpoolEntry(folder) for folder in folders if (folder / _UPLOAD).is_file()]
