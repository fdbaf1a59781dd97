"""The selections of Playwright and Jest, executed by them."""

import subprocess
from collections.abc import Iterable
from itertools import product
from pathlib import Path

import pytest

from service.client.tool_selections import SelectedTest
from service.domain.errors import ServiceError
from tests.client.selections.reruns import (
    TIMEOUT_S,
    identities,
    read_executed,
    read_tests,
    require,
    run,
    select,
    write_files,
    write_lines,
)

PACKAGES = ("@playwright/test@1.65.1", "jest@30.5.2")
TITLES = ["a b", "a.*b", "[x] (y)", 'it\'s "q"', "ä 🐍", "x::y", "$(touch x)", "a > b", "^a|b$", "#1", "ok"]
HOOKED = "const {test, expect} = require('@playwright/test');\n"
CHECK = "expect(title).toBe('ok')"
BODY = f"""
for (const title of {TITLES!r}) test(title, () => {{ {CHECK}; }});
describe('cart > total', () => {{ describe('deep', () => {{
  for (const title of {TITLES!r}) test(title, () => {{ {CHECK}; }});
}}); }});
describe('cart', () => {{ describe('total', () => {{ test('a b', () => {{}}); }}); }});
"""
PLAYWRIGHT = f"{HOOKED}const describe = test.describe;\n{BODY}"
OTHER = "test('a b', () => {}); test('c', () => {});"
CONFIG = "module.exports = {testDir: 'e2e', projects: [{name: 'one'}, {name: 'two words'}], workers: 1};"


