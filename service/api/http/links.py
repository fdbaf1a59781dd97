"""The URL of the next page of a list."""

from yarl import URL


def next_page_url(url: URL, cursor: str) -> str:
    """Return the URL with this cursor instead of its own, if any."""
    return str(url.update_query(starting_after=cursor))
