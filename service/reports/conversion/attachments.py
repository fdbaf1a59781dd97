"""References to the files that a report names, such as screenshots and logs."""

import re
from collections.abc import Container, Iterable
from itertools import chain
from typing import Final, NamedTuple

from service.ingest.contract import ArtifactIn, ArtifactKind

MAX_ATTACHMENTS: Final = 200  # per result
_MAX_NAME: Final = 400
_KINDS: Final[dict[str, ArtifactKind]] = {
    **dict.fromkeys(("png", "jpg", "jpeg", "gif", "webp", "bmp", "svg", "avif"), "screenshot"),
    **dict.fromkeys(("mp4", "webm", "avi", "mov", "mkv", "mpeg"), "video"),
    **dict.fromkeys(("log", "txt", "out", "err"), "log"),
    **dict.fromkeys(("html", "htm", "pdf", "xml"), "report"),
    **dict.fromkeys(("trace", "har"), "trace"),
}
_SUFFIX: Final = re.compile(r"\.[A-Za-z][A-Za-z0-9]{0,9}$", re.ASCII)
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


def name_of_embedded(name: str, content_type: str | None) -> str:
    """Return the name of a file that a report contains, with the suffix of its type if the name has none."""
    stated = _relative(name)[-_MAX_NAME:] or "file"
    suffix = _SUFFIXES_BY_TYPE.get((content_type or "").partition(";")[0].strip().lower(), "")
    return stated if _SUFFIX.search(stated) else stated + suffix
