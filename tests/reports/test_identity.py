"""The identity of cases doesn't depend on outcomes or on the machine."""

import json
import os
import random
import re
import time
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path
from typing import Any, Final

import pytest

from service.reports.conversion.convert import convert
from service.reports.conversion.names import portable_name, portable_path, portable_text, with_separator
from tests.reports.conversions import convert_all, convert_cases, convert_text
from tests.reports.manifests import CORPUS, OWN, ListedReport, all_listed, readable
from tests.reports.test_convert import SYNTAXES
from tests.reports.tools.reading import ReadCase, read_run

SEED: Final = int(os.environ.get("RESULTS_TEST_SEED", "7"))
needs_corpus: Final = pytest.mark.skipif(not CORPUS.exists(), reason="the corpus is missing")

_OUTCOMES: Final = ("error", "failure", "skipped", "skip", "flakyFailure", "flakyError", "rerunFailure", "rerunError")
# Absolute paths in attributes and values that can be part of an identity.
_PATH: Final = re.compile(
    r"""((?:\b(?:name|classname|class|file|filepath)=|"(?:filePath|fullFile|name|suite)":\s*)["'])"""
    r"""((?:/[\w.~-]+){2}|[A-Z]:\\[\w.~-]+)(?=[/\\][^"']*\.\w+["'])"""
)


def _readable_junit() -> list[Any]:
    """Return the JUnit XML reports that the standard library can parse: the identity of others has no relations."""
    return [
        listed
        for listed in readable()
        if not isinstance(listed, ListedReport)
        or (listed.format == "junit-xml" and listed.path.name != "non-character.xml")
    ]


@pytest.mark.parametrize("listed", _readable_junit(), ids=str)
def test_outcomes_do_not_change_identities(listed: ListedReport, tmp_path: Path) -> None:
    _, results = convert_all(listed.path, tmp_path)
    tree = ElementTree.parse(listed.path)
    _change_outcomes(tree, random.Random(SEED))

    _, changed = convert_text(ElementTree.tostring(tree.getroot(), "utf-8"), tmp_path)

    assert _identities(changed) == _identities(results)


def _not_listed() -> list[ListedReport]:
    """Return the reports of this project whose cases the manifest doesn't count."""
    listed = {report.path for report in all_listed(OWN)}
    return [ListedReport(path, "", True, {}) for path in sorted(OWN.glob("*/*.*")) if path not in listed]


@pytest.mark.parametrize("listed", [*readable(), *_not_listed()], ids=str)
def test_two_checkout_paths_lead_to_the_same_case_ids(listed: ListedReport, tmp_path: Path) -> None:
    original = report = listed.path.read_bytes()
    if report[:2] in (b"\xff\xfe", b"\xfe\xff"):
        report = report.decode("utf-16").encode()
    moved = _PATH.sub(r"\1/builds/other folder/checkout-7", report.decode("latin-1")).encode("latin-1")

    cases = read_run(listed.path).cases

    assert not any(_has_absolute_path(case) for case in cases)
    if moved != original:
        elsewhere = tmp_path / "report"
        elsewhere.write_bytes(moved)
        assert [case[:4] + case[-1:] for case in read_run(elsewhere).cases] == [case[:4] + case[-1:] for case in cases]


@needs_corpus
@pytest.mark.parametrize(
    ("file", "index", "suite", "name", "path"),
    [
        ("phpunit-checkstyle.xml", 0, "PHPUnitTestSuite > CommentsTest", "testGoodDoc", "test/CommentsTest.php"),
        ("phpunit-dorny.xml", 2, "CLI Arguments > PHPUnit\\Event\\CollectingDispatcherTest",
         "testHasNoCollectedEventsWhenFlushedImmediatelyAfterCreation", "CollectingDispatcherTest.php"),
        ("codeception-xunit10.xml", 0, "acceptance (jenkins) > CommercialCombinedCest", "baseFlowTest",
         "CommercialCombinedCest.php"),
        ("xcresult-trunk-mix.xml", 1, "swift testing exampleTests.HelloWorldTestSuite", "helloWorldInvalid()",
         "swift_testing_exampleTests.swift"),
        ("nextest-mikepenz.xml", 0, "oxidized_navigation::parry3d", "test_failure", None),
        ("xunitnet-xslt1.xml", 0, "MyProject.Tests > SampleFact", "FailedTest", None),
        ("gen-ctrf-jest-dayjs.json", 0, "comparison.test.js", "is same without units", "comparison.test.js"),
        ("gen-ctrf-mocha-express.json", 0, "app.all.js", "app.all() should add a router per method", "app.all.js"),
    ],
    ids=["phpunit", "phpunit namespace", "codeception", "xcresult", "nextest", "xunit.net", "jest", "mocha"],
)  # fmt: skip
def test_identities_of_real_reports(
    file: str, index: int, suite: str, name: str, path: str | None, tmp_path: Path
) -> None:
    _, results = convert_all(CORPUS / file, tmp_path)

    result = results[index]
    assert (result.get("suite"), result["name"], result.get("file")) == (suite, name, path)


