"""Tests of `make publish-site`: the branch with all versions, and their selector in Chromium."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from service.version import find_version
from tests.console.browser.chromium import chromium_or_skip, new_context
from tests.console.browser.page_checks import PageProblems
from tests.docs.blocks import ROOT
from tests.docs.site.html import PageHtml
from tests.docs.site.serving import serving_folder
from tests.workflows.repositories import Repository

pytestmark = pytest.mark.nightly

REPOSITORY = "https://git.example.org/team/results"
CURRENT = find_version().rpartition(".")[0]
NEXT = "99.0"


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder with the files of the branch gh-pages after two releases, each of which has a new checkout."""
    folder = tmp_path_factory.mktemp("releases")
    origin = folder / "origin.git"
    Repository(folder).run("git", "init", "--quiet", "--bare", origin)
    for version, variables in ((CURRENT, {}), (NEXT, {"VERSION": NEXT})):
        Repository(folder).run("git", "init", "--quiet", version)
        checkout = Repository(folder / version)
        checkout.run("git", "remote", "add", "origin", origin)
        checkout.run("git", "commit", "--quiet", "--allow-empty", "--message", version)
        variables |= {"GIT_DIR": str(checkout.folder / ".git"), "SITE_DIR": str(folder / "site")}
        Repository(ROOT).run("make", "publish-site", SOURCE_URL=REPOSITORY, TAG=f"v{version}.0", **variables)
    checkout.run("git", "checkout", "--quiet", "gh-pages")
    return checkout.folder


@pytest.fixture
def origin(versions: Path) -> Iterator[str]:
    with serving_folder(versions) as url:
        yield url


def test_links_to_files_outside_of_the_site_lead_to_the_code_host(versions: Path, built_site: Path) -> None:
    path = Path("project/readme/index.html")
    links = {address for _, address in PageHtml((versions / CURRENT / path).read_text()).addresses}
    assert f"{REPOSITORY}/blob/v{CURRENT}.0/LICENSE" in links
    assert REPOSITORY in links
    without_repository = PageHtml((built_site / path).read_text())
    assert not [address for _, address in without_repository.addresses if "LICENSE" in address]
    assert "ApacheLicense2.0" in without_repository.text


async def test_reader_selects_a_version(origin: str) -> None:
    async with chromium_or_skip() as browser, new_context(browser, origin) as context:
        page = await context.new_page()
        problems = await PageProblems.collect(page, origin)
        await page.goto("/latest/tutorial/#3-read-results")
        await page.wait_for_url(f"**/{NEXT}/tutorial/#3-read-results")
        await page.locator(".md-version__current").focus()
        await page.locator(".md-version__link", has_text=CURRENT).click()
        await page.wait_for_url(f"**/{CURRENT}/**")
        await page.goto("/")
        await page.wait_for_url(f"**/{NEXT}/")
        problems.check()
