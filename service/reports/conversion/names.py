"""Paths and names of cases that are the same on every machine."""

import posixpath
import re
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from service.domain.codeowners import FileOwners

_BYTE_ORDER_MARK: Final = "\ufeff"
_ABSOLUTE: Final = re.compile(r"file://|[/\\]|[A-Za-z]:[/\\]")
_DRIVE: Final = re.compile(r"[A-Za-z]:")
_SEPARATOR: Final = re.compile(r"[/\\]")
# An absolute path at the start of a name, optionally followed by a line or a test. `/users/7` is a route: a path has a
# folder and a suffix, a drive, or a first folder in which checkouts are usual.
_ROOTS: Final = "home|Users|root|builds|workspaces?|github|__w|codebuild|opt|srv|mnt|tmp|var|private"
_PATH_NAME: Final = re.compile(
    r"((?:file://)?[/\\]{1,2}(?:[^/\\:\n]+[/\\])+[^/\\:\n]*\.[A-Za-z]\w{0,11}"
    rf"|(?:file://)?/(?:{_ROOTS})/(?:[^/\\:\n]+/)+[^/\\:\n]+"
    r"|(?:file:///)?[A-Za-z]:[/\\](?:[^/\\:\n]+[/\\])*[^/\\:\n]+)(?=$|:)"
)
# A folder of temporary files, or of a user, anywhere in a name, such as `reads /home/ann/cart.json`. URLs have none.
_BEFORE: Final = r"(?:(?<![\w.~}/\\])|(?<=\w/))(?:file:/{2,3}(?=/|[A-Za-z]:))?"
_PART: Final = r"[^\s/\\'\"`<>|*?:;,()\[\]{}]+(?<!-)"  # `-/` is between two parameters of pytest
_USER: Final = r"[A-Za-z]:[/\\]+(?i:users)[/\\]+[^/\\:\n'\"]+[/\\]+"
_TEMPORARY: Final = re.compile(
    rf"{_BEFORE}(?:/(?:private/)?(?:tmp|var/tmp|var/folders/{_PART}/{_PART}/T)/"
    rf"|{_USER}AppData[/\\]+Local[/\\]+Temp[/\\]+|[A-Za-z]:[/\\]+(?i:windows[/\\]+temp)[/\\]+)"
    rf"(?P<path>{_PART}(?:[/\\]+{_PART})*)"
)
_HOME: Final = re.compile(rf"{_BEFORE}(?:/(?:home|Users)/{_PART}/|{_USER})(?={_PART})")
# What pytest, Python, Java, Go, Node.js, and mktemp add to the names of temporary files: numbers, random characters.
_GENERATED: Final = re.compile(
    r"(?<=/)pytest-of-[^/]+/pytest-\d+/?"
    r"|[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}"
    r"|(?<=/tmp)[a-z0-9_]{8}(?!\w)"
    r"|(?<=[-._])(?=\w{0,9}[\dA-Z])(?:\w{10}|\w{8}|\w{6})(?!\w)"
    r"|\d{4,}"
)
# The first characters of a name that `portable_name` might change.
UNUSUAL_STARTS: Final = frozenset(("", "/", "\\", _BYTE_ORDER_MARK))
SUITE_LEVEL_NAME: Final = "(suite)"  # name of the case for a failure of a suite itself
OUTSIDE_OF_TESTS: Final = "outside-of-tests"  # property of a failure that has a name, but is of no test, such as a hook
SEPARATOR: Final = " > "
MAX_LABEL: Final = 1_200  # exceeds the stored length, so that ingest notes the truncation; each case repeats the label
_CLASS_SEPARATORS: Final = (".", "::", "/", SEPARATOR)
_LAMBDA: Final = re.compile(r"\$\$Lambda[$\w]*/(?:0x)?[0-9a-f]+")  # is numbered in each run
_MOCK: Final = re.compile(r", hashCode: \d+")
# `<shop.Cart object at 0x7f2c>` and `<Mock name='cart' id='1402'>` of Python, `#<Cart:0x0055 @items=[]>` of Ruby,
# `<Cart: 0x6000>` of Objective-C, and pointers of Go
_ADDRESS: Final = re.compile(
    r" at 0x[0-9a-fA-F]{6,16}(?=>|, file )| id='\d{6,20}'(?=>)|(<[\w:.$]+?):\s?0x[0-9a-fA-F]{6,16}(?=[\s>;])"
    r"|\b(0x)c0[0-9a-f]{8}\b"
)