@needs_corpus
def test_file_that_only_failures_have_does_not_change_the_identity(tmp_path: Path) -> None:
    _, results = convert_all(CORPUS / "xcresult-trunk-mix.xml", tmp_path)

    passed, failed = results[2:]
    assert (passed.get("file"), failed.get("file")) == (None, "swift_testing_exampleTests.swift")
    assert passed.get("suite") == failed.get("suite") == "swift testing exampleTests"


def test_suites_of_robot_are_not_doubled(tmp_path: Path) -> None:
    _, results = convert_all(OWN / "robot-xunit.xml", tmp_path)

    assert [result.get("suite") for result in results] == ["Rf > Sub > Login"] * 2 + ["Rf > Top"] * 2


def test_prefix_is_removed_once(tmp_path: Path) -> None:
    (result,) = convert_cases("<testcase classname='a.a.b' name='c'/>", tmp_path, 'name="a"')

    assert result["suite"] == "a > a.b"


@pytest.mark.parametrize(
    ("node_id", "classname", "name"),
    [
        ("test_login.py::test_login", "test_login", "test_login"),
        ("test_login.py::test_login[a]", "test_login", "test_login[a]"),
        ("guide.md::guide.md", "guide.md", "guide.md"),
        ("test_cart.py::test_adds", "test_cart", "test_adds"),
    ],
)
def test_test_of_pytest_with_the_name_of_its_module_has_one_identity_in_both_formats(
    node_id: str, classname: str, name: str, tmp_path: Path
) -> None:
    test = {"nodeid": node_id, "outcome": "passed"}
    report = {"created": 1.5e9, "duration": 1, "exitcode": 0, "tests": [test]}
    _, (of_json,) = convert_text(json.dumps(report), tmp_path)
    (of_junit,) = convert_cases(f"<testcase classname='{classname}' name='{name}'/>", tmp_path, "name='pytest'")

    assert [(each["suite"], each["name"]) for each in (of_json, of_junit)] == [(f"pytest > {classname}", name)] * 2


def test_pytest_is_known_by_its_root_if_its_suite_has_another_name(tmp_path: Path) -> None:
    case = "<testcase classname='test_login' name='test_login'/>"
    _, (result,) = convert_text(
        f"<testsuites name='pytest tests'><testsuite name='shop'>{case}</testsuite></testsuites>", tmp_path
    )

    assert result["suite"] == "shop > test_login"


@pytest.mark.parametrize(
    ("suite", "case", "identity"),
    [
        ('name="s"', 'name="" classname="k"', ("s", "k")),
        ('name="s" file="/ci/x/t.js"', 'name=""', ("s", "t.js")),
        ('name="s"', "", ("s", "s")),
        ("", 'name="c" classname="c"', ("c", "c")),
        ("", 'name="c" file="/ci/x/t.js"', ("t.js", "c")),
        ('name="totals"', 'name="cart totals adds" classname="adds"', ("totals", "cart totals adds")),
        ('name="cart"', 'name="adds" classname="cart &gt; totals"', ("cart > totals", "adds")),
        ('name="src/a.test.js"', 'name="" classname=""', ("src/a.test.js", "src/a.test.js")),
        ('name="\ufeffs"', 'name="\ufeffc" classname="\ufeffk"', ("s > k", "c")),
        ('name="/ci/x/a.js"', 'name="/ci/x/a.js:7"', ("a.js", "a.js:7")),
        ('name="/w/src/a.js"', 'name="org.eslint" classname="/home/ci/w/src/a"', ("a.js > a", "org.eslint")),
        ('name="/users/list"', 'name="/users/{id}"', ("/users/list", "/users/{id}")),
    ],
    ids=[
        "class",
        "file",
        "suite",
        "suite by class",
        "suite by file",
        "mocha",
        "jest",
        "vitest",
        "byte order mark",
        "paths",
        "eslint",
        "routes",
    ],
)
def test_empty_and_unusual_names(suite: str, case: str, identity: tuple[str, str], tmp_path: Path) -> None:
    (result,) = convert_cases(f"<testcase {case}/>", tmp_path, suite)

    assert (result["suite"], result["name"]) == identity


