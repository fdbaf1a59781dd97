"""The URL of the next page of a list."""

from functools import lru_cache
from secrets import token_hex
from typing import Final

from yarl import URL

from service.api.http.parsing import MAX_CACHED_LENGTH, MAX_CACHED_QUERIES

_CURSOR: Final = token_hex(16)  # represents the cursor in cached URLs; no URL of a client contains it


def next_page_url(url: URL, cursor: str) -> str:
    """Return the URL with this cursor instead of its own, if any. A cursor contains only letters, digits, - and _."""
    if len(url.raw_query_string) > MAX_CACHED_LENGTH:
        return str(url.update_query(starting_after=cursor))
    return _next_page_url(url).replace(_CURSOR, cursor)


@lru_cache(MAX_CACHED_QUERIES)
def _next_page_url(url: URL) -> str:
    return str(url.update_query(starting_after=_CURSOR))