class Checkout(NamedTuple):
    """Where the files of a report are in the repository.

    `root` is the folder of the checkout on the machine that wrote the report, with a separator at its end. Relative
    files are relative to `prefix`, a folder of the repository.
    """

    root: str | None = None
    prefix: str = ""
    owners: FileOwners | None = None

    @classmethod
    def of(cls, root: str | None, prefix: str) -> "Checkout":
        """Return the checkout in this folder, with or without a separator at its end."""
        return cls(with_separator(root) if root else None, prefix)

    def below(self, folder: str) -> "Checkout":
        """Return the checkout with the prefix of an absolute folder. If it isn't below the root, nothing changes."""
        prefix = relative_path(with_separator(folder), self.root)
        return self if prefix is None else self._replace(prefix=prefix.rstrip("/"))

    def file_of(self, path: str, root: str | None = None) -> str:
        """Return the path of a file from the root of the repository: `web/cart.js` for `cart.js` in the folder `web`.

        Paths below `root`, another folder of the same machine, are relative to it. Of any other absolute path, only the
        file name remains.
        """
        path = path.lstrip(_BYTE_ORDER_MARK)
        if _ABSOLUTE.match(path) and (below := relative_path(path, self.root)) is not None:
            return below
        relative = relative_path(path, root)
        if relative is None:
            return portable_path(path)
        return (
            posixpath.normpath(f"{self.prefix}/{relative}".replace("\\", "/")) if self.prefix and relative else relative
        )


def relative_path(path: str, *roots: str | None) -> str | None:
    """Return a path relative to the first root above it, or None if the path is absolute and below no root.

    A root ends with a separator.
    """
    path = path.lstrip(_BYTE_ORDER_MARK)
    if not _ABSOLUTE.match(path):
        return path
    path = path.removeprefix("file://")
    relative = (_below(root, path) for root in roots if root)
    return next((found for found in relative if found is not None), None)


def _below(root: str, path: str) -> str | None:
    """Return the path relative to the root. On Windows, letter case and the kind of separators don't matter."""
    if _DRIVE.match(root):
        path, root = path.lstrip("/").replace("\\", "/"), root.replace("\\", "/")
        return path[len(root) :] if path[: len(root)].lower() == root.lower() else None
    return path[len(root) :].replace("\\", "/") if path.startswith(root) else None


def with_separator(folder: str) -> str:
    """Return the folder with a separator at its end."""
    return folder.rstrip("/\\") + "/"


def portable_path(path: str, *roots: str | None) -> str:
    """Return a path relative to the first root above it, or only the file name if it is absolute and below no root."""
    relative = relative_path(path, *roots)
    return relative if relative is not None else _SEPARATOR.split(path.rstrip("/\\"))[-1]


def portable_name(name: str, root: str | None = None) -> str:
    """Return the name of a suite, class, or case without a byte order mark and without an absolute path."""
    name = name.lstrip(_BYTE_ORDER_MARK)
    path = _PATH_NAME.match(name)
    if not path:
        return name
    portable = portable_path(path[1], root)
    if _TEMPORARY.match(path[1]):
        portable = _without_generated(portable) or portable
    return portable + name[path.end() :]


def _without_generated(path: str) -> str:
    """Return a path below a folder of temporary files without the parts that are different in each run."""
    return _GENERATED.sub("", "/" + path.replace("\\", "/"))[1:]


def without_folder(name: str) -> str:
    """Return a name without an absolute path. Most names need no search for one."""
    is_usual = name[:1] not in UNUSUAL_STARTS and name[1:2] != ":" and not name.startswith("file:")
    return name if is_usual else portable_name(name)


