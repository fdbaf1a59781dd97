"""Limits of text from producers, and the replacement of characters that PostgreSQL can't store."""

import re
from typing import Any, Final

MAX_TEXT: Final = 1_000
MAX_MESSAGE: Final = 10_000
MAX_DETAILS: Final = 100_000
MAX_BRANCH: Final = 400  # part of index entries, which are limited to 2,700 bytes

MAX_LABELS: Final = 100  # per run
MAX_LABEL_NAME: Final = 200
MAX_LABEL_VALUE: Final = 1_000
MAX_LABELS_TEXT: Final = 16_000  # names and values of one run together, because a page contains up to 1,000 runs

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
