"""Uploaded reports: their files, their metadata, and the limits of the jobs that ingest them."""

from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import Any, Final, Literal, NamedTuple

from service.domain.report_formats import suffix_of

Encoding = Literal["gzip", "zstd"]

MAX_ATTEMPTS: Final = 4  # attempts that failed or crashed the worker
RETRY_WAITS: Final = (timedelta(seconds=2), timedelta(seconds=15), timedelta(seconds=60))
# Waits after the temporary folder had no space: other reports finish, or an operator frees space.
TEMPORARY_SPACE_WAITS: Final = (timedelta(minutes=1), timedelta(minutes=10), timedelta(hours=1))
MAX_REPORT_ROWS: Final = 2_000_000  # default limit of the results, attempts, and artifacts of one report
MAX_PROBLEMS: Final = 1_000  # per receipt

# Suffix and media type of the artifact of a compressed report.
_COMPRESSED: Final[dict[Encoding, tuple[str, str]]] = {
    "gzip": (".gz", "application/gzip"),
    "zstd": (".zst", "application/zstd"),
}


class ReportLimits(NamedTuple):
    """The limits of one report. `max_rows` limits its results, listed attempts, and artifacts together."""

    max_unpacked_bytes: int = 2 * 2**30
    max_rows: int = MAX_REPORT_ROWS


@dataclass(frozen=True, slots=True)
class StoredPart:
    """An uploaded file in storage. `sha256` is hexadecimal."""

    path: str
    name: str
    content_type: str | None
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Upload:
    """A report with its attachments. `run` contains the fields of RunIn that the request sets.

    The object that an event refers to (`is_reference`) is an upload too. It belongs to its producer, so that the
    service never deletes it, and `event_at` is the time of the event.
    """

    report: StoredPart
    run: dict[str, Any]
    encoding: Encoding | None = None
    attachments: tuple[StoredPart, ...] = field(default_factory=tuple)
    is_reference: bool = False
    event_at: str | None = None

    def to_document(self) -> dict[str, Any]:
        """Return the upload as a JSON document."""
        return asdict(self)

    @classmethod
    def of_document(cls, document: dict[str, Any]) -> "Upload":
        """Return the upload of a stored document."""
        return cls(
            StoredPart(**document["report"]),
            document["run"],
            document["encoding"],
            tuple(StoredPart(**part) for part in document["attachments"]),
            document["is_reference"],
            document["event_at"],
        )

    @property
    def parts(self) -> tuple[StoredPart, ...]:
        """The report and its attachments."""
        return self.report, *self.attachments

    @property
    def paths(self) -> list[str]:
        """The paths of the files in storage that the service owns."""
        return [] if self.is_reference else [part.path for part in self.parts]

    def artifact(self) -> StoredPart:
        """Return the report as an artifact of the run, with a unique name."""
        suffix = suffix_of(self.report.content_type)
        content_type = self.report.content_type
        if self.encoding:
            compression_suffix, content_type = _COMPRESSED[self.encoding]
            suffix += compression_suffix
        return StoredPart(
            self.report.path,
            f"{self.report.path.split('/')[-2]}{suffix}",
            content_type,
            self.report.size,
            self.report.sha256,
        )
