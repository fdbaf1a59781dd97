"""References to the files that a report names, such as screenshots and logs."""

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from service.contracts.run_events import ArtifactIn, ArtifactKind

MAX_ATTACHMENTS: Final = 200  # per result

_MARKER: Final = re.compile(r"\[\[ATTACHMENT\|(.*?)\]\]")
_MARKER_START: Final = "[[ATTACHMENT|"
_MAX_MARKER: Final = 4_096
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
        found = list(_MARKER.finditer(text))
        self._partial_marker = _unfinished(text[found[-1].end() :] if found else text)
        return [match[1] for match in found]

    def reset(self) -> None:
        """Start with the output of another case."""
        self._partial_marker = ""


def _unfinished(text: str) -> str:
    """Return the end of the text if it might be the start of a marker, otherwise an empty string."""
    line = text[text.rfind("\n") + 1 :]
    start = line.find(_MARKER_START)
    if start >= 0:
        return line[start:] if len(line) - start <= _MAX_MARKER else ""
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