@pytest.mark.parametrize(
    ("path", "root", "portable"),
    [
        ("a/b.py", None, "a/b.py"),
        ("../b.py", "/w/", "../b.py"),
        ("/w/a/b.py", "/w/", "a/b.py"),
        ("/x/a/b.py", "/w/", "b.py"),
        ("C:\\w\\a\\b.cs", "C:\\w\\", "a/b.cs"),
        ("C:\\w\\a\\b.cs", None, "b.cs"),
        ("file:///w/a/b.py", "/w/", "a/b.py"),
        ("\\\\server\\share\\b.cs", None, "b.cs"),
        ("\ufeffa.py", None, "a.py"),
    ],
    ids=range(9),
)
def test_paths_become_portable(path: str, root: str | None, portable: str) -> None:
    assert portable_path(path, root) == portable


@pytest.mark.parametrize(
    ("path", "root", "portable"),
    [
        ("/w/a/b.py", "/w", "a/b.py"),
        ("/w/a/b.py", "/w/", "a/b.py"),
        ("/w2/a/b.py", "/w", "b.py"),
        ("D:\\w\\a\\b.cs", "d:\\W", "a/b.cs"),
        ("d:/w/a/b.ts", "D:\\w\\", "a/b.ts"),
        ("file:///D:/w/a/b.ts", "D:\\w", "a/b.ts"),
        ("D:\\w2\\a\\b.cs", "D:\\w", "b.cs"),
        ("src/b.py", "/w", "src/b.py"),
    ],
    ids=range(8),
)
def test_files_are_relative_to_the_checkout(path: str, root: str, portable: str) -> None:
    assert portable_path(path, None, with_separator(root)) == portable


@pytest.mark.parametrize(
    "report",
    [
        "<testsuite name='s'><testcase name='adds' file='/ci/shop/web/cart.test.js'/></testsuite>",
        "<testsuite name='s' file='/ci/shop/web/cart.test.js'><testcase name='adds'/></testsuite>",
        "<testsuite name='/ci/shop/web/cart.test.js'><testcase name='adds'/></testsuite>",
    ],
    ids=["case", "suite", "suite name"],
)
def test_checkout_changes_the_file_but_not_the_identity(report: str, tmp_path: Path) -> None:
    found = []
    for root in (None, "/ci/other", "/ci/shop"):
        (tmp_path / "report").write_text(report)
        convert(tmp_path / "report", tmp_path / "results", root=root)
        (result,) = json.loads((tmp_path / "results").read_bytes())
        found.append((result["suite"], result["name"], result["file"]))

    suite, name, _ = found[0]
    assert "/" not in suite
    assert found == [(suite, name, file) for file in ("cart.test.js", "cart.test.js", "web/cart.test.js")]


@needs_corpus
def test_files_of_ctrf_keep_their_folders(tmp_path: Path) -> None:
    convert(CORPUS / "gen-ctrf-jest-dayjs.json", tmp_path / "results", root="/src/src/dayjs")

    files = {result["file"] for result in json.loads((tmp_path / "results").read_bytes().splitlines()[0])}
    assert "test/comparison.test.js" in files
    assert all(file.startswith("test/") for file in files)


@pytest.mark.parametrize(
    ("name", "portable"),
    [
        ("/", "/"),
        ("/a.js", "/a.js"),
        ("/api/users returns 1.5", "/api/users returns 1.5"),
        ("/w/a/b.rb:3 works", "b.rb:3 works"),
        ("D:\\w\\b.cs", "b.cs"),
        ("C:\\w\\tests", "tests"),
        ("/home/ci/w/src/cart", "cart"),
        ("/home/page", "/home/page"),
        ("/users/{id}/cart", "/users/{id}/cart"),
        ("a:b", "a:b"),
        ("GET /a/b.json", "GET /a/b.json"),
    ],
    ids=range(11),
)
def test_only_absolute_paths_are_removed_from_names(name: str, portable: str) -> None:
    assert portable_name(name) == portable


