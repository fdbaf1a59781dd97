"""Tests that the site shows each page as the code host does: both read Markdown differently in details."""

from pathlib import Path

import markdown
import pytest
from markdown_it import MarkdownIt
from mkdocs.config import load_config

from tests.docs.blocks import PAGES, ROOT
from tests.docs.site.html import PageHtml

pytestmark = pytest.mark.nightly

ELEMENTS = ("h1", "h2", "h3", "h4", "ul", "ol", "li", "table", "tr", "th", "td", "img", "a", "strong", "em")
PAGES_OF_BOTH = [page for page in (*PAGES, ROOT / "integrations" / "README.md") if page.name != "index.md"]


@pytest.mark.parametrize("page", PAGES_OF_BOTH, ids=lambda page: str(page.relative_to(ROOT)))
def test_page_has_the_same_content_on_the_code_host_and_on_the_site(page: Path) -> None:
    config = load_config(str(ROOT / "docs" / "site" / "mkdocs.yml"))
    extensions = [name for name in config.markdown_extensions if name != "toc"]  # it adds links to headings
    text = page.read_text()
    on_site = PageHtml(markdown.markdown(text, extensions=extensions, extension_configs=config.mdx_configs))
    on_code_host = PageHtml(MarkdownIt().enable("table").render(text))
    assert on_site.text == on_code_host.text
    assert {tag: on_site.tags[tag] for tag in ELEMENTS} == {tag: on_code_host.tags[tag] for tag in ELEMENTS}
