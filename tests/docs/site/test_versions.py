"""Tests of `make site-version`: the branch with all versions, and their selector in Chromium."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.console.browser.chromium import MISSING, find_chromium, new_context, running_chromium
from tests.console.browser.page_checks import PageProblems
from tests.docs.blocks import ROOT
from tests.docs.site.html import PageHtml
from tests.docs.site.serving import serving_folder

pytestmark = pytest.mark.nightly

REPOSITORY = "https://git.example.org/team/results"


def git(repository: Path, *arguments: str) -> None:
    subprocess.run(["git", "-C", str(repository), *arguments], check=True, capture_output=True)


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder with the files of the branch gh-pages after two releases."""
    repository = tmp_path_factory.mktemp("repository")
    git(repository, "init", "--quiet")
    git(repository, "config", "user.name", "Test")
    git(repository, "config", "user.email", "test@example.org")
    git(repository, "commit", "--quiet", "--allow-empty", "--message", "release")
    for version in ("0.10", "0.11"):
        variables = {
            "GIT_DIR": str(repository / ".git"),
            "SITE_DIR": str(tmp_path_factory.mktemp("site")),
            "SITE_REPOSITORY_URL": REPOSITORY,
            "SITE_REVISION": f"v{version}.0",
        }
        subprocess.run(["make", "site-version", f"VERSION={version}"], cwd=ROOT, env=os.environ | variables, check=True)
    git(repository, "checkout", "--quiet", "gh-pages")
    return repository


@pytest.fixture
def origin(versions: Path) -> Iterator[str]:
    with serving_folder(versions) as url:
        yield url


def test_links_to_files_outside_of_the_site_lead_to_the_code_host(versions: Path, built_site: Path) -> None:
    path = Path("project/readme/index.html")
    links = {address for _, address in PageHtml((versions / "0.10" / path).read_text()).addresses}
    assert f"{REPOSITORY}/blob/v0.10.0/LICENSE" in links
    assert REPOSITORY in links
    without_repository = PageHtml((built_site / path).read_text())
    assert not [address for _, address in without_repository.addresses if "LICENSE" in address]
    assert "ApacheLicense2.0" in without_repository.text


async def test_reader_selects_a_version(origin: str) -> None:
    path = find_chromium()
    if path is None:
        pytest.skip(MISSING)
    async with running_chromium(path) as browser, new_context(browser, origin) as context:
        page = await context.new_page()
        problems = await PageProblems.collect(page, origin)
        await page.goto("/latest/tutorial/#3-read-results")
        await page.wait_for_url("**/0.11/tutorial/#3-read-results")
        await page.locator(".md-version__current").focus()
        await page.locator(".md-version__link", has_text="0.10").click()
        await page.wait_for_url("**/0.10/**")
        await page.goto("/")
        await page.wait_for_url("**/0.11/")
        problems.check()


def test_version_is_required(tmp_path: Path) -> None:
    variables = {"SITE_DIR": str(tmp_path / "site")}
    done = subprocess.run(
        ["make", "site-version"], cwd=ROOT, env=os.environ | variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "set VERSION" in done.stderr
