"""References to the files that a report names, such as screenshots and logs."""

import re
from collections.abc import Container, Iterable, Sequence
from itertools import chain
from typing import Final, NamedTuple

from service.ingest.contract import ArtifactIn, ArtifactKind

MAX_ATTACHMENTS: Final = 200  # per result
_MARKER_START: Final = "[[ATTACHMENT|"
_MARKER_END: Final = "]]"
_MAX_PATH: Final = 4_096
_MAX_NAME: Final = 400
_KINDS: Final[dict[str, ArtifactKind]] = {
    **dict.fromkeys(("png", "jpg", "jpeg", "gif", "webp", "bmp", "svg", "avif"), "screenshot"),
    **dict.fromkeys(("mp4", "webm", "avi", "mov", "mkv", "mpeg"), "video"),
    **dict.fromkeys(("log", "txt", "out", "err"), "log"),
    **dict.fromkeys(("html", "htm", "pdf", "xml"), "report"),
    **dict.fromkeys(("trace", "har"), "trace"),
}
_SUFFIX: Final = re.compile(r"\.[A-Za-z][A-Za-z0-9]{0,9}$", re.ASCII)
_RETRY_FOLDER: Final = re.compile(r"-retry(\d{1,3})[/\\]", re.ASCII)
_KINDS_BY_TYPE: Final[dict[str, ArtifactKind]] = {"image": "screenshot", "video": "video", "text": "log"}
_SUFFIXES_BY_TYPE: Final = {
    "image/png": ".png", "image/jpeg": ".jpg", "image/gif": ".gif", "image/webp": ".webp", "image/svg+xml": ".svg",
    "video/mp4": ".mp4", "video/webm": ".webm", "text/plain": ".txt", "text/html": ".html", "text/xml": ".xml",
    "application/xml": ".xml", "application/json": ".json", "application/pdf": ".pdf", "application/zip": ".zip",
}  # fmt: skip


class Attachment(NamedTuple):
    """A file that a report names. `attempt` is the number of the attempt that wrote it, or None for the last one."""

    uri: str
    name: str | None = None
    content_type: str | None = None
    attempt: int | None = None


def references(attachments: Iterable[Attachment]) -> list[ArtifactIn]:
    """Return one reference per file, with unique names, because a result identifies its artifacts by name."""
    found: dict[str, ArtifactIn] = {}
    for uri, attachment in {each.uri: each for each in attachments}.items():
        if not uri or len(found) >= MAX_ATTACHMENTS:
            continue
        name = _unique_name(attachment, found)
        found[name] = {"kind": kind_of(uri, attachment.content_type), "name": name, "uri": uri}
        if attachment.content_type:
            found[name]["content_type"] = attachment.content_type
    return list(found.values())


def _unique_name(attachment: Attachment, used: Container[str]) -> str:
    """Return the name of the file, or its path if the name is in use, or its path with a number."""
    path = "-".join(path_segments(attachment.uri))
    further = (f"{number}-{path}" for number in range(2, MAX_ATTACHMENTS + 2))
    names = chain((_own_name(attachment), path), further)
    numbered = (name_of_attempt(name, attachment.attempt) for name in names)
    return next(name for name in numbered if name not in used)


def path_segments(path: str) -> list[str]:
    """Return the names in a path without `.` and `..`."""
    return [segment for segment in path.replace("\\", "/").split("/") if segment not in ("", ".", "..")]


def _own_name(attachment: Attachment) -> str:
    """Return the name in the report, with the suffix of the file if it has none, so that programs open a download.

    For example, Playwright names `…/test-failed-1.png` `screenshot`. A name is a path without `.` and `..`.
    """
    base_name = _base_name(attachment.uri)
    stated = _relative(attachment.name or "")
    if not stated:
        return "-".join(path_segments("".join(filter(str.isprintable, base_name)))) or "file"
    suffix = _SUFFIX.search(base_name)
    return f"{stated}{suffix[0]}" if suffix and not _SUFFIX.search(stated) else stated


def _base_name(uri: str) -> str:
    path = uri.partition("?")[0] if "://" in uri else uri
    return re.split(r"[/\\]", path.rstrip("/\\"))[-1] or uri


def _relative(path: str) -> str:
    """Return the path without `.`, `..`, and characters that can't be printed."""
    return "/".join(path_segments("".join(filter(str.isprintable, path))))


def name_of_attempt(name: str, attempt: int | None) -> str:
    """Return the name of a file of an attempt, which sorts by attempt, such as `attempt-1-screenshot.png`."""
    return name if attempt is None or name.startswith("attempt-") else f"attempt-{attempt}-{name}"


def kind_of(uri: str, content_type: str | None = None) -> ArtifactKind:
    """Return the kind of a file by its name, or by its content type if the name has no known suffix."""
    name = _base_name(uri).lower()
    if name.startswith("trace") and name.endswith((".zip", ".json")):
        return "trace"
    by_type = _KINDS_BY_TYPE.get((content_type or "").partition("/")[0], "other")
    return _KINDS.get(name.rpartition(".")[2], by_type)


def number_retries(attachments: Sequence[Attachment]) -> Sequence[Attachment]:
    """Add the attempts that folders of Playwright state: `pay-chromium-retry1` belongs to the second attempt.

    The files of all attempts of a case are in one list.
    """
    retries = [int(found[1]) if (found := _RETRY_FOLDER.search(each.uri)) else 0 for each in attachments]
    last = max(retries, default=0)
    return [
        each if retry == last else each._replace(attempt=retry + 1)
        for each, retry in zip(attachments, retries, strict=True)
    ]


def name_of_embedded(name: str, content_type: str | None) -> str:
    """Return the name of a file that a report contains, with the suffix of its type if the name has none."""
    stated = _relative(name)[-_MAX_NAME:] or "file"
    suffix = _SUFFIXES_BY_TYPE.get((content_type or "").partition(";")[0].strip().lower(), "")
    return stated if _SUFFIX.search(stated) else stated + suffix


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
