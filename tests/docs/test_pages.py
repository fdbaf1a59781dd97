"""Tests that links of Markdown pages lead to existing files and sections, and that named parts of the service exist."""

import json
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import get_args
from urllib.parse import urlsplit

import click
import pytest
import yaml
from markdown_it import MarkdownIt

from service.api.routes import all_routes
from service.cli import cli
from service.client.user_commands import USER_COMMANDS
from service.events.model import EVENT_TYPES, INTERNAL_TYPES, TEST, ZofEventType
from service.http.errors import ERROR_TYPES
from service.settings import Settings
from tests.docs.blocks import PAGES, ROOT, blocks
from tests.docs.pages import PAGES_OF_OPERATORS, PAGES_OF_USERS

USER_PAGES = [page for page in PAGES if page.parent != ROOT or page.name == "README.md"]
CLIENT_VARIABLES = {
    "RESULTS_URL", "RESULTS_API_KEY", "RESULTS_PROJECT", "RESULTS_CLIENT_VERSION", "RESULTS_CLIENT_SHA256",
    "RESULTS_OUTPUT_FILE", "RESULTS_OUTPUT_RUN_URL", "RESULTS_ID_TOKEN", "RESULTS_ORGANIZATION", "RESULTS_CLIENT",
}  # fmt: skip
MAPS = ("docs/README.md", "docs/adr/README.md", "docs/operations/index.md")
LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE_BLOCK = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
PATH = re.compile(r"(?:(GET|POST|PUT|PATCH|DELETE) |\$RESULTS_URL)(/[\w/{}$.<>-]*)")
CALL = re.compile(r"(zof-results|client\.pyz) ([a-z][a-z-]+)((?:[^\n`|;&#\\]|\\\n)*)")

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
each_user_page = pytest.mark.parametrize("page", USER_PAGES, ids=lambda page: str(page.relative_to(ROOT)))


@cache
def anchors(page: Path) -> set[str]:
    """Return the anchors of the headings, in the form of GitHub."""
    headings = re.findall(r"^#+ (.*)$", CODE_BLOCK.sub("", page.read_text()), re.MULTILINE)
    found: dict[str, int] = {}
    result = set()
    for heading in headings:
        slug = re.sub(r"[^\w\- ]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()).replace(" ", "-")
        result.add(f"{slug}-{found[slug]}" if slug in found else slug)
        found[slug] = found.get(slug, 0) + 1
    return result


def test_each_top_level_entry_is_explained() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    table = (ROOT / "CONTRIBUTING.md").read_text().partition("## Top level")[2].partition("\n## ")[0]
    assert {path.partition("/")[0] for path in listed.splitlines()} - set(re.findall("`([^`]+)`", table)) == set()


def test_each_folder_of_the_service_is_explained() -> None:
    folders = {path.parent.name for path in (ROOT / "service").glob("*/__init__.py")}
    table = (ROOT / "README.md").read_text().partition("| Path | Content |")[2].partition("\n\n")[0]
    assert folders - {name.removeprefix("service/") for name in re.findall("`([^`]+)`", table)} == set()


@each_page
def test_relative_links_lead_to_files_and_sections(page: Path) -> None:
    broken = []
    for link in LINK.findall(CODE_BLOCK.sub("", page.read_text())):
        parts = urlsplit(link)
        target = page if not parts.path else (page.parent / parts.path).resolve()
        if parts.scheme:
            continue
        if not target.exists() or (parts.fragment and parts.fragment not in anchors(target)):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("path", MAPS)
def test_every_page_is_linked_from_the_map_of_its_folder(path: str) -> None:
    """Pages of a subfolder with a map of its own are linked from that map."""
    page = ROOT / path
    linked = {(page.parent / target).resolve() for target in re.findall(r"\]\(([^)#]+)\)", page.read_text())}
    landing_page = ROOT / "docs" / "index.md"
    maps = {ROOT / other for other in MAPS}
    others = {each for other in maps if other.parent in page.parent.glob("*") for each in other.parent.glob("*.md")}
    pages = {*page.parent.rglob("*.md")} - (others - maps) - {page, landing_page}
    assert pages - linked == set()


@each_user_page
def test_named_settings_exist(page: Path) -> None:
    known = {f"RESULTS_{name.upper()}" for name in Settings.model_fields} | CLIENT_VARIABLES
    assert set(re.findall(r"\bRESULTS_[A-Z_0-9]*[A-Z0-9]\b(?!_)", page.read_text())) - known == set()


@each_user_page
def test_named_operations_exist(page: Path) -> None:
    routes = [(route.method, re.sub(r"\{[^}]*\}", "[^/]+", route.path)) for route in all_routes()]
    routes += [("GET", "/console(/.*)?")]
    for method, path in PATH.findall(page.read_text()):
        known = [other for other, pattern in routes if re.fullmatch(pattern, path.rstrip("."))]
        assert known, path
        assert not method or method in known, (method, path)


@each_user_page
def test_named_error_codes_have_their_status(page: Path) -> None:
    existing = {(str(error.status), error.code) for error in ERROR_TYPES}
    named = set(re.findall(r"\b([45]\d\d) \(?`([a-z_]+)`", page.read_text()))
    assert named - existing == set()


@each_user_page
def test_named_events_exist(page: Path) -> None:
    known = {*EVENT_TYPES, *get_args(ZofEventType), *INTERNAL_TYPES, TEST}
    named = set(
        re.findall(r"[`\"]((?:run|export|webhook|quarantine|gate|release)\.(?!json)[a-z_]+)[`\"]", page.read_text())
    )
    assert named - known == set()


def calls(page: str) -> Iterator[tuple[click.Command, str]]:
    """Yield each named command of the command line and its arguments. Raises AssertionError for an unknown one."""
    for program, name, rest in CALL.findall(page):
        command = cli.commands.get(name)
        if command is None:  # prose, such as `zof-results is at …`, has no options
            assert "--" not in rest, (program, name)
            continue
        assert program == "zof-results" or command in USER_COMMANDS, name
        subcommand = rest.split()[0] if isinstance(command, click.Group) and rest.split() else ""
        if isinstance(command, click.Group) and re.fullmatch(r"[a-z-]+", subcommand):
            assert subcommand in command.commands, (name, subcommand)
            command = command.commands[subcommand]
        yield command, rest.partition(" -- ")[0]  # the options of `run`, without those of its command


@each_user_page
def test_named_options_of_commands_exist(page: Path) -> None:
    for command, rest in calls(page.read_text()):
        known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        assert set(re.findall(r"(?<!\S)\[?(--?[a-z][a-z-]*)", rest)) - known - {"--help"} == set(), command.name


@each_user_page
def test_json_and_yaml_blocks_are_well_formed(page: Path) -> None:
    for block in blocks(page.read_text()):
        if block.language == "json":
            json.loads(block.code)
        elif block.language == "yaml":
            yaml.safe_load(block.code)


@each_user_page
def test_commands_are_in_fenced_blocks(page: Path) -> None:
    """Tests execute fenced blocks, or find the reason why they don't."""
    assert [token.content for token in MarkdownIt().parse(page.read_text()) if token.type == "code_block"] == []


def test_commands_of_every_page_are_executed_or_excluded_with_a_reason() -> None:
    executed = {*PAGES_OF_USERS, *PAGES_OF_OPERATORS, "docs/exports.md"}  # tests/exports/test_guide.py
    pages = {
        str(page.relative_to(ROOT)) for page in USER_PAGES if any(block.is_run for block in blocks(page.read_text()))
    }
    assert pages - executed == set()
