"""Links to commits, their comparison, pull requests, and lines of files on a code host.

This module runs on Python 3.10 without third-party packages because the client uses it.
"""

import posixpath
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple
from urllib.parse import quote, urlsplit

from service.domain.report_fields import check_https_url

_COMMIT: Final = re.compile(r"[0-9a-fA-F]{7,64}")
_NUMBER: Final = re.compile(r"[1-9][0-9]{0,17}")
_PLACEHOLDER: Final = re.compile(r"\{(commit|file|line)\}")
_REQUIRED: Final = ("{commit}", "{file}")
_SERVER_REPOSITORY: Final = re.compile(r"/(projects|users)/[^/]+/repos/[^/]+$")  # at the end of the path of a URL


class LinkForm(NamedTuple):
    """The links of a code host, after the URL of a repository. `line` follows the path of the file."""

    commit: str
    pull_request: str
    file: str
    line: str
    comparison: str


_BITBUCKET: Final = LinkForm(
    "/commits/{commit}", "/pull-requests/{number}", "/src/{commit}/{file}", "#lines-{line}",
    "/branches/compare/{commit}..{base}",
)  # fmt: skip
_BITBUCKET_SERVER: Final = LinkForm(
    "/commits/{commit}", "/pull-requests/{number}", "/browse/{file}?at={commit}", "#{line}",
    "/compare/diff?sourceBranch={commit}&targetBranch={base}",
)  # fmt: skip
_HOSTS: Final[Mapping[str, LinkForm]] = {
    "github": LinkForm(
        "/commit/{commit}", "/pull/{number}", "/blob/{commit}/{file}", "#L{line}", "/compare/{base}...{commit}"
    ),
    "gitlab": LinkForm(
        "/-/commit/{commit}", "/-/merge_requests/{number}", "/-/blob/{commit}/{file}", "#L{line}",
        "/-/compare/{base}...{commit}",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class CodeLinks:
    """The links of one repository. Each is None if the code host or a value is unknown.

    `pattern` is set by the project, with `{commit}`, `{file}`, and `{line}`. It replaces the file links of the host.
    """

    repository_url: str = ""
    host: LinkForm | None = None
    pattern: str | None = None

    def commit_url(self, commit: str | None) -> str | None:
        """Return the link to a commit."""
        return self._url(lambda host: host.commit.format(commit=_commit(commit)), _commit(commit))

    def comparison_url(self, base: str | None, commit: str | None) -> str | None:
        """Return the link to the changes of a commit since another one. Equal commits have none."""
        known = _commit(base) and _commit(commit) if base != commit else None
        return self._url(lambda host: host.comparison.format(base=base, commit=commit), known)

    def pull_request_url(self, number: str | None) -> str | None:
        """Return the link to a pull request."""
        is_number = number is not None and _NUMBER.fullmatch(number)
        return self._url(lambda host: host.pull_request.format(number=number), number if is_number else None)

    def file_url(self, commit: str | None, file: str | None, line: int | None = None) -> str | None:
        """Return the link to a file at a commit, or to one of its lines, which start with 1.

        A file that is absolute or outside of the repository has no link.
        """
        path, sha = _encode_path(file), _commit(commit)
        if path is None or sha is None:
            return None
        if self.pattern is not None:
            values = {"commit": sha, "file": path, "line": str(line or 1)}
            return _PLACEHOLDER.sub(lambda found: values[found[1]], self.pattern)
        return self._url(
            lambda host: host.file.format(commit=sha, file=path) + (host.line.format(line=line) if line else ""), path
        )

    def _url(self, path: Callable[[LinkForm], str], value: str | None) -> str | None:
        return None if self.host is None or value is None else self.repository_url + path(self.host)


def code_links(repository_url: str | None, *, pipeline: str | None = None, pattern: str | None = None) -> CodeLinks:
    """Return the links of a run's repository. The run states `pipeline`, and its project `pattern`."""
    url = _clean_url(repository_url or "")
    return CodeLinks(url or "", _find_host(url, pipeline or "") if url else None, pattern)


def check_code_url_pattern(text: str) -> str:
    """Return a valid pattern of the links to files. Raises ValueError."""
    example = _PLACEHOLDER.sub("1", text)
    if not all(name in text for name in _REQUIRED) or "{" in example or "}" in example:
        raise ValueError("must contain {commit} and {file}, can contain {line}, and must not contain other braces")
    check_https_url(example)
    if "{" in urlsplit(text).netloc:
        raise ValueError("must not contain a placeholder in the host")
    return text


def _clean_url(url: str) -> str | None:
    """Return the URL of a repository without the suffix of clone URLs, or None if it isn't one."""
    try:
        parts = urlsplit(check_https_url(url))
    except ValueError:
        return None
    has_owner = "/" in parts.path.strip("/")
    return url.rstrip("/").removesuffix(".git") if has_owner and not (parts.query or parts.fragment) else None


def _find_host(url: str, pipeline: str) -> LinkForm | None:
    """Return the code host that the name of the server contains, or whose CI system executed the pipeline."""
    parts = urlsplit(url)
    host_name = parts.hostname or ""
    system = pipeline.partition("-")[0]
    for name in (*re.split(r"[.-]", host_name), system):
        if name in _HOSTS:
            return _HOSTS[name]
    if _SERVER_REPOSITORY.search(parts.path):
        return _BITBUCKET_SERVER
    return _BITBUCKET if host_name == "bitbucket.org" else None


def _commit(commit: str | None) -> str | None:
    return commit if commit is not None and _COMMIT.fullmatch(commit) else None


def _encode_path(file: str | None) -> str | None:
    """Return the encoded path of a file in the repository, or None if it's absolute or outside of the repository."""
    path = posixpath.normpath((file or "").replace("\\", "/"))
    first = path.partition("/")[0]
    if first in ("", ".", "..") or ":" in first:
        return None
    return quote(path.encode("utf-8", "replace"), safe="/")
