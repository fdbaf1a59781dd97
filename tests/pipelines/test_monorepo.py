"""Annotations, the comment, and the console link files that exist in the checkout of a monorepo."""

import asyncio
import re
import subprocess
from collections.abc import AsyncIterator, Iterable
from html import unescape
from pathlib import Path
from urllib.parse import unquote

import pytest
from click.testing import CliRunner

from service.client.__main__ import client
from tests.console.browsers import Browser
from tests.report_api import Reports, serving_reports_with_ingester

DATA = Path(__file__).parents[1] / "data" / "reports"
COMMIT = "c0ffee0123456789c0ffee0123456789c0ffee01"
# The files of three packages, whose tools wrote reports with paths relative to the package, or without files (pytest).
FILES = (
    "web/src/broken.test.js", "web/src/cart.test.js", "web/src/hooks.test.js", "api/tests/unit/test_broken.py",
    "api/tests/unit/test_cart.py", "api/tests/unit/test_cart_class.py", "shop/tests/cart.spec.ts",
    "shop/tests/shop.spec.ts", "tests/unit/conftest.py",
)  # fmt: skip
REPORTS = {
    "web/junit.xml": "vitest/junit.xml", "api/build/junit.xml": "pytest/json-report.xml",
    "shop/playwright.json": "playwright.json",
}  # fmt: skip


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "checkout"
    for name in FILES:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    for name, source in REPORTS.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        text = (DATA / source).read_text()
        (root / name).write_text(text.replace("/builds/shop/", f"{root}/shop/"))
    subprocess.run(["git", "init", "--quiet", root], check=True)
    monkeypatch.chdir(root)
    return root


@pytest.fixture
async def reports(database_url: str, tmp_path: Path) -> AsyncIterator[Reports]:
    async with serving_reports_with_ingester(database_url, tmp_path / "storage") as opened:
        yield opened


async def run(reports: Reports, *arguments: str) -> str:
    """Run a command in a job of GitHub Actions, and return what it prints."""
    variables = {
        "GITHUB_ACTIONS": "true", "GITHUB_RUN_ID": "1", "GITHUB_JOB": "test", "GITHUB_REF": "refs/heads/main",
        "GITHUB_SHA": COMMIT, "GITHUB_SERVER_URL": "https://github.com", "GITHUB_REPOSITORY": "o/r",
        "RESULTS_URL": str(reports.api.http.make_url("/")), "RESULTS_API_KEY": reports.api.key,
    }  # fmt: skip
    done = await asyncio.to_thread(CliRunner().invoke, client, arguments, env=variables)
    assert done.exit_code in (0, 1), done.output
    return done.output


async def report(reports: Reports, *files: str) -> str:
    return await run(reports, "report", *files, "--project", "shop", "--wait", "--no-attachments")


def linked(text: str) -> list[str]:
    """Return the paths in links to files of the code host."""
    return [
        unquote(path) for path in re.findall(rf"https://github\.com/o/r/blob/{COMMIT}/([^)#\"\s]+)", unescape(text))
    ]


def annotated(text: str) -> list[str]:
    return re.findall(r"^::(?:error|warning) file=([^,]+),", text, re.MULTILINE)


def assert_exist(root: Path, paths: Iterable[str], folder: str = "") -> None:
    found = list(paths)
    assert found
    assert [path for path in found if not (root / path).is_file() or not path.startswith(folder)] == []


@pytest.mark.parametrize("file", REPORTS)
async def test_files_of_failures_exist(reports: Reports, checkout: Path, file: str) -> None:
    printed = await report(reports, file)
    folder = file.partition("/")[0]
    assert (f"relative files are below {folder}/" in printed) == (folder != "shop")  # Playwright states its folder

    gate = await run(reports, "gate")
    comment = await run(reports, "comment", "--markdown")
    assert_exist(checkout, annotated(gate), f"{folder}/")
    assert_exist(checkout, linked(comment), f"{folder}/")

    browser = Browser(reports.api)
    await browser.sign_in()
    failing = await reports.api.get("/v1/results", {"run_id": "github-1-test", "status": "failed"})
    assert failing["data"], await reports.api.get("/v1/runs")
    pages = [await browser.open(f"/console/results/{result['id']}") for result in failing["data"]]
    assert_exist(checkout, [path for page in pages for path in linked(page)], f"{folder}/")


async def test_reports_of_one_upload_have_their_own_folders(reports: Reports, checkout: Path) -> None:
    await report(reports, *REPORTS)
    files = {
        result["file"] for result in (await reports.api.get("/v1/results", {"limit": "100"}))["data"] if result["file"]
    }
    assert_exist(checkout, files)
    assert {file.partition("/")[0] for file in files} == {"web", "api", "shop"}


async def test_stated_folder_replaces_that_of_existing_files(reports: Reports, checkout: Path) -> None:
    """The second upload isn't the first one, although its file is the same. Later seconds decide."""
    for folder, expected in (("packages/web", {"packages/web/src"}), (".", {"src"})):
        printed = await run(reports, "report", "web/junit.xml", "--project", "shop", "--wait", "--path-prefix", folder)
        await asyncio.sleep(1)
        assert ("the checkout has no folder packages/web" in printed) == (folder == "packages/web")
        files = [result["file"] for result in (await reports.api.get("/v1/results"))["data"]]
        assert {file.rpartition("/")[0] for file in files} == expected