@pytest.mark.parametrize(
    ("text", "portable"),
    [
        ("reads /home/ann/shop/a/cart.json", "reads ~/shop/a/cart.json"),
        ("t[/home/ann/x.json-/Users/ann/y.json]", "t[~/x.json-~/y.json]"),
        ("t[C:\\\\Users\\\\Ann Lee\\\\a.json]", "t[~/a.json]"),
        ("TestWalk//home/ci/x", "TestWalk/~/x"),
        ("TestWalk//home/ci/x/y.json", "TestWalk/~/x/y.json"),
        ("opens file:///home/ann/x.py", "opens ~/x.py"),
        ("t[/tmp/pytest-of-ann/pytest-12/test_x0/a.json]", "t[/tmp/test_x0/a.json]"),
        ("reads /tmp/tmpab_12cd4/a.json", "reads /tmp/tmp/a.json"),
        ("reads /tmp/junit1234567890123/a.json", "reads /tmp/junit/a.json"),
        ("reads /private/var/folders/zz/abc_1/T/cart-aB3dEf/x", "reads /tmp/cart-/x"),
        ("t[C:\\Users\\ANN~1\\AppData\\Local\\Temp\\a123456\\x.json]", "t[/tmp/a/x.json]"),
        ("t[/tmp/0b6f7c1e-8f0e-4d0a-9d57-0f5f2c6a1b11.json]", "t[/tmp/.json]"),
        ("prints <shop.Cart object at 0x7f3a2c1b>", "prints <shop.Cart object>"),
        ("t[<Mock name='cart' id='140234567'>]", "t[<Mock name='cart'>]"),
        ("equals #<Cart:0x000055d0 @items=[]>", "equals #<Cart @items=[]>"),
        ("[1] com.shop.Cart@1b2c3d4", "[1] com.shop.Cart"),
        ("t[com.shop.Cart$$Lambda$14/0x0000000800066840@4b1210ee]", "t[com.shop.Cart$$Lambda]"),
        ("TestPointer/0xc000012345", "TestPointer/0x"),
    ],
)  # fmt: skip
def test_parts_that_differ_between_machines_and_runs_are_removed(text: str, portable: str) -> None:
    assert portable_text(text) == portable
    assert portable_text(portable) == portable


@pytest.mark.parametrize(
    "text",
    [
        "GET /users/7/cart", "GET /home/index", "GET /api/home/ann/cart", "opens https://home/ann/cart", "a/tmp/b1234",
        "installs React@18", "mails ann@example.com", "writes /tmp/build/v1/golden.json", "opens C:\\shop\\a.json",
        "decodes 0x00401000 at 0x00401004", "expands ${root}/home/ann/cart", "adds", "/", "",
    ],
)  # fmt: skip
def test_parts_that_are_the_same_everywhere_stay(text: str) -> None:
    assert portable_text(text) == text


@pytest.mark.parametrize("syntax", sorted(SYNTAXES.keys() - {"allure", "tap"} | {"tap point"}))
def test_names_in_all_formats_are_the_same_on_every_machine_and_in_every_run(syntax: str, tmp_path: Path) -> None:
    point = ("TAP version 14\n1..1\n", "not ok 1 - c{number}\n", "")
    start, case, end = SYNTAXES.get(syntax, point)

    def names_of(user: str, name: str, number: str) -> set[tuple[str, str]]:
        text = f" /home/{user}/a.json /tmp/{name}/b.json Cart@{number}"
        report = f"{start}{case.replace('{number}', text)}{end}"
        return {(each.get("suite", ""), each["name"]) for each in convert_text(report, tmp_path)[1]}

    names = names_of("ann", "tmpab12cd34", "1b2c3d")
    assert names == names_of("bob", "tmpzz_98yx7", "77ffa0")
    assert any("~/a.json /tmp/tmp/b.json Cart" in name for _, name in names)


@pytest.mark.parametrize("part", ["/home/", "/tmp/-A", "[", "A.", "<a:", "C:\\Users\\", "$$Lambda", "-/home/-", "_"])
def test_time_for_a_long_name_is_linear(part: str) -> None:
    text = f"/tmp/{part * 100_000}@0x"
    whole, quarter = (_portable_s(text[-size:]) for size in (len(text), len(text) // 4))

    assert whole < 10 * quarter + 0.01  # a quadratic time takes 16 times as long, or minutes


def _portable_s(text: str) -> float:
    started = time.process_time()
    portable_text(text)
    return time.process_time() - started


def test_names_of_native_results_are_those_of_their_producer(tmp_path: Path) -> None:
    name = "reads /home/ann/cart.json of shop.Cart@1b2c3d"
    _, (result,) = convert_text(json.dumps({"results": [{"name": name, "status": "passed"}]}), tmp_path)

    assert result["name"] == name


def _change_outcomes(tree: Any, chance: random.Random) -> None:
    for case in tree.iter("testcase"):
        for element in [child for child in case if child.tag in _OUTCOMES]:
            case.remove(element)
        if outcome := chance.choice((None, "failure", "error", "skipped", "flakyFailure")):
            message = chance.choice(("no", "failed on teardown with x"))
            ElementTree.SubElement(case, outcome, {"message": message}).text = "text"


def _identities(results: list[Any]) -> Counter[tuple[Any, ...]]:
    """Return the suites and names. The file isn't a part of the identity: pytest states it only for failures."""
    return Counter((result.get("suite"), result["name"]) for result in results)


def _has_absolute_path(case: ReadCase) -> bool:
    texts = (case.suite, case.name, case.file or "")
    return any(re.search(r"(?:^| > )(?:/|[A-Z]:\\)(?:[^/\\>]+[/\\])+[^/\\>]+\.\w+(?:$| > )", text) for text in texts)
