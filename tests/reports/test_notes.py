"""Notes about counts that a report declares, and failures of cases that don't count."""

from pathlib import Path
from typing import Any

import pytest

from tests.reports.conversions import convert_all, convert_cases, convert_text
from tests.reports.manifests import CORPUS

_CASE = "<testcase name='c'/>"

needs_corpus = pytest.mark.skipif(not CORPUS.exists(), reason="the corpus is missing")

# Reports that a tool wrote for this purpose, so that nothing is missing.
_GENERATED: list[Any] = sorted(path.name for path in CORPUS.glob("gen-*") if "robot" not in path.name) or [
    pytest.param("absent", marks=needs_corpus)
]


@pytest.mark.parametrize("file", _GENERATED)
def test_ordinary_uploads_have_no_notes(file: str, tmp_path: Path) -> None:
    summary, _ = convert_all(CORPUS / file, tmp_path)

    assert summary.notes == ()


@needs_corpus
@pytest.mark.parametrize(
    ("file", "notes"),
    [
        # Surefire counts each run of a flaky case.
        ("surefire-flaky-jenkins237.xml", ()),
        # Each of several failures of a case counts.
        ("multi-failures-mikepenz.xml", ()),
        # Nette Tester declares failures as errors.
        ("nette-tester.xml", ()),
        ("mocha-junit-mikepenz.xml", ("tests: the report declares 15515, but contains 1",)),
        (
            "flakybot-java-failed.xml",
            (
                "tests: the report declares 33, but contains 2",
                "failures: the report declares 2, but contains 1",
            ),
        ),
    ],
)
def test_notes_of_real_reports(file: str, notes: tuple[str, ...], tmp_path: Path) -> None:
    summary, _ = convert_all(CORPUS / file, tmp_path)

    assert summary.notes == notes


@pytest.mark.parametrize(
    ("attributes", "cases", "notes"),
    [
        ("tests='4'", 5, ()),
        ("tests='5' skipped='2'", 3, ()),
        ("tests='5' skipped='1'", 3, ("tests: the report declares 5, but contains 3",)),
        ("tests='3' skipped='1'", 3, ("skipped: the report declares 1, but contains 0",)),
    ],
    ids=["todo", "skipped tests aren't listed", "tests are missing", "skipped"],
)
def test_missing_tests_are_noted(attributes: str, cases: int, notes: tuple[str, ...], tmp_path: Path) -> None:
    summary, _ = convert_text(f"<testsuite {attributes}>{_CASE * cases}</testsuite>", tmp_path)

    assert summary.notes == notes


def test_allowed_failure_of_catch2_is_skipped(tmp_path: Path) -> None:
    (result,) = convert_cases(
        "<testcase name='c'><skipped message='TEST_CASE tagged with !mayfail'/>"
        "<failure message='CHECK(a)' type='CHECK'>FAILED: CHECK( a )</failure></testcase>",
        tmp_path,
    )

    assert result["status"] == "skipped"
    assert result["failure"]["message"] == "CHECK(a)"
    assert result["failure"]["details"].endswith("TEST_CASE tagged with !mayfail")
