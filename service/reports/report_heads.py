"""The first bytes of a file: its text, and the keys of its JSON in any order. They show which tool wrote the file."""

import json
import re
from collections.abc import Collection, Iterable
from functools import cached_property
from typing import Any, Final

HEAD_BYTES: Final = 16_384  # of a file that are examined. Longer comments and values hide what follows them
_TEXT_BYTES: Final = 4_096  # of the text to which patterns apply
_BYTES_BEFORE_TEXT: Final = b"\xef\xbb\xbf\xff\xfe \t\r\n\x1e"  # byte order marks, white space, record separators
_PROLOG: Final = re.compile(
    rb"(?s:<\?.*?\?>\s*|<!--.*?-->\s*|<!DOCTYPE[^>\[]*(?:\[[^\]]*\]\s*)?>\s*)*"  # matches any text, so in linear time
)
_ROOT: Final = re.compile(rb"<(?:[\w.-]+:)?([\w.-]+)[\s/>]")
_MAX_DEPTH: Final = 2  # of keys in other keys
_MAX_KEYS: Final = 100  # of an object, so that an archive with thousands of files is read in seconds
_SPACE: Final = re.compile(r"\s*")
_DECODER: Final = json.JSONDecoder(strict=False)

KeySets = tuple[frozenset[str], ...]


class ReportHead:
    """The first bytes of a file, without byte order marks, white space, and the NUL bytes of UTF-16.

    `start` are the first of them after the declaration, the comments, and the DOCTYPE of XML, if anything follows. If
    nothing does, `is_blank` is true.
    """

    def __init__(self, head: bytes) -> None:
        self.text = head.replace(b"\0", b"").lstrip(_BYTES_BEFORE_TEXT)
        prolog = _PROLOG.match(self.text)
        after = prolog.end() if prolog else 0
        self.is_blank = not self.text or (after == len(self.text) and len(head) < HEAD_BYTES)
        self.start = self.text[after : after + _TEXT_BYTES] or self.text[:_TEXT_BYTES]

    @cached_property
    def root(self) -> str:
        """The root element of XML without its namespace, or an empty text."""
        root = _ROOT.match(self.start)
        return root[1].decode(errors="replace") if root else ""

    @cached_property
    def keys(self) -> frozenset[str]:
        """The paths of the first keys of JSON, also if its end is missing: two levels of them.

        `{"suites": [{"specs": [` has the paths `suites`, `suites[]`, `suites[].specs`, and `suites[].specs[]`. Of a
        list, only the first value counts.
        """
        found: set[str] = set()
        if self.text.startswith((b"{", b"[")):
            _add_value(self.text.decode(errors="replace"), 0, "", 0, found)
        return frozenset(found)

    def has_keys(self, alternatives: Iterable[Collection[str]]) -> bool:
        """Return whether the JSON has all keys of one of these sets."""
        return any(self.keys.issuperset(keys) for keys in alternatives)


def key_sets(*alternatives: str) -> KeySets:
    """Return the sets of keys, each written as paths with spaces between them."""
    return tuple(frozenset(keys.split()) for keys in alternatives)


def _add_value(text: str, at: int, path: str, depth: int, found: set[str]) -> int | None:
    """Add the paths of the value at this position. Return its end, or None if it is missing or invalid."""
    try:
        value, end = _DECODER.raw_decode(text, at)
    except (ValueError, RecursionError):
        _add_incomplete(text, at, path, depth, found)
        return None
    _add_complete(value, path, depth, found)
    return end


def _add_complete(value: Any, path: str, depth: int, found: set[str]) -> None:
    if isinstance(value, list):
        found.add(f"{path}[]")
        if value and not path.endswith("[]"):
            _add_complete(value[0], f"{path}[]", depth, found)
    elif isinstance(value, dict) and depth < _MAX_DEPTH:
        for key in list(value)[:_MAX_KEYS]:
            found.add(_join(path, key))
            _add_complete(value[key], _join(path, key), depth + 1, found)


def _add_incomplete(text: str, at: int, path: str, depth: int, found: set[str]) -> None:
    """Add the paths of an object or a list that isn't closed."""
    if text[at : at + 1] == "[":
        found.add(f"{path}[]")
        if not path.endswith("[]"):
            _add_value(text, _skip_space(text, at + 1), f"{path}[]", depth, found)
        return
    if text[at : at + 1] != "{" or depth >= _MAX_DEPTH:
        return
    for _ in range(_MAX_KEYS):
        try:
            key, end = _DECODER.raw_decode(text, _skip_space(text, at + 1))
        except (ValueError, RecursionError):
            return
        colon = _skip_space(text, end)
        if not isinstance(key, str) or text[colon : colon + 1] != ":":
            return
        found.add(_join(path, key))
        value_end = _add_value(text, _skip_space(text, colon + 1), _join(path, key), depth + 1, found)
        if value_end is None:
            return
        at = _skip_space(text, value_end)
        if text[at : at + 1] != ",":
            return


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _skip_space(text: str, at: int) -> int:
    space = _SPACE.match(text, at)
    return space.end() if space else at
