"""The files of archives that results of a report in the same archive name: they are embedded in these results."""

from collections.abc import Iterable, Iterator, Mapping
from mimetypes import guess_type
from posixpath import join, normpath
from typing import Any, Final, NamedTuple, get_args

import orjson

from service.contracts.run_events import ArtifactKind
from service.reports.archive_members import MAX_NAME
from service.reports.archived_files import MAX_FOLDERS, ArchivedFile
from service.reports.attachments import name_of_embedded, path_segments
from service.reports.json_values import text_of
from service.reports.output import OutputPart, OutputWriter, output_of, set_output

_ARTIFACTS: Final = b'"artifacts":['
_KINDS: Final = (None, *get_args(ArtifactKind))


class _NamedFile(NamedTuple):
    """A file, and the path that means it, relative to the archive unless it is absolute."""

    file: ArchivedFile
    path: str


class NamedFiles:
    """Finds the files of archives by the paths in results.

    All results are examined before a file is embedded: if a path is longer than that of a file in the archive, for
    example because it is absolute, it means this file only if no result has another path with the same end.
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


def _artifacts(chunks: Iterable[bytes]) -> Iterator[tuple[Mapping[str, Any], Any]]:
    """Yield each artifact with its result."""
    for chunk in chunks:
        for result in filter(_names_files, orjson.loads(chunk) if _ARTIFACTS in chunk else ()):
            for artifact in result["artifacts"]:
                yield result, artifact


def _names_files(result: Any) -> bool:
    """Return whether a result, which can be unvalidated, has a list of artifacts."""
    return isinstance(result, dict) and isinstance(result.get("artifacts"), list)


def _is_reference(artifact: Any) -> bool:
    if not isinstance(artifact, dict) or artifact.get("kind") not in _KINDS or text_of(artifact, "name") is None:
        return False
    return 0 < len(text_of(artifact, "uri") or "") <= MAX_NAME