def without_machine(text: str) -> str:
    """Return a text with `~` and `/tmp` as the folders of users and of temporary files, whose names aren't generated.

    Other folders stay, because they distinguish files: `/home/ann/shop/a/cart.json` becomes `~/shop/a/cart.json`.
    """
    text = _TEMPORARY.sub(lambda found: f"/tmp/{_without_generated(found['path'])}", text)  # noqa: S108 - a name
    return _HOME.sub("~/", text)


def suite_label(path: Sequence[str], classname: str = "", file: str | None = None) -> str:
    """Return the path of suites followed by the class. The file, if given, is the first part.

    The part of the class that repeats the suites is omitted.
    """
    parts = list(path)
    if classname := _without_suites(classname, parts):
        parts.append(classname)
    if file and file not in parts:
        parts.insert(0, file)
    return SEPARATOR.join(parts)[:MAX_LABEL]


def _without_suites(classname: str, path: list[str]) -> str:
    """Return the class without the path or the innermost suite in front of it. Return "" if nothing else remains.

    A class at the end of the innermost suite is a repetition too: `Tests.Cart` contains the class `Cart`.
    PHPUnit writes the class `Tests\\Cart` of a suite as `Tests.Cart` in its cases.
    """
    if not path or not classname:
        return classname
    if "\\" in path[-1] and classname in (suite.replace("\\", ".") for suite in path):
        return ""
    for separator in _CLASS_SEPARATORS:
        if path[-1].endswith(separator + classname):
            return ""
        for prefix in (separator.join(path), path[-1]):
            if classname == prefix:
                return ""
            if classname.startswith(prefix + separator):
                return classname[len(prefix) + len(separator) :]
    return classname


def _object(digits: str) -> re.Pattern[str]:
    """Return the pattern of the text of a Java object without a method `toString`: its class, and a hash.

    The search starts only at the start of a name, because it would otherwise examine a long name for each character.
    """
    return re.compile(
        r"(?<![\w$.])((?<!\[)\[+[BCDFIJSZ]"
        r"|(?:(?<!\[)\[+L)?(?:(?:[^\W\d]|\$)[\w$]*\.)*[A-Z_$][\w$]*(?:/0x[0-9a-f]+|/\d+)?;?)"
        rf"@[0-9a-f]{{{digits}}}(?![\w.@])"
    )


def portable_value(value: str) -> str:
    """Return the text of a parameter without the hash of an object and without an absolute path."""
    value = value[:MAX_LABEL]
    if "@" in value:
        value = _OBJECT.sub(r"\1", _LAMBDA.sub("$$Lambda", value))
    return without_folder(_MOCK.sub("", " ".join(value.split())))


_OBJECT: Final = _object("1,8")  # a complete parameter is the text of an object


def portable_text(text: str) -> str:
    """Return a suite or a name without hashes, addresses, and the folders of users and of temporary files.

    Only the part that can be stored is examined.
    """
    text, rest = text[:MAX_LABEL], text[MAX_LABEL:]
    if "@" in text:
        text = _OBJECT_IN_TEXT.sub(r"\1", _LAMBDA.sub("$$Lambda", text))
    if "0x" in text or "id='" in text:
        text = _ADDRESS.sub(r"\1\2", text)
    if "/" in text or "\\" in text:
        text = without_machine(text)
    return text + rest


_OBJECT_IN_TEXT: Final = _object("5,8")  # a name can contain `React@18`; a shorter hash is one in 2,000


def make_portable(results: Iterable[Any]) -> None:
    """Replace the suites and the names of results by portable ones. Adjacent results mostly have the same suite."""
    known = portable = ""
    for result in results:
        if not isinstance(result, dict):
            continue
        suite, name = result.get("suite"), result.get("name")
        if isinstance(name, str):
            result["name"] = portable_text(name)
        if isinstance(suite, str):
            if suite != known:
                known, portable = suite, portable_text(suite)
            result["suite"] = portable


NO_CHECKOUT: Final = Checkout()
