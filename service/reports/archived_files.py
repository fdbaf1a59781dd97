"""The members of archives that aren't reports, such as screenshots. They are kept until the reports are converted."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

from service.domain.found_files import FoundFile
from service.reports.archive_members import ArchiveMember
from service.reports.compression import CHUNK_BYTES
from service.reports.output import MAX_ALL_EMBEDDED_BYTES, MAX_EMBEDDED_BYTES, OutputPart, OutputWriter

MAX_FOLDERS: Final = 32  # of the path of a kept file: the time of a search for it depends on their number
_MAX_LISTED: Final = 3  # in a note
_AMBIGUOUS: Final = "reports name several files whose paths end like this. Add the folders of the files to the archive"


@dataclass(slots=True)
class ArchivedFile:
    """A member that isn't a report. `found` states why, unless a report names the file.

    `kept` and `start` are the place of its content, and `part` is the one after it is embedded. `kept` is None if the
    member is too large, a link, or a device. `named` are the first paths in reports that end with the path of the file.
    """

    path: str
    found: FoundFile
    size: int
    start: int
    kept: Path | None = None
    is_too_large: bool = False
    part: OutputPart | None = None
    named: set[str] = field(default_factory=set)

    def add_name(self, path: str) -> None:
        """Add a path in a report that ends with the path of the file."""
        if len(self.named) < 2 or path == self.path:
            self.named.add(path)

    def belongs_to(self, path: str) -> bool:
        """Return whether a report with this path means the file: it's that of the file, or the only one."""
        return path == self.path or len(self.named) == 1

    @property
    def has_result(self) -> bool:
        return any(map(self.belongs_to, self.named))

    def embed(self, name: str, content_type: str | None, output: OutputWriter) -> OutputPart | None:
        """Embed the file the first time, and return its position. Return None if it is empty or exceeds a limit."""
        if self.is_too_large:
            output.embedded.dropped += 1
        elif self.kept:
            with self.kept.open("rb") as file:
                file.seek(self.start)
                self.part = next(iter(output.embed(name, content_type, file.read(self.size))), None)
        self.kept, self.is_too_large = None, False
        return self.part


def keep(member: ArchiveMember, head: bytes, found: FoundFile, target: BinaryIO, path: Path) -> ArchivedFile:
    """Append a member, of which the head was read, to the target with this path, unless it's too large to be embedded.

    Raises ReportError if the archive is damaged or exceeds a limit.
    """
    file = ArchivedFile(member.name, found, member.size, target.tell())
    if member.content is None:
        return file
    fits = member.size <= MAX_EMBEDDED_BYTES and file.start + member.size <= MAX_ALL_EMBEDDED_BYTES
    if not fits or member.name.count("/") > MAX_FOLDERS:
        file.is_too_large = True
        return file
    file.kept = path
    while head:
        target.write(head)
        head = member.content.read(CHUNK_BYTES)
    file.size = target.tell() - file.start  # can be less than a ZIP file states
    return file


def unreadable_notes(files: Iterable[ArchivedFile]) -> list[str]:
    """Return a note about each file that must be a report but can't be read, unless a result names its path.

    The end of a path isn't enough: a result can name `/ci/logs/output.json`, which isn't in the archive, while
    `output.json` contains the failures of another tool.
    """
    unreadable = (file for file in files if file.found.role == "unreadable")
    return [f"{file.path}: {file.found.reason}" for file in unreadable if file.path not in file.named]


def ignored_notes(files: Iterable[ArchivedFile]) -> Iterator[str]:
    """Yield the notes about the files of an archive that belong to no result, those with a reason first."""
    ignored: dict[str, list[str]] = {}
    for file in files:
        if file.found.role == "other" and not file.has_result:
            ignored.setdefault(_AMBIGUOUS if file.named else file.found.reason, []).append(file.path)
    for reason, paths in sorted(ignored.items(), key=lambda item: (not item[0], item[0])):
        listed = ", ".join(paths[:_MAX_LISTED]) + (", …" if len(paths) > _MAX_LISTED else "")
        count = "1 file that isn't a report" if len(paths) == 1 else f"{len(paths)} files that aren't reports"
        yield f"ignored: {listed}: {reason}" if reason else f"ignored: {count}: {listed}"
