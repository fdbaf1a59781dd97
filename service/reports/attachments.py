"""Files that a report names: references to them, for the result they belong to."""

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from service.contracts.run_events import ArtifactIn, ArtifactKind

MAX_ATTACHMENTS: Final = 200  # of one result

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
    """A file as a report names it."""

    uri: str
    name: str | None = None
    content_type: str | None = None


def references(attachments: Iterable[Attachment]) -> list[ArtifactIn]:
    """One reference to each file, under names that differ, since a result knows its artifacts by name."""
    found: dict[str, ArtifactIn] = {}
    for attachment in dict.fromkeys(attachments):
        uri = attachment.uri
        if not uri or len(found) >= MAX_ATTACHMENTS:
            continue
        name = _free_name(attachment.name or _base_name(uri), uri, found)
        found[name] = {"kind": kind_of(attachment), "name": name, "uri": uri}
        if attachment.content_type:
            found[name]["content_type"] = attachment.content_type
    return list(found.values())


class MarkerScanner:
    """Finds `[[ATTACHMENT|path]]` in output that comes in pieces, without keeping the output."""

    def __init__(self) -> None:
        self._rest = ""

    def scan(self, text: str) -> list[str]:
        """The paths whose marker ends in this piece."""
        if not self._rest and "[[" not in text and not text.endswith("["):
            return []
        text = self._rest + text
        found = list(_MARKER.finditer(text))
        self._rest = _unfinished(text[found[-1].end() :] if found else text)
        return [match[1] for match in found]

    def reset(self) -> None:
        """Another output begins."""
        self._rest = ""


def _unfinished(text: str) -> str:
    """The end of the text that may be the beginning of a marker."""
    line = text[text.rfind("\n") + 1 :]
    start = line.find(_MARKER_START)
    if start >= 0:
        return line[start:] if len(line) - start <= _MAX_MARKER else ""
    beginnings = (_MARKER_START[:length] for length in range(len(_MARKER_START) - 1, 0, -1))
    return next(filter(line.endswith, beginnings), "")


def kind_of(attachment: Attachment) -> ArtifactKind:
    """What a file is, going by its name, else by its content type."""
    name = _base_name(attachment.uri).lower()
    if name.startswith("trace") and name.endswith((".zip", ".json")):
        return "trace"
    by_type = _KINDS_BY_TYPE.get((attachment.content_type or "").partition("/")[0], "other")
    return _KINDS.get(name.rpartition(".")[2], by_type)


def _free_name(name: str, uri: str, taken: dict[str, ArtifactIn]) -> str:
    return name if name not in taken else re.sub(r"[/\\]+", "-", uri.lstrip("./\\"))


def _base_name(uri: str) -> str:
    path = uri.partition("?")[0] if "://" in uri else uri
    return re.split(r"[/\\]", path.rstrip("/\\"))[-1] or uri
