"""Tests of the built site: its links, its pages, and its independence of other servers."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from docs.site.pages import PAGES
from tests.docs.blocks import ROOT
from tests.docs.site.html import PageHtml, broken_links, external_assets

pytestmark = pytest.mark.nightly

COPIED = {
    "docs",
    "service",
    "integrations",
    "deploy",
    "benchmarks",
    "LICENSE",
    *(path.name for path in ROOT.glob("*.md")),
}


def test_links_and_anchors_lead_to_targets(built_site: Path) -> None:
    assert broken_links(built_site) == []


def test_pages_request_nothing_from_other_servers(built_site: Path) -> None:
    assert external_assets(built_site) == []
    styles = "".join(path.read_text() for path in built_site.rglob("*.css"))
    assert re.findall(r"(?:url\(|@import )[\"']?(?:https?:)?//", styles) == []


def test_every_page_of_the_repository_is_part_of_the_site(built_site: Path) -> None:
    paths = [PAGES.get(str(path), str(path).removeprefix("docs/")) for path in markdown_files()]
    folders = {re.sub(r"(^|/)(index|README)\.md$", r"\1", path).removesuffix(".md") for path in paths}
    assert {folder for folder in folders if not (built_site / folder / "index.html").is_file()} == set()


def markdown_files() -> list[Path]:
    return [path.relative_to(ROOT) for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"))]


def test_links_of_readme_to_docs_stay_links(built_site: Path) -> None:
    """Each link works on the code host, which tests/docs/test_pages.py checks, and on the site."""
    linked = set(re.findall(r"\]\((?:docs|integrations)/([\w/-]+)\.md", (ROOT / "README.md").read_text()))
    page = PageHtml((built_site / "project" / "readme" / "index.html").read_text())
    folders = {address.partition("#")[0].strip("./") for tag, address in page.addresses if tag == "a"}
    expected = {re.sub(r"(^|/)(README|index)$", "", path) for path in linked}
    assert len(expected) > 15
    assert {path for path in expected if not any(path in folder for folder in folders)} == set()


def test_schemas_are_part_of_the_site(built_site: Path) -> None:
    for name in ("openapi.json", "asyncapi.yaml"):
        assert (built_site / name).read_bytes() == (ROOT / "docs" / name).read_bytes()


@pytest.mark.parametrize(
    ("word", "location"),
    [
        ("RESULTS_DATABASE_URL", "reference/settings/"),
        ("retention", "operations/retention/#keep-a-run"),
        ("waiver", "gates/#gates-decisions-and-waivers"),
        ("changelog", "project/changelog/"),
    ],
)
def test_search_index_contains_pages_and_sections(built_site: Path, word: str, location: str) -> None:
    index = json.loads((built_site / "search" / "search_index.json").read_text())
    found = {entry["location"] for entry in index["docs"] if word.lower() in (entry["title"] + entry["text"]).lower()}
    assert location in found


@pytest.mark.parametrize("link", ["nothing.md", "gates.md#nothing", "../NOTHING.md"])
def test_broken_link_fails_the_build(tmp_path: Path, link: str) -> None:
    """The recipe of `make site` must count warnings: with `--quiet`, MkDocs ignores them."""
    shutil.copytree(
        ROOT, tmp_path / "copy", ignore=lambda folder, names: set(names) - COPIED if folder == str(ROOT) else []
    )
    with (tmp_path / "copy" / "docs" / "mcp.md").open("a") as page:
        page.write(f"\n[broken]({link})\n")
    recipe = (ROOT / "Makefile").read_text().partition("\nsite:")[2].splitlines()[1].strip().removeprefix("@")
    command = recipe.replace("$(VENV)", str(Path(sys.executable).parent)).split()
    done = subprocess.run(command, cwd=tmp_path / "copy", capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert link.rpartition("#")[2] in done.stderr
