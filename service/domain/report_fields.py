"""The syntax of shards, labels, links, and refs in the upload of a report, for the server and for the command line."""

import posixpath
import re
from typing import Final
from urllib.parse import urlsplit

from service.domain.texts import MAX_LABEL_NAME, MAX_LABEL_VALUE

_MAX_SHARDS: Final = 10_000
_SHARD: Final = re.compile(r"(\d{1,5})(?:/(\d{1,5}))?", re.ASCII)
_LABEL: Final = re.compile(rf"([^\x00:]{{1,{MAX_LABEL_NAME}}}):([^\x00]{{0,{MAX_LABEL_VALUE}}})", re.DOTALL)
# An absolute folder that isn't the root of a file system, because all absolute paths are below that one.
_ROOT: Final = re.compile(r"(?:/|[A-Za-z]:[/\\]|\\\\[^/\\]+[/\\])[^/\\][^\x00-\x1f]*")
_DRIVE: Final = re.compile(r"[A-Za-z]:")
MAX_ROOT: Final = 1_000  # characters
MAX_URL: Final = 1_000  # characters
_MERGE_QUEUE: Final = re.compile(r"(?:refs/heads/)?gh-readonly-queue/(.+)/pr-(\d{1,18})-[0-9a-f]+", re.ASCII)
LABEL_PATTERN: Final = f"^{_LABEL.pattern}$"


def parse_shard(text: str) -> tuple[int, int | None]:
    """Return the number of the shard, and the number of all shards, which is None if unstated. Raises ValueError."""
    match = _SHARD.fullmatch(text)
    number = int(match[1]) if match else 0
    total = int(match[2]) if match and match[2] else None
    if not 1 <= number <= (_MAX_SHARDS if total is None else total) <= _MAX_SHARDS:
        raise ValueError(f"must be i/n with 1 <= i <= n <= {_MAX_SHARDS}, for example 2/8, or only i")
    return number, total


def parse_merge_queue(ref: str) -> tuple[str, str]:
    """Return the target branch and the number of the pull request that a merge queue of GitHub tests, or empty texts.

    The branch gh-readonly-queue/main/pr-12-c0ffee tests a group whose last pull request is 12.
    """
    match = _MERGE_QUEUE.fullmatch(ref)
    return (match[1], match[2]) if match else ("", "")


def check_shard(text: str) -> str:
    """Return the text of a valid shard. Raises ValueError."""
    parse_shard(text)
    return text


def check_root(text: str) -> str:
    """Return the text of an absolute folder. Raises ValueError."""
    if not _ROOT.fullmatch(text) or len(text) > MAX_ROOT:
        raise ValueError("must be an absolute folder such as /builds/acme/shop")
    return text


def check_path_prefix(text: str) -> str:
    """Return a folder relative to the root of the repository, which is an empty text itself. Raises ValueError."""
    folder = text.replace("\\", "/")
    if folder.startswith("/") or _DRIVE.match(folder) or ".." in folder.split("/") or not folder.isprintable():
        raise ValueError("must be a folder relative to the root of the repository, such as services/web")
    if len(folder) > MAX_ROOT:
        raise ValueError(f"must have at most {MAX_ROOT} characters")
    return posixpath.normpath(folder) if folder.strip("./") else ""


def check_label(text: str) -> str:
    """Return the text of a valid label. Raises ValueError."""
    if not _LABEL.fullmatch(text):
        raise ValueError("must be name:value")
    return text


def check_https_url(text: str) -> str:
    """Return the text of a valid https URL without a user name or password. Raises ValueError."""
    if len(text) > MAX_URL:
        raise ValueError(f"must have at most {MAX_URL} characters")
    if not (text.isascii() and text.isprintable()) or " " in text:
        raise ValueError("must contain only printable ASCII characters without spaces. Percent-encode other characters")
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or not text.startswith("https://"):
        raise ValueError("must be a URL that starts with https://")
    if "@" in parts.netloc:
        raise ValueError("must not contain a user name or password")
    return text
