"""Uploaded reports: their files, their metadata, and the limits of their ingestion."""

from dataclasses import asdict, dataclass, field, fields, replace
from datetime import timedelta
from typing import Any, Final, Literal, NamedTuple

from service.domain.errors import ServiceError
from service.domain.variants import canonical_variant
from service.reports.format_table import archive_suffix, find_archive_format, suffix_of
from service.runs.model import RunPart

Encoding = Literal["gzip", "zstd"]

MAX_ATTEMPTS: Final = 4  # attempts that failed or crashed the worker
RETRY_WAITS: Final = (timedelta(seconds=2), timedelta(seconds=15), timedelta(seconds=60))
# Waits after an error of this worker: other reports free its temporary folder, or a worker of another version leases
# the report.
WORKER_ERROR_WAITS: Final = (timedelta(minutes=1), timedelta(minutes=10), timedelta(hours=1))
MAX_REPORT_ROWS: Final = 2_000_000  # default limit of the results, attempts, and artifacts of one report
MAX_PROBLEMS: Final = 1_000  # per receipt
FOLDER_PREFIX: Final = "zof-results-report-"  # of the temporary folder of a report
_PART_FIELDS: Final = ("reports", "attachments")

# Suffix and media type of the artifact of a compressed report.
_COMPRESSED: Final[dict[Encoding, tuple[str, str]]] = {
    "gzip": (".gz", "application/gzip"),
    "zstd": (".zst", "application/zstd"),
}


class UnsupportedUpload(ServiceError):
    """The stored document of an upload can't be read by this version of the service."""


class ReportLimits(NamedTuple):
    """The limits of one report, and of the process that parses it.

    `max_rows` limits its results, listed attempts, and artifacts together.
    """

    max_unpacked_bytes: int = 2 * 2**30
    max_rows: int = MAX_REPORT_ROWS
    max_memory_bytes: int = 2**30
    parsing_s: float = 900.0


UNTRUSTED_LIMITS: Final = ReportLimits(256 * 2**20, 50_000, 512 * 2**20, 60.0)  # of a report that anybody can upload
# Of what all of these reports of a project store per day, because a small compressed report can have many results.
UNTRUSTED_LIMITS_PER_DAY: Final = ReportLimits(4 * 2**30, 1_000_000)


@dataclass(frozen=True, slots=True)
class StoredPart:
    """An uploaded file in storage. `sha256` is hexadecimal.

    `path_prefix` is the folder of the repository to which the relative files in a report are relative.
    """

    path: str
    name: str
    content_type: str | None
    size: int
    sha256: str
    path_prefix: str = ""


@dataclass(frozen=True, slots=True)
class Upload:
    """One or more reports with their attachments. `run` contains the fields of RunIn that the request sets.

    The object that an event refers to (`is_reference`) is an upload too. It belongs to its producer, so that the
    service never deletes it, and `event_at` is the time of the event. `claimed_fields` are the fields of the run that
    the ID token of the CI job states, so that the upload can't change a run with other values. `is_promoted` is true
    after the promotion of its untrusted run has named its receipt. `owners` is the document with the owners of files.
    """

    reports: tuple[StoredPart, ...]
    run: dict[str, Any]
    encoding: Encoding | None = None
    attachments: tuple[StoredPart, ...] = field(default_factory=tuple)
    is_reference: bool = False
    event_at: str | None = None
    claimed_fields: tuple[str, ...] = ()
    is_promoted: bool = False
    owners: StoredPart | None = None

    def to_document(self) -> dict[str, Any]:
        """Return the upload as a JSON document.

        A version of the service that doesn't know `claimed_fields`, `is_promoted`, `owners`, or `path_prefix` can't
        read the document of an upload that has them.
        """
        document = asdict(self)
        for each in (document, *document["reports"], *document["attachments"]):
            for name in ("claimed_fields", "is_promoted", "owners", "path_prefix"):
                if not each.get(name):
                    each.pop(name, None)
        return document

    @classmethod
    def of_document(cls, document: dict[str, Any]) -> "Upload":
        """Return the upload of a stored document. Fields with a default can be missing.

        Raises UnsupportedUpload, also for an unknown field, because a later version can give it any meaning.
        """
        try:
            known = {name: document[name] for name in _UPLOAD_FIELDS & document.keys()}
            parts = {name: tuple(StoredPart(**part) for part in known.get(name, ())) for name in _PART_FIELDS}
            known["owners"] = StoredPart(**known["owners"]) if known.get("owners") else None
            upload = cls(**{**known, **parts})
            unknown = document.keys() - _UPLOAD_FIELDS
        except (AttributeError, TypeError) as error:
            raise UnsupportedUpload(f"upload: this version can't read the stored document: {error}") from error
        if unknown or upload.encoding not in (None, *_COMPRESSED) or not upload.reports:
            named = ", ".join(sorted(unknown)) or ("encoding" if upload.reports else "reports")
            raise UnsupportedUpload(f"upload: this version doesn't support the stored field or value: {named}")
        return upload

    @property
    def pipeline(self) -> str | None:
        """The pipeline, according to the request. The reports can state it instead."""
        return self.run.get("pipeline")

    @property
    def run_part(self) -> RunPart:
        """The part of the run, according to the request. The reports can state another one."""
        run = self.run
        variant = canonical_variant(run.get("variant"))
        return RunPart(run.get("part") or "", variant, run.get("shard") or 0, run.get("attempt") or 0)

    @property
    def parts(self) -> tuple[StoredPart, ...]:
        """The reports, their attachments, and the document of owners."""
        return *self.reports, *self.attachments, *([self.owners] if self.owners else ())

    @property
    def paths(self) -> list[str]:
        """The paths of the files in storage that the service owns."""
        return [] if self.is_reference else [part.path for part in self.parts]

    def artifacts(self) -> list[StoredPart]:
        """Return the reports as artifacts of the run, with unique names: the receipt ID and the number of the file."""
        return [self._artifact(index, report) for index, report in enumerate(self.reports)]

    def _artifact(self, index: int, report: StoredPart) -> StoredPart:
        folder = report.path.split("/")[-2]
        name = f"{folder}-{index}" if index else folder
        suffix, content_type = _stored_type(report, self.encoding)
        return replace(report, name=name + suffix, content_type=content_type)


_UPLOAD_FIELDS: Final = frozenset(each.name for each in fields(Upload))


def _stored_type(report: StoredPart, encoding: Encoding | None) -> tuple[str, str | None]:
    """Return the suffix and the media type of the stored artifact."""
    if encoding is None and (archive := find_archive_format(report.name)):
        return archive.suffixes[0], archive.media_type
    suffix = suffix_of(report.content_type) or archive_suffix(report.content_type)
    if compression := encoding or _encoding_of(report.name):
        compression_suffix, media_type = _COMPRESSED[compression]
        return suffix.removesuffix(compression_suffix) + compression_suffix, media_type
    return suffix, report.content_type


def uncompressed_name(name: str) -> str:
    """Return the name of a file in a form without the suffix of its compression, which the client adds.

    The name of a compressed archive stays the same.
    """
    encoding = None if find_archive_format(name) else _encoding_of(name)
    return name.removesuffix(_COMPRESSED[encoding][0]) if encoding else name


def _encoding_of(name: str) -> Encoding | None:
    """Return the compression of a file in a form by its name."""
    return next((encoding for encoding, (suffix, _) in _COMPRESSED.items() if name.endswith(suffix)), None)
