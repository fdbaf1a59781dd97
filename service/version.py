"""The version and the commit of this installation, which every part of the service reads here.

The client archive contains this module, so it needs only the standard library of Python 3.10.
"""

import re
from functools import cache
from importlib.metadata import version
from pathlib import Path
from pkgutil import get_data
from typing import Final

NAME: Final = "zof-results"
COMMIT_FILE: Final = "commit.txt"  # in this package; the builds of the wheel and of the client archive write it
_CHECKOUT: Final = Path(__file__).parents[1]
_COMMIT: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_SHOWN_DIGITS: Final = 10


@cache
def find_version() -> str:
    """Return the version of pyproject.toml, which the metadata of the installation contains."""
    return version(NAME)


@cache
def find_commit() -> str | None:
    """Return the full SHA of the commit that was built, or on which the checkout is based; None if it's unknown."""
    built = _read_built()
    commit = read_head(_CHECKOUT) if built is None else built
    return commit if commit and _COMMIT.fullmatch(commit) else None


def find_build() -> dict[str, str]:
    """Return the version and, if it's known, the commit, as fields of documents and log lines."""
    commit = find_commit()
    return {"version": find_version(), **({"commit": commit} if commit else {})}


def describe_build() -> str:
    """Return the version and the start of the commit: `0.10.0 (commit 1f0c9ab2d4)`."""
    commit = find_commit()
    return f"{find_version()} (commit {commit[:_SHOWN_DIGITS]})" if commit else find_version()


def user_agent() -> str:
    """Return the value of the header User-Agent: `zof-results/0.10.0 (commit 1f0c9ab2d4)`."""
    return f"{NAME}/{describe_build()}"


def _read_built() -> str | None:
    """Return the content of the file that a build has written, or None in a checkout, which doesn't contain it."""
    try:
        return (get_data("service", COMMIT_FILE) or b"").decode().strip()
    except OSError:
        return None


def read_head(checkout: Path) -> str | None:
    """Return the commit that HEAD of a checkout names, without Git. None if there is no repository or no commit."""
    try:
        return _resolve_head(checkout / ".git")
    except (OSError, ValueError):
        return None


def _resolve_head(git: Path) -> str | None:
    if git.is_file():  # in a worktree, it contains the path of the folder
        git = git.parent / git.read_text(encoding="utf-8").removeprefix("gitdir:").strip()
    head = (git / "HEAD").read_text(encoding="utf-8").strip()
    if not head.startswith("ref: "):
        return head
    name, link = head.removeprefix("ref: "), git / "commondir"
    shared = git / link.read_text(encoding="utf-8").strip() if link.exists() else git
    reference = shared / name
    return reference.read_text(encoding="utf-8").strip() if reference.exists() else _read_packed(shared, name)


def _read_packed(git: Path, name: str) -> str | None:
    for line in (git / "packed-refs").read_text(encoding="utf-8").splitlines():
        commit, _, packed = line.partition(" ")
        if packed == name:
            return commit
    return None
