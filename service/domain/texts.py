"""Limits of text from producers, and the replacement of characters that PostgreSQL can't store."""

import re
from typing import Any, Final

MAX_TEXT: Final = 1_000
MAX_MESSAGE: Final = 10_000
MAX_DETAILS: Final = 100_000
MAX_BRANCH: Final = 400  # part of index entries, which are limited to 2,700 bytes

REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"
_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")


def replace_unstorable(value: Any) -> Any:
    """Return a JSON value with NUL and lone surrogates replaced in each of its strings and keys."""
    if isinstance(value, str):
        return _UNSTORABLE.sub(REPLACEMENT, value)
    if isinstance(value, dict):
        return {replace_unstorable(key): replace_unstorable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [replace_unstorable(item) for item in value]
    return value


def is_storable(text: str) -> bool:
    """Return whether PostgreSQL can store the text unchanged."""
    return _UNSTORABLE.search(text) is None


def first_line(text: str, limit: int) -> str:
    """Return the first non-blank line, truncated to `limit` characters."""
    return text.strip().split("\n", 1)[0].rstrip()[:limit]
