"""The members of archives that aren't reports, such as screenshots. They are kept until the reports are converted."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from mimetypes import guess_type
from pathlib import Path
from posixpath import join, normpath
from typing import Any, BinaryIO, Final, NamedTuple, get_args

import orjson

from service.ingest.contract import ArtifactKind
from service.reports.archives.members import MAX_NAME, ArchiveMember
from service.reports.conversion.attachments import name_of_embedded, path_segments
from service.reports.conversion.output import (
    MAX_ALL_EMBEDDED_BYTES,
    MAX_EMBEDDED_BYTES,
    OutputPart,
    OutputWriter,
    output_of,
    set_output,
)
from service.reports.found_files import FoundFile
from service.reports.streams.compression import CHUNK_BYTES
from service.reports.streams.json_values import text_of

MAX_FOLDERS: Final = 32  # of the path of a kept file: the time of a search for it depends on their number
_MAX_LISTED: Final = 3  # in a note
_AMBIGUOUS: Final = "reports name several files whose paths end like this. Add the folders of the files to the archive"
_ARTIFACTS: Final = b'"artifacts":['
_KINDS: Final = (None, *get_args(ArtifactKind))


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
        """Return whether a report with this path means the file: the path is its own, or the only one."""
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


class _NamedFile(NamedTuple):
    """A file, and the path that means it, relative to the archive unless it is absolute."""

    file: ArchivedFile
    path: str


class NamedFiles:
    """Finds the files of archives by the paths in results.

    All results are examined before a file is embedded: a path that is longer than the path in the archive, for example
    because it is absolute, means this file only if no result has another path with the same end.
    """

    def __init__(self) -> None:
        self._files: dict[str, dict[str, ArchivedFile]] = {}  # by the folder of the archive and the path
        self._base_names: set[str] = set()

    def add(self, archive: str | None, files: Iterable[ArchivedFile]) -> None:
        """Add the files of an archive, whose name is None if it is the whole upload. The last one of a path counts."""
        found = {file.path: file for file in files if file.kept or file.is_too_large}
        self._files.setdefault(f"{archive}/" if archive else "", {}).update(found)
        self._base_names.update(path.rpartition("/")[2] for path in found)

    def find(self, report: str, chunks: Iterable[bytes]) -> bool:
        """Find the files that the results of a report, in JSON arrays, name. Return whether there are any."""
        found = False
        for result, artifact in _artifacts(chunks if self._base_names else ()):
            if named := self._find(result.get("report") or report, artifact):
                named.file.add_name(named.path)
                found = True
        return found

    def embed(self, report: str, chunk: bytes, output: OutputWriter) -> bytes:
        """Return the JSON array with the embedded files instead of the artifacts that refer to them."""
        results = orjson.loads(chunk)
        for result in filter(_names_files, results):
            parts: list[OutputPart] = []
            others: list[Any] = []
            for artifact in result["artifacts"]:
                part = _embed(artifact, self._find(result.get("report") or report, artifact), output)
                (parts if part else others).append(part or artifact)
            result["artifacts"] = others
            set_output(result, [*parts, *output_of(result)])
        return orjson.dumps(results) + b"\n"

    def _find(self, report: str, artifact: Any) -> _NamedFile | None:
        """Return the file with the path of the artifact, or else the file whose path is its longest end."""
        if not _is_reference(artifact) or report.count("/") > MAX_FOLDERS:
            return None
        uri = artifact["uri"].replace("\\", "/")
        if "://" in uri or uri.rpartition("/")[2] not in self._base_names or not (folders := self._folders(report)):
            return None
        files, root = self._files[folders[-1]], len(folders[-1])
        path = normpath(join(folders[0][root:], uri))
        segments = path_segments(uri)[-MAX_FOLDERS:]
        ends = (folder[root:] + "/".join(segments[start:]) for start in range(len(segments)) for folder in folders)
        file = files.get(path) or next(filter(None, map(files.get, ends)), None)
        return _NamedFile(file, path) if file else None

    def _folders(self, report: str) -> list[str]:
        """Return the folders around a report, from its own to the one of its archive. Empty without an archive."""
        folders: list[str] = []
        parts = report.split("/")[:-1]
        for size in range(len(parts), -1, -1):
            folders.append("".join(f"{part}/" for part in parts[:size]))
            if folders[-1] in self._files:
                return folders
        return []


def _artifacts(chunks: Iterable[bytes]) -> Iterator[tuple[Mapping[str, Any], Any]]:
    """Yield each artifact with its result."""
    for chunk in chunks:
        for result in filter(_names_files, orjson.loads(chunk) if _ARTIFACTS in chunk else ()):
            for artifact in result["artifacts"]:
                yield result, artifact


def _names_files(result: Any) -> bool:
    """Return whether a result, which can be unvalidated, has a list of artifacts."""
    return isinstance(result, dict) and isinstance(result.get("artifacts"), list)


def _embed(artifact: Any, named: _NamedFile | None, output: OutputWriter) -> OutputPart | None:
    """Return the file with the name and the kind of the artifact, or None if the artifact has no file."""
    if not named or not named.file.belongs_to(named.path):
        return None
    content_type = text_of(artifact, "content_type") or guess_type(named.file.path)[0]
    part = named.file.embed(artifact["name"], content_type, output)
    if not part:
        return None
    name = name_of_embedded(artifact["name"], content_type)
    return {**part, "name": name, "kind": artifact.get("kind") or part["kind"]}


def _is_reference(artifact: Any) -> bool:
    if not isinstance(artifact, dict) or artifact.get("kind") not in _KINDS or text_of(artifact, "name") is None:
        return False
    return 0 < len(text_of(artifact, "uri") or "") <= MAX_NAME
