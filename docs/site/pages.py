"""The pages of the site that are outside of docs, and the links and the policy of all pages. MkDocs calls `on_…`.

In Markdown files, a link is the path of a file in the repository, so it works on the code host. The site rewrites links
to files outside of docs: `../LICENSE` becomes a link to the code host, or plain text if its URL isn't known.
"""

import os
import re
from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT: Final = Path(__file__).parents[2]
# The paths of Markdown files outside of docs/, and their paths on the site.
PAGES: Final = {
    **{path.name: f"project/{path.name.lower()}" for path in sorted(ROOT.glob("*.md"))},
    "integrations/README.md": "guides/integrations.md",
    "docs/README.md": "contents.md",  # index.md is the landing page
}
INCLUDED_PART: Final = re.compile(r"^<!-- include (?P<path>\S+): (?P<part>.+) -->$", re.MULTILINE)
FENCED_BLOCK: Final = re.compile(r"(^ *```.*?^ *```$)", re.MULTILINE | re.DOTALL)
INLINE_SCRIPT: Final = re.compile(r"<script>(.*?)</script>", re.DOTALL)
# Cells of tables have attributes `style`.
POLICY: Final = "default-src 'self'; style-src-attr 'unsafe-inline'; img-src 'self' data:; base-uri 'none'"
LINK: Final = re.compile(r"(?P<image>!?)\[(?P<text>[^\]]*)\]\((?P<target>[^)\s]+)\)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add a link to the repository if its URL is known, and remove the selector of versions if there is only one."""
    if config.extra["repository"]:
        link = {"icon": "fontawesome/brands/git-alt", "link": config.extra["repository"], "name": "Repository"}
        config.extra["social"] = [link]
    if "MIKE_DOCS_VERSION" not in os.environ:
        del config.extra["version"]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages outside of docs, and the icon of the console."""
    added = {"service/console/static/icon.svg": "icon.svg", **PAGES}
    for path, site_path in added.items():
        if files.get_file_from_path(site_path) is None:
            files.append(File.generated(config, site_path, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Include parts of other files, and rewrite the links."""
    site_path = page.file.src_uri
    path = next((path for path, other in PAGES.items() if other == site_path), f"docs/{site_path}")
    links = PageLinks(site_path, files, config)
    text = links.rewrite(markdown, path)
    return INCLUDED_PART.sub(lambda found: links.rewrite(part_of(found["path"], found["part"]), found["path"]), text)


def on_post_page(output: str, **_: object) -> str:
    """Add the Content-Security-Policy to a page."""
    return with_policy(output)


def on_post_template(output: str, template_name: str, **_: object) -> str:
    """Add the Content-Security-Policy to the page for unknown paths."""
    return with_policy(output) if template_name.endswith(".html") else output


def with_policy(html: str) -> str:
    """Return the page with a policy: it executes only its own scripts, and requests only files of the site."""
    digests = {b64encode(sha256(script.encode()).digest()).decode() for script in INLINE_SCRIPT.findall(html)}
    scripts = " ".join(["'self'", *(f"'sha256-{digest}'" for digest in sorted(digests))])
    policy = f"{POLICY}; script-src {scripts}"
    return html.replace("<head>", f'<head><meta http-equiv="Content-Security-Policy" content="{policy}">', 1)


def part_of(path: str, name: str) -> str:
    """Return the text between the comments `<!-- NAME -->` and `<!-- end of NAME -->` of a file."""
    found = re.search(rf"^<!-- {name} -->$(.*?)^<!-- end of {name} -->$", (ROOT / path).read_text(), re.M | re.S)
    if found is None:
        raise ValueError(f"{path}: part {name!r} not found")
    return found[1]


class PageLinks:
    """The links of a page of the site."""

    def __init__(self, site_path: str, files: Files, config: MkDocsConfig) -> None:
        self._folder = os.path.dirname(site_path)
        self._files = files
        self._config = config

    def rewrite(self, markdown: str, path: str) -> str:
        """Rewrite the links of a Markdown text that is in this file of the repository."""
        folder = (ROOT / path).parent
        parts = FENCED_BLOCK.split(markdown)
        parts[::2] = [LINK.sub(lambda found: self._rewrite_link(found, folder), part) for part in parts[::2]]
        return "".join(parts)

    def _rewrite_link(self, found: re.Match[str], folder: Path) -> str:
        target = urlsplit(found["target"])
        if target.scheme or not target.path:
            return found[0]
        absolute = (folder / target.path).resolve()
        if not absolute.exists() or not absolute.is_relative_to(ROOT):
            return found[0]  # MkDocs reports the broken link
        if absolute.is_dir() and (absolute / "README.md").exists():
            absolute /= "README.md"
        path = absolute.relative_to(ROOT).as_posix()
        site_path = PAGES.get(path, path.removeprefix("docs/") if path.startswith("docs/") else "")
        fragment = f"#{target.fragment}" if target.fragment else ""
        if self._files.get_file_from_path(site_path) is not None:
            return f"{found['image']}[{found['text']}]({os.path.relpath(site_path, self._folder or '.')}{fragment})"
        if not self._config.extra["repository"]:
            return found["text"]
        url = f"{self._config.extra['repository'].rstrip('/')}/blob/{self._config.extra['revision']}/{path}"
        return f"[{found['text']}]({url}{fragment})"
