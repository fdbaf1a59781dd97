"""CODEOWNERS files of GitHub and GitLab: the client parses them, and the service finds the owners of each tested file.

The rules are those of the documentation of both hosts, which tests/domain/test_codeowners.py names.
"""

import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Final, Literal, NamedTuple

from service.domain.globs import SearchedText, longest_literal

OwnersHost = Literal["github", "gitlab"]
Rule = tuple[str, Sequence[str]]  # a pattern or glob, and its owners

MAX_OWNERS: Final = 10  # of one case
MAX_OWNER: Final = 100  # characters
MAX_OWNERS_OF_ORGANIZATION: Final = 5_000  # different names
MAX_OWNER_GLOBS: Final = 1_000
MAX_OWNERS_BYTES: Final = 4 * 2**20  # of the document of an upload, without compression

_RULE: Final = re.compile(r"((?:\\.|\S)+)\s*(.*)")  # `\ ` is part of a pattern
_SECTION: Final = re.compile(r"\^?\[([^\]]*)\](?:\[\d*\])?(.*)")
_OWNER: Final = re.compile(r"@?@[\w.][\w./-]*|[\w.+%'-]+@[\w.-]+")
_COMMENT: Final = re.compile(r"(?:^|\s)#.*")
_NOT_ON_GITHUB: Final = re.compile(r"!|\\#|/$|.*\[")
# A globstar, a wildcard, a range, an escaped character, and any other character.
_TOKEN: Final = re.compile(r"(?:(?<=/)|^)(?:\*\*/)+|\*+|\?|\[[!^]?.[^\]]*\]|\\.|.", re.DOTALL)
_LITERAL: Final = re.compile(r"[^*?\[\\]+")
_SUFFIX: Final = re.compile(r"\.[^.*?\[\\]+$")


class CodeOwners(NamedTuple):
    """The rules of each section in their order, and messages about what isn't used."""

    sections: Sequence[Sequence[Rule]]
    ignored: Sequence[str]


def is_owner(name: Any) -> bool:
    """Return whether a value is a name that can be stored."""
    return isinstance(name, str) and 0 < len(name) <= MAX_OWNER and name.isprintable()


def has_sections(text: str) -> bool:
    """Return whether a line is the heading of a section of GitLab."""
    return any(map(_SECTION.match, text.splitlines()))


def parse_codeowners(text: str, host: OwnersHost) -> CodeOwners:
    """Return the rules of a file. A rule without owners makes its files unowned, and so does one with `!` on GitLab.

    GitHub skips lines with a syntax that it doesn't support, and GitLab only malformed owners.
    """
    sections: dict[str, list[Rule]] = {"codeowners": []}  # GitLab's name of the rules above the first section
    rules, defaults = sections["codeowners"], list[str]()
    ignored: list[str] = []
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        heading = _SECTION.match(line.strip()) if host == "gitlab" else None
        found = heading or _RULE.match(line.strip())
        if found is None or line.lstrip().startswith("#"):
            continue
        pattern, stated = found.groups()
        uncommented = _COMMENT.sub("", stated)  # GitLab also reads the owners in a comment
        words = (uncommented if host == "github" else stated.replace(",", " ")).split()
        owners = [word for word in dict.fromkeys(words) if _OWNER.fullmatch(word)]
        others = [word for word in words if word not in owners and word in uncommented]
        used = [owner for owner in owners if len(owner) <= MAX_OWNER][:MAX_OWNERS]
        if host == "github" and (others or _NOT_ON_GITHUB.match(pattern)):
            ignored.append(f"line {number}: GitHub skips it: {' '.join((pattern, *others))}")
            continue
        if others or used != owners:
            limits = f"only {MAX_OWNERS} names of at most {MAX_OWNER} characters are owners"
            ignored.append(f"line {number}: {limits}: {' '.join(words)}")
        if heading:
            rules, defaults = sections.setdefault(pattern.strip().casefold(), []), used
        else:
            is_excluded = host == "gitlab" and pattern.startswith("!")
            rules.append((pattern, [] if is_excluded else used if stated or host == "github" else defaults))
    return CodeOwners([section for section in sections.values() if section], ignored)


