"""What tests read from the built pages: links, anchors, and text."""

from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

ADDRESSES = ("href", "src", "srcset", "poster", "data")


class PageHtml(HTMLParser):
    """The elements of a page: their numbers, their IDs, their addresses, and the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.ids: set[str] = set()
        self.addresses: list[tuple[str, str]] = []
        self._texts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        for name, value in attrs:
            if name == "id" and value:
                self.ids.add(value)
            if name in ADDRESSES and value:
                self.addresses.append((tag, value))

    def handle_data(self, data: str) -> None:
        self._texts.append(data)

    @property
    def text(self) -> str:
        """The text without spaces."""
        return "".join("".join(self._texts).split())


def pages_of(site: Path) -> dict[Path, PageHtml]:
    """Return all pages of a site."""
    return {path: PageHtml(path.read_text()) for path in sorted(site.rglob("*.html"))}


def broken_links(site: Path) -> list[str]:
    """Return the links to files of the site that don't exist, and to anchors that their page doesn't contain."""
    pages = pages_of(site)
    return [
        f"{path.relative_to(site)}: {address}"
        for path, page in pages.items()
        for _, address in page.addresses
        if not _is_external(address) and not _leads_to_target(site, path, address, pages)
    ]


def external_assets(site: Path) -> list[str]:
    """Return the addresses of other servers that a browser requests to show a page."""
    return [
        f"{path.relative_to(site)}: {address}"
        for path, page in pages_of(site).items()
        for tag, address in page.addresses
        if tag != "a" and _is_external(address)
    ]


def _is_external(address: str) -> bool:
    parts = urlsplit(address)
    return bool(parts.scheme or parts.netloc)


def _leads_to_target(site: Path, path: Path, address: str, pages: dict[Path, PageHtml]) -> bool:
    parts = urlsplit(address)
    target_path = unquote(parts.path)
    target = site / target_path.lstrip("/") if target_path.startswith("/") else path.parent / target_path
    target = path if not target_path else target.resolve()
    if target.is_dir():
        target /= "index.html"
    return target.is_file() and (not parts.fragment or unquote(parts.fragment) in pages[target].ids)