@pytest.fixture(scope="module")
def node_modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the tools once."""
    require("node", "npm", "npx", "xargs", packages="nodejs, npm, findutils")
    folder = tmp_path_factory.mktemp("node")
    command = ("npm", "install", "--no-audit", "--no-fund", "--prefer-offline", *PACKAGES)
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=TIMEOUT_S)
    return folder / "node_modules"


@pytest.fixture
def shop(node_modules: Path, tmp_path: Path) -> Path:
    write_files(tmp_path, package_DOT_json='{"private": true}')
    (tmp_path / "node_modules").symlink_to(node_modules)
    return tmp_path


def execute_playwright(folder: Path, name: str, *options: str) -> Path:
    report = folder / name
    executed = run(folder, "npx", "playwright", "test", "--reporter=json", *options)
    report.write_text(executed.stdout, encoding="utf-8")
    assert executed.returncode == 1, executed.stdout + executed.stderr
    return report


@pytest.mark.nightly
def test_failed_tests_of_playwright_are_executed(shop: Path) -> None:
    write_files(shop, playwright_DOT_config_DOT_js=CONFIG, e2e__cart_DOT_spec_DOT_js=PLAYWRIGHT)
    write_files(shop, e2e__deep__cart_DOT_spec_DOT_js=HOOKED + OTHER)
    failed = read_tests(execute_playwright(shop, "first.json"))
    assert len(failed) == 2 * 2 * (len(TITLES) - 1)
    of_one = [test for test in failed if test.project == "two words" or test.name == "a b"]
    selection = select("playwright", of_one)
    assert not selection.widened
    write_lines(shop / "failed.txt", selection)
    executed = read_executed(execute_playwright(shop, "second.json", "--test-list=failed.txt"))
    # A block `cart > total` can't be distinguished from a block `total` in a block `cart`.
    assert executed - {("cart.spec.js > cart > total", "a b", project) for project in ("one", "two words")} == (
        identities(of_one)
    )
    assert not (shop / "x").exists()


def execute_jest(folder: Path, name: str, entered: str | None = None) -> Path:
    command = ("npx", "jest", "--json", f"--outputFile={name}")
    executed = (
        run(folder, *command) if entered is None else run(folder, "xargs", "-d", "\\n", *command, entered=entered)
    )
    assert (folder / name).exists(), executed.stderr
    return folder / name


@pytest.mark.nightly
def test_failed_tests_of_jest_are_executed(shop: Path) -> None:
    write_files(shop, web__cart_DOT_test_DOT_js=BODY, web__stock_DOT_test_DOT_js=OTHER)
    failed = read_tests(execute_jest(shop, "first.json"))
    assert len(failed) == 2 * (len(TITLES) - 1)
    selection = select("jest", failed)
    assert not selection.widened
    executed = read_executed(execute_jest(shop, "second.json", write_lines(shop / "failed.txt", selection)))
    # Without a block, the name is only the end of the pattern: `cart total a b` ends with the name `a b`.
    more = {("cart.test.js > cart > total", "cart total a b", "")}
    assert executed - more == identities(failed)
    assert not (shop / "x").exists()


@pytest.mark.nightly
def test_file_that_jest_cannot_load_is_selected(shop: Path) -> None:
    write_files(shop, web__cart_DOT_test_DOT_js="require('./missing');", web__stock_DOT_test_DOT_js=OTHER)
    write_files(shop, web__fails_DOT_test_DOT_js="test('a', () => { throw 1; }); test('b', () => {});")
    failed = read_tests(execute_jest(shop, "first.json"))
    selection = select("jest", failed)
    assert selection.lines == [r"(^|/)cart\.test\.js$", r"(^|/)fails\.test\.js$"]
    executed = read_executed(execute_jest(shop, "second.json", write_lines(shop / "failed.txt", selection)))
    assert {name for _, name, _ in executed} == {"(suite)", "a", "b"}


def lines(tool: str, *tests: SelectedTest) -> list[str]:
    return list(select(tool, tests).lines)


def test_line_of_playwright_contains_the_project_and_the_titles() -> None:
    test = SelectedTest("cart.spec.ts > cart", "pays", "e2e/cart.spec.ts", "chromium")
    assert lines("playwright", test) == ["[chromium] › cart.spec.ts › cart › pays"]
    assert lines("playwright", test._replace(project="")) == ["cart.spec.ts › cart › pays"]
    both = ["cart.spec.ts › a > b › pays", "cart.spec.ts › a › b › pays"]
    assert lines("playwright", test._replace(project="", suite="cart.spec.ts > a > b")) == both


def suites(depth: int) -> str:
    return " > ".join(["cart.spec.ts", *(["a"] * depth)])


@pytest.mark.parametrize(
    ("suite", "name"),
    [
        ("cart.spec.ts > cart", "cart › pays"),  # the JUnit XML of Playwright
        ("cart.spec.ts", " pays"),
        ("cart.spec.ts", "pays\nlater"),
        ("cart.spec.ts", "(suite)"),
        ("cart.spec.ts", "writes /tmp/cart.json"),
        (suites(6), "pays"),
        (f"cart.spec.ts > {'a' * 990}", "pays"),
    ],
)
def test_file_of_playwright_is_selected_for_an_inexact_title(suite: str, name: str) -> None:
    selection = select("playwright", [SelectedTest(suite, name, "cart.spec.ts", "one")])
    assert (list(selection.lines), len(selection.widened)) == (["[one] › cart.spec.ts"], 1)


def test_titles_of_nested_blocks_are_grouped_in_each_way() -> None:
    test = SelectedTest(suites(5), "pays", "cart.spec.ts")
    expected = {"cart.spec.ts › a" + "".join(f"{each}a" for each in path) for path in product([" › ", " > "], repeat=4)}
    assert set(lines("playwright", test)) == {f"{line} › pays" for line in expected}


def test_files_replace_a_long_list_of_playwright() -> None:
    """Playwright compares each test with each line."""
    tests = [SelectedTest("[a].spec.ts > b", f"t{number}", "e2e/[a].spec.ts", "one") for number in range(1_001)]
    assert len(lines("playwright", *tests[:1_000])) == 1_000
    assert lines("playwright", *tests, tests[0]._replace(project="two")) == [
        "[one] › [a].spec.ts",
        "[two] › [a].spec.ts",
    ]


@pytest.mark.parametrize("suite", ["", "#cart.spec.ts", "global-setup.ts > a", "cart.spec.ts"])
def test_failure_without_a_file_of_tests_cannot_be_selected_for_playwright(suite: str) -> None:
    with pytest.raises(ServiceError, match="run all tests"):
        select("playwright", [SelectedTest(suite, "pays", "#cart.spec.ts" if suite[:1] == "#" else "")])


@pytest.mark.parametrize(
    ("suite", "name", "pattern"),
    [
        ("cart.test.js > cart", "cart pays", "^cart pays$"),
        ("cart.test.js > cart", "pays", "(^| )pays$"),  # a report whose names aren't complete
        ("cart.test.js", "pays", "(^| )pays$"),
        ("cart.test.js > undefined", " pays", "(^| )pays$"),  # jest-junit
        ("cart.test.js", "reads ~/a and /tmp/b", "(^| )reads .*a and .*b$"),
        ("cart.test.js", "a\nb", "(^| )a[^]b$"),
        ("cart.test.js", "a" * 1_000, f"(^| ){'a' * 1_000}"),
    ],
)
def test_pattern_of_jest_matches_the_name(suite: str, name: str, pattern: str) -> None:
    test = SelectedTest(suite, name, "cart.test.js")
    assert lines("jest", test) == [f"--testNamePattern={pattern}", r"(^|/)cart\.test\.js$"]


@pytest.mark.parametrize(
    ("suite", "name"),
    [
        ("a.test.js", "(suite)"),
        ("a.test.js > Test suite failed to run", "a.test.js"),
        ("a.test.js > undefined", " Test execution failure: could be caused by test hooks like 'afterAll'."),
    ],
)
def test_failure_of_a_file_selects_all_tests_of_the_files_of_jest(suite: str, name: str) -> None:
    assert lines("jest", SelectedTest(suite, name, "a.test.js")) == [r"(^|/)a\.test\.js$"]


def numbered(numbers: Iterable[int]) -> list[SelectedTest]:
    return [SelectedTest("a.test.js", f"{'pays' * 50} {number}", "a.test.js") for number in numbers]


def test_files_replace_a_long_pattern_of_jest() -> None:
    assert lines("jest", *numbered(range(1_000))) == [r"(^|/)a\.test\.js$"]
    assert len(lines("jest", *numbered(range(100)))) == 2


def test_all_files_are_selected_if_jest_states_none() -> None:
    tests = [SelectedTest("cart", "cart pays"), SelectedTest("a.test.js", "b", "a.test.js")]
    assert lines("jest", *tests) == ["--testNamePattern=(^| )b$|^cart pays$", "."]
