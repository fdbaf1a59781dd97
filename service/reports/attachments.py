"""References to the files that a report names, such as screenshots and logs."""

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from service.contracts.run_events import ArtifactIn, ArtifactKind

MAX_ATTACHMENTS: Final = 200  # per result

_MARKER_START: Final = "[[ATTACHMENT|"
_MARKER_END: Final = "]]"
_MAX_PATH: Final = 4_096
_KINDS: Final[dict[str, ArtifactKind]] = {
    **dict.fromkeys(("png", "jpg", "jpeg", "gif", "webp", "bmp", "svg", "avif"), "screenshot"),
    **dict.fromkeys(("mp4", "webm", "avi", "mov", "mkv", "mpeg"), "video"),
    **dict.fromkeys(("log", "txt", "out", "err"), "log"),
    **dict.fromkeys(("html", "htm", "pdf", "xml"), "report"),
    **dict.fromkeys(("trace", "har"), "trace"),
}
_KINDS_BY_TYPE: Final[dict[str, ArtifactKind]] = {"image": "screenshot", "video": "video", "text": "log"}


class Attachment(NamedTuple):
    """A file that a report names."""

    uri: str
    name: str | None = None
    content_type: str | None = None


def references(attachments: Iterable[Attachment]) -> list[ArtifactIn]:
    """Return one reference per file, with unique names, because a result identifies its artifacts by name."""
    found: dict[str, ArtifactIn] = {}
    for attachment in dict.fromkeys(attachments):
        uri = attachment.uri
        if not uri or len(found) >= MAX_ATTACHMENTS:
            continue
        name = _unique_name(attachment.name or _base_name(uri), uri, found)
        found[name] = {"kind": kind_of(attachment), "name": name, "uri": uri}
        if attachment.content_type:
            found[name]["content_type"] = attachment.content_type
    return list(found.values())


class MarkerScanner:
    """Finds `[[ATTACHMENT|path]]` markers in chunks of output, without storing the output."""

    def __init__(self) -> None:
        self._partial_marker = ""

    def scan(self, text: str) -> list[str]:
        """Return the paths whose marker ends in this chunk."""
        if not self._partial_marker and "[[" not in text and not text.endswith("["):
            return []
        text = self._partial_marker + text
        paths, end = _find_markers(text)
        self._partial_marker = _unfinished(text[end:])
        return paths

    def reset(self) -> None:
        """Start with the output of another case."""
        self._partial_marker = ""


def _find_markers(text: str) -> tuple[list[str], int]:
    """Return the paths of the complete markers in the text, and the end of the last marker.

    A search for the end of a marker examines at most `_MAX_PATH` characters: a regular expression would examine the
    rest of the line for each of thousands of markers without an end.
    """
    paths: list[str] = []
    last_end = position = 0
    while (start := text.find(_MARKER_START, position)) >= 0:
        position = start + len(_MARKER_START)
        end = text.find(_MARKER_END, position, position + _MAX_PATH + len(_MARKER_END))
        if end >= 0 and text.find("\n", position, end) < 0:
            paths.append(text[position:end])
            last_end = position = end + len(_MARKER_END)
    return paths, last_end


def _unfinished(text: str) -> str:
    """Return the end of the text if it might be the start of a marker, otherwise an empty string."""
    line = text[text.rfind("\n") + 1 :]
    start = line.find(_MARKER_START)
    if start >= 0:
        return line[start:] if len(line) - start <= len(_MARKER_START) + _MAX_PATH else ""
    prefixes = (_MARKER_START[:length] for length in range(len(_MARKER_START) - 1, 0, -1))
    return next(filter(line.endswith, prefixes), "")


def kind_of(attachment: Attachment) -> ArtifactKind:
    """Return the kind of a file by its name, or by its content type if the name has no known suffix."""
    name = _base_name(attachment.uri).lower()
    if name.startswith("trace") and name.endswith((".zip", ".json")):
        return "trace"
    by_type = _KINDS_BY_TYPE.get((attachment.content_type or "").partition("/")[0], "other")
    return _KINDS.get(name.rpartition(".")[2], by_type)


def _unique_name(name: str, uri: str, used: dict[str, ArtifactIn]) -> str:
    return name if name not in used else re.sub(r"[/\\]+", "-", uri.lstrip("./\\"))


def _base_name(uri: str) -> str:
    path = uri.partition("?")[0] if "://" in uri else uri
    return re.split(r"[/\\]", path.rstrip("/\\"))[-1] or uri
