"""An uploaded report on its way into the store: what came with it, and how often it is tried."""

from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import Any, Final, Literal

Encoding = Literal["gzip", "zstd"]

MAX_TRIES: Final = 4  # by workers that died over it, or failed
RETRY_WAITS: Final = (timedelta(seconds=2), timedelta(seconds=15), timedelta(seconds=60))
MAX_PROBLEMS: Final = 1_000  # that one receipt lists

# What an artifact of a report is called, and with what suffix, by what it is sent as.
_SUFFIXES: Final = {
    "application/xml": ".xml",
    "text/xml": ".xml",
    "application/json": ".json",
    "application/vnd.ctrf+json": ".ctrf.json",
    "application/x-ndjson": ".ndjson",
}
_ENCODED: Final[dict[Encoding, tuple[str, str]]] = {
    "gzip": (".gz", "application/gzip"),
    "zstd": (".zst", "application/zstd"),
}


@dataclass(frozen=True, slots=True)
class StoredPart:
    """Bytes that were uploaded, as they lie in storage. `sha256` is in hex digits."""

    path: str
    name: str
    content_type: str | None
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Upload:
    """A report and the files that came with it. `run` has the fields of RunIn that the request said.

    What an event refers to is an upload too: its producer's, who keeps it, and as of the time of the event.
    """

    report: StoredPart
    run: dict[str, Any]
    encoding: Encoding | None = None
    attachments: tuple[StoredPart, ...] = field(default_factory=tuple)
    is_reference: bool = False
    event_at: str | None = None

    def to_document(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)

    @classmethod
    def of_document(cls, document: dict[str, Any]) -> "Upload":
        """The upload that was stored."""
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
        """Everything that was sent."""
        return self.report, *self.attachments

    @property
    def paths(self) -> list[str]:
        """What storage keeps for us."""
        return [] if self.is_reference else [part.path for part in self.parts]

    def artifact(self) -> StoredPart:
        """The report as the artifact that it stays, under a name that no other has."""
        suffix = _SUFFIXES.get(self.report.content_type or "", "")
        content_type = self.report.content_type
        if self.encoding:
            more, content_type = _ENCODED[self.encoding]
            suffix += more
        return StoredPart(
            self.report.path,
            f"{self.report.path.split('/')[-2]}{suffix}",
            content_type,
            self.report.size,
            self.report.sha256,
        )
