"""Text as producers send it, made fit to be stored: what PostgreSQL refuses is replaced, what is too long is cut."""

import re
from typing import Any, Final

MAX_TEXT: Final = 1_000
MAX_MESSAGE: Final = 10_000
MAX_DETAILS: Final = 100_000
MAX_BRANCH: Final = 400  # it stands in index entries, which hold 2,700 bytes

REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"
_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")


def replace_unstorable(value: Any) -> Any:
    """The same JSON value with NUL and lone surrogates replaced in every text of it."""
    if isinstance(value, str):
        return _UNSTORABLE.sub(REPLACEMENT, value)
    if isinstance(value, dict):
        return {replace_unstorable(key): replace_unstorable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [replace_unstorable(item) for item in value]
    return value


def is_storable(text: str) -> bool:
    """Whether PostgreSQL takes the text as it is."""
    return _UNSTORABLE.search(text) is None


def first_line(text: str, limit: int) -> str:
    """The first line that says something, at most `limit` characters."""
    return text.strip().split("\n", 1)[0].rstrip()[:limit]
