"""The links of a list to its next and its newest page."""

from typing import Final, NamedTuple

from yarl import URL

CURSOR: Final = "starting_after"


class PageLinks(NamedTuple):
    """The URLs of the next and the newest page; None if there is no next page, or if this is the newest one."""

    next_url: str | None
    newest_url: str | None


def page_links(url: URL, next_cursor: str | None) -> PageLinks:
    """Return the links of the page with this URL."""
    return PageLinks(
        str(url.update_query({CURSOR: next_cursor})) if next_cursor else None,
        str(url.without_query_params(CURSOR)) if CURSOR in url.query else None,
    )
