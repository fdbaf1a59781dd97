"""Notes about counts that a report declares, and failures of cases that don't count."""

from pathlib import Path
from typing import Any

import pytest

from tests.reports.conversions import convert_all, convert_text
from tests.reports.manifests import CORPUS, OWN

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


def test_allowed_failures_of_catch2_are_skipped(tmp_path: Path) -> None:
    summary, results = convert_all(OWN / "catch2.xml", tmp_path)

    assert [(result["name"], result["status"]) for result in results] == [
        ("sums", "passed"),
        ("rounds down", "skipped"),
        ("must fail", "skipped"),
        ("is skipped", "skipped"),
        ("fails", "failed"),
        ("throws in a section/inner", "error"),
    ]
    failure: Any = results[1]["failure"]
    assert failure["message"] == "7 / 2 == 4"
    assert "with expansion:\n  3 == 4" in failure["details"]
    assert failure["details"].endswith("TEST_CASE tagged with !mayfail")
    assert summary.notes == ()
