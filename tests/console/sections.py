"""The text of parts of a page."""

import re
from html import unescape


def section(page: str, id_: str) -> str:
    """Return the text of the section with this ID, or an empty text if the page doesn't have it."""
    return text_of(section_html(page, id_))


def section_html(page: str, id_: str) -> str:
    """Return the section with this ID, or an empty text if the page doesn't have it."""
    found = re.search(rf'<section class="panel" id="{id_}".*?</section>', page, re.DOTALL)
    return found[0] if found else ""


def text_of(html: str) -> str:
    """Return the text without elements and with single spaces. A line break in a name isn't a space."""
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", html.replace("<wbr>", ""))).split())


def main_text(page: str) -> str:
    """Return the text of the page without its frame."""
    return text_of(page.partition("<main")[2].partition("</main>")[0])
