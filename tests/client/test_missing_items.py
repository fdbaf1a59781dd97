"""`failed --missing` selects the items of splits that no job executed, and the other missing tests of the baseline."""

from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import pytest

from service.client.tool_selections import SELECTIONS, SelectedTest
from tests.report_api import Reports, serving_reports_with_ingester
from tests.runner.executions import Checkout

pytestmark = pytest.mark.slow

FILES = [f"tests/test_{name}.py" for name in "abcd"]


@pytest.fixture
async def reports(database_url: str, tmp_path: Path) -> AsyncIterator[Reports]:
    async with serving_reports_with_ingester(database_url, tmp_path / "storage") as opened:
        yield opened


@pytest.fixture
async def checkout(reports: Reports, tmp_path: Path) -> Checkout:
    await reports.api.become("admin")
    url = str(reports.api.http.make_url("/"))
    folder = tmp_path / "checkout"
    folder.mkdir()
    (folder / ".git").mkdir()
    checkout = Checkout(folder, {"RESULTS_URL": url, "RESULTS_API_KEY": reports.api.key, "RESULTS_PROJECT": "shop"})
    for file in (*FILES, "tests/test_old.py"):
        checkout.write(f"web/{file}", "")
    return Checkout(folder / "web", checkout.variables)


def junit(files: Iterable[str], names: Iterable[str]) -> str:
    cases = [
        f'<testcase classname="{file[:-3].replace("/", ".")}" name="{name}" file="{file}" time="1"/>'
        for file in files
        for name in names
    ]
    return f'<testsuite name="pytest" tests="{len(cases)}">{"".join(cases)}</testsuite>'


async def report(checkout: Checkout, content: str, *options: str) -> None:
    checkout.write("junit.xml", content)
    ended = await checkout.execute("report", "junit.xml", *options, "--wait")
    assert ended.code == 0, ended.stderr


async def split(checkout: Checkout, run_id: str, items: Iterable[str], *options: str) -> list[str]:
    stdin = "".join(f"{item}\n" for item in items).encode()
    total = ("--run-id", run_id, "--total", "2", "--index", "1")
    ended = await checkout.execute("split", *total, *options, stdin=stdin)
    assert ended.code == 0, ended.stderr
    return ended.stdout.decode().splitlines()


async def missing(checkout: Checkout, tool: str = "pytest") -> list[str]:
    ended = await checkout.execute("failed", "--missing", "--run-id", "run_2", "--format", tool)
    assert ended.code == 0, ended.stderr
    return ended.stdout.decode().splitlines()


async def test_files_of_a_job_without_an_upload_are_selected(checkout: Checkout) -> None:
    await report(
        checkout, junit([*FILES, "tests/test_old.py"], ["one", "two"]), "--run-id", "run_1", "--branch", "main"
    )
    part = await split(checkout, "run_2", FILES)
    others = sorted(set(FILES) - set(part))
    assert len(part) == len(others) == 2
    await report(checkout, junit(part, ["one"]), "--run-id", "run_2", "--base-branch", "main")

    # Job 1 has executed its files without the tests `two` on purpose. No item is the old file.
    expected = [*others, "tests/test_old.py::one", "tests/test_old.py::two"]
    assert await missing(checkout) == expected
    plain = [f"pytest > tests.test_old > {name}" for name in ("one", "two")]
    assert await missing(checkout, "plain") == [*plain, *others]


async def test_files_are_known_without_a_baseline(checkout: Checkout) -> None:
    part = await split(checkout, "run_2", FILES)
    await report(checkout, junit(part, ["one"]), "--run-id", "run_2")
    assert await missing(checkout) == sorted(set(FILES) - set(part))


async def test_cases_of_a_job_without_an_upload_are_selected(checkout: Checkout) -> None:
    names = ["one", "two", "three", "four"]
    await report(checkout, junit(FILES[:1], names), "--run-id", "run_1", "--branch", "main")
    items = [f"pytest > tests.test_a > {name}" for name in names]
    part = await split(checkout, "run_2", items, "--unit", "case")
    executed = [item.rpartition(" > ")[2] for item in part]
    await report(checkout, junit(FILES[:1], executed), "--run-id", "run_2", "--base-branch", "main")
    assert await missing(checkout, "plain") == sorted(set(items) - set(part))
    assert await missing(checkout) == sorted(f"tests/test_a.py::{name}" for name in set(names) - set(executed))


@pytest.mark.parametrize(
    ("tool", "lines", "widened"),
    [
        ("plain", ["e2e/a.spec.ts"], []),
        ("pytest", ["e2e/a.spec.ts"], []),
        ("playwright", ["a.spec.ts"], []),
        ("jest", ["(^|/)e2e\\/a\\.spec\\.ts$"], []),
        ("go", ["-bench=.", "./..."], ["e2e/a.spec.ts: all packages"]),
        ("gradle", ["--tests=*"], ["e2e/a.spec.ts: all tests"]),
    ],
)
def test_file_is_selected_for_each_tool(tool: str, lines: list[str], widened: list[str]) -> None:
    selection = SELECTIONS[tool]([SelectedTest("a.spec.ts", "", "e2e/a.spec.ts")])
    assert (list(selection.lines), list(selection.widened)) == (lines, widened)


def test_gradle_cannot_select_a_file_that_is_named_like_a_class() -> None:
    assert SELECTIONS["gradle"]([SelectedTest("FooTest.java", "", "FooTest.java")]).lines == ["--tests=*"]


def test_file_replaces_its_tests_for_pytest_and_jest() -> None:
    file = SelectedTest("tests/a.py", "", "tests/a.py")
    test = SelectedTest("pytest > tests.a", "test_one", "tests/a.py")
    assert SELECTIONS["pytest"]([file, test]).lines == ["tests/a.py"]
    mixed = SELECTIONS["jest"]([file, SelectedTest("b", "c", "b.test.js")])
    assert mixed.lines == ["(^|/)b\\.test\\.js$", "(^|/)tests\\/a\\.py$"]
    assert mixed.widened == ["tests/a.py: all tests of the files"]
