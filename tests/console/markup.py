"""The elements and attributes of a page, to find markup that data added."""

from html.parser import HTMLParser
from typing import NamedTuple
from urllib.parse import urlsplit

_URL_ATTRIBUTES = frozenset({"href", "src", "srcset", "action", "formaction", "poster", "data", "xlink:href", "ping"})
_SCHEMES = ("", "http", "https")


class ElementShape(NamedTuple):
    """An element and the names of its attributes, without their values."""

    tag: str
    attributes: tuple[str, ...]


class PageMarkup(HTMLParser):
    """Parses a page. `problems` lists scripts, event handlers, styles, and URLs that no page of the console has."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.shapes: set[ElementShape] = set()
        self.text: list[str] = []
        self.problems: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Add the element, except the line breaks of names, whose number depends on the name."""
        if tag == "wbr" and not attrs:
            return
        self.shapes.add(ElementShape(tag, tuple(sorted(name for name, _ in attrs))))
        for name, value in attrs:
            if name.startswith("on") or name in ("style", "srcdoc"):
                self.problems.append(f"<{tag} {name}={value!r}>")
            if name in _URL_ATTRIBUTES and not _is_safe(value or ""):
                self.problems.append(f"<{tag} {name}={value!r}>")
        source = dict(attrs).get("src") or ""
        if tag in ("script", "iframe", "object", "embed", "base") and not source.startswith("/console/static/"):
            self.problems.append(f"<{tag}>")

    def handle_data(self, data: str) -> None:
        """Add the text."""
        self.text.append(data)


def _is_safe(url: str) -> bool:
    """Return whether the URL is a path of this server, or the absolute URL of a page."""
    parts = urlsplit(url)
    return parts.scheme in _SCHEMES and bool(parts.netloc) == bool(parts.scheme)
