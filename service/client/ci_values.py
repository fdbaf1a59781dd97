"""Values of a CI job in the form that the server accepts: numbers, names, texts, and URLs."""

import hashlib
import re
import unicodedata
from typing import Final

from service.domain.report_fields import check_https_url

MAX_NAME: Final = 200  # characters

_DIGEST: Final = 12  # hex digits after the start of a name that is too long
_ATTEMPT: Final = re.compile(r"[1-9][0-9]{0,14}", re.ASCII)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]+")
_SSH: Final = re.compile(r"(?:ssh://)?[^@/]+@([^:/]+)(?::\d+/|[:/])/*(.+)")  # also git@github.com:acme/shop.git
_HOSTED: Final = re.compile(r"(?:https?|git)://(?:[^@/]*@)?([^/]+)/(.+)")


def join(*parts: str) -> str:
    """Return the parts that aren't empty, with hyphens between them."""
    return "-".join(filter(None, parts))


def number(index: str, first: int) -> str:
    """Return the number, from 1, of an index that starts at `first`, or an empty text."""
    counted = int(index) - first + 1 if index.isascii() and index.isdigit() else 0
    return str(counted) if counted > 0 else ""


def attempt(text: str) -> str:
    """Return the number of an attempt, or an empty text."""
    return text if _ATTEMPT.fullmatch(text) else ""


def identifier(text: str) -> str:
    """Return the name of a job or pipeline without unprintable characters. Different long names stay different."""
    shown = "".join(" " if unicodedata.category(character).startswith("C") else character for character in text).strip()
    return shown if len(shown) <= MAX_NAME else f"{shown[: MAX_NAME - _DIGEST - 1]}-{digest(shown)}"


def digest(text: str) -> str:
    """Return 12 hex digits that distinguish the text."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:_DIGEST]


def first_line(text: str) -> str:
    """Return the first line of a message, with an ellipsis if it is too long for a title."""
    line = _CONTROL.sub(" ", text.strip().partition("\n")[0]).strip()
    return line if len(line) <= MAX_NAME else f"{line[: MAX_NAME - 1]}…"


def https_url(text: str) -> str:
    """Return a URL that the server accepts, or an empty text: other schemes aren't links, and a password is secret."""
    try:
        return check_https_url(text)
    except ValueError:
        return ""


def repository_url(remote: str) -> str:
    """Return the page of the repository with this remote, without user and password, or an empty text.

    A remote that is accessed with SSH or git:// has its page at the same host and path.
    """
    return "" if remote.startswith("http://") else https_url(f"https://{repository_path(remote)}")


def repository_path(remote: str) -> str:
    """Return the host and path of a remote, which all remotes of a repository share, or an empty text."""
    match = _HOSTED.fullmatch(remote) or _SSH.fullmatch(remote)
    return f"{match[1]}/{match[2]}".rstrip("/").removesuffix(".git") if match else ""