class FileOwners:
    """Finds the owners of files according to the document of an upload (OwnersIn), and remembers them.

    Only the document is pickled before the owners of the first file are found.
    """

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document
        self._found: dict[str, Sequence[str]] = {}
        self._notes: list[str] = []

    def apply(self, results: Iterable[Any]) -> None:
        """Set the owners of results, which aren't validated. For files without owners, the report states them."""
        for result in results:
            file = result.get("file") if isinstance(result, dict) else None
            if not (file and isinstance(file, str)):
                continue  # no rule is about it
            properties = result.get("properties")
            if owners := self.find(file):
                result["owners"] = owners
            elif result.get("owners") is None and not (isinstance(properties, dict) and "owner" in properties):
                result["owners"] = []

    def find(self, file: str) -> Sequence[str]:
        """Return the owners of a file, whose path is relative to the root of the repository."""
        if file not in self._found:
            path = posixpath.normpath(file.replace("\\", "/")).lstrip("/")
            keys = _keys_of_file(path)
            owners = [owner for section in self._sections for owner in section.find(path, keys)] or self._map(path)
            owners = list(dict.fromkeys(owners))
            if len(owners) > MAX_OWNERS and not self._notes:
                self._notes.append(f"owners: {file} has {len(owners)} owners, of which {MAX_OWNERS} are stored")
            self._found[file] = owners[:MAX_OWNERS]
        return self._found[file]

    def take_notes(self) -> list[str]:
        """Return a note if owners of files that were found since the last call aren't stored."""
        notes, self._notes = self._notes, []
        return notes

    def _map(self, path: str) -> Sequence[str]:
        searched = SearchedText(path)
        globs = ((glob, owners) for glob, owners in reversed(self._document["map"]) if longest_literal(glob) in path)
        return next((owners for glob, owners in globs if searched.matches(glob)), ())

    @cached_property
    def _sections(self) -> "list[_Section]":
        return [_Section(rules, self._document["host"]) for rules in self._document["sections"]]


class _IndexedRule:
    """A rule, which is compiled when the first file is compared with it. A higher `rank` decides."""

    def __init__(self, rank: tuple[bool, int], pattern: str, owners: Sequence[str], host: OwnersHost) -> None:
        self.rank, self.owners, self._pattern, self._host = rank, owners, pattern, host

    @cached_property
    def compiled(self) -> re.Pattern[str]:
        try:
            return re.compile(_translate(self._pattern, self._host), re.DOTALL)
        except re.error:  # of a range such as [z-a]
            return re.compile("(?!)")


class _Section:
    """The rules of a section by a key that each matching file has, so that few of them are compared."""

    def __init__(self, rules: Sequence[Rule], host: OwnersHost) -> None:
        self._rules: dict[str, list[_IndexedRule]] = {}
        for number, (pattern, owners) in enumerate(rules):
            is_exclusion = host == "gitlab" and pattern.startswith("!")  # decides also before other rules
            pattern = pattern[is_exclusion:]
            rule = _IndexedRule((is_exclusion, number), pattern, owners, host)
            self._rules.setdefault(_key_of_pattern(pattern, host), []).append(rule)

    def find(self, path: str, keys: Iterable[str]) -> Sequence[str]:
        rules = sorted((rule for key in keys for rule in self._rules.get(key, ())), key=lambda rule: rule.rank)
        return next((rule.owners for rule in reversed(rules) if rule.compiled.fullmatch(path)), ())


def _is_anchored(pattern: str, host: OwnersHost) -> bool:
    """Return whether a pattern begins at the root. On GitHub, as in gitignore, each slash before the end anchors it."""
    return pattern.startswith("/") if host == "gitlab" else "/" in pattern[:-1]


def _translate(pattern: str, host: OwnersHost) -> str:
    """Return the regular expression of a pattern.

    On GitHub, `docs` is also a folder with all of its files, but `docs/*` only matches files directly in the folder.
    """
    body = pattern.removeprefix("/")
    below = "(?:/.*)?" if host == "github" and not pattern.endswith(("/", "/*")) else ""
    if pattern.endswith("/") or (host == "github" and f"/{body}".endswith("/**")):
        body = f"{body.rstrip('/')}/**/*".lstrip("/")
    start = "" if _is_anchored(pattern, host) else "(?:.+/)?"
    return start + _TOKEN.sub(_translate_token, body) + below


def _translate_token(token: re.Match[str]) -> str:
    text = token[0]
    if text.endswith("*/"):
        return "(?:.+/)?"
    if text[0] in "*?":
        return "[^/]*" if text[0] == "*" else "[^/]"
    if text[0] == "[" and len(text) > 1:
        negated = text[1] in "!^"
        characters = re.sub(r"([\\\[\]&~|^])", r"\\\1", text[1 + negated : -1])
        return f"(?!/)[{'^' * negated}{characters}]"
    return re.escape(text[-1])


def _key_of_pattern(pattern: str, host: OwnersHost) -> str:
    """Return the folder at the start of a pattern, else a name in it, else its suffix, else nothing."""
    segments = pattern.strip("/").split("/")
    literal = [_LITERAL.fullmatch(segment) is not None for segment in segments]
    if _is_anchored(pattern, host) and literal[0]:
        return "/" + "/".join(segments[: (*literal, False).index(False)])
    suffix = _SUFFIX.search(segments[-1])
    return segments[literal.index(True)] if any(literal) else f"*{suffix[0]}" if suffix else ""


def _keys_of_file(path: str) -> set[str]:
    segments = path.split("/")
    folders = ("/" + "/".join(segments[:length]) for length in range(1, len(segments) + 1))
    return {"", *segments, *folders, *(f"*.{segment.rpartition('.')[2]}" for segment in segments if "." in segment)}
