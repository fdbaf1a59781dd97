"""Conversion of TAP to results."""

import re
import time
from pathlib import Path
from typing import Any

import pytest

from service.reports.conversion.errors import ReportError
from service.reports.formats.tap import documents
from service.reports.formats.tap.documents import INDENT
from tests.reports.conversions import convert_all, convert_text
from tests.reports.work import executed_lines

NOT_RUN = "The plan states {} test points, but the report contains {}."
NO_PLAN = "The report ends before the plan, after {} test points."


def outline_of(report: str, folder: Path) -> list[tuple[Any, ...]]:
    """Return suite, name, and status of all results."""
    return [(each["suite"], each["name"], each["status"]) for each in convert_text(report, folder)[1]]


def only_case(lines: str, folder: Path) -> Any:
    """Return the result of a report with this test point."""
    (result,) = convert_text(f"1..1\n{lines}\n", folder)[1]
    return result


@pytest.mark.parametrize(
    ("point", "name", "status"),
    [
        ("ok 1 - adds", "adds", "passed"), ("ok 1 adds", "adds", "passed"), ("ok - adds", "adds", "passed"),
        ("ok adds", "adds", "passed"), ("ok 1", "test 1", "passed"), ("ok", "test 1", "passed"),
        ("not ok", "test 1", "failed"), ("not ok 1 - adds", "adds", "failed"), ("ok 1 -", "-", "passed"),
        (r"ok 1 - a \# b \\ c \d", r"a # b \ c \d", "passed"), ("ok 1 - a # b", "a # b", "passed"),
        ("ok 1 - a # SKIP no net", "a", "skipped"), ("ok 1 - a # skipped: no net", "a", "skipped"),
        ("not ok 1 - a # SKIP no net", "a", "skipped"), ("ok 1 # skip no net", "test 1", "skipped"),
        ("not ok 1 - a # TODO later", "a", "skipped"), ("ok 1 - a # todo", "a", "skipped"),
        (r"not ok 1 - a \# TODO later", "a # TODO later", "failed"), ("not ok 1 - a #b", "a #b", "failed"),
        ("not ok 1 renders #todo items", "renders #todo items", "failed"),
        ("not ok 1 - a #SKIP b", "a #SKIP b", "failed"), ("ok 1 #skip no net", "test 1", "skipped"),
        ("ok 1 - a #skip no net", "a", "skipped"), ("ok 1 a #SKIP", "a", "skipped"),
        ("not ok 1 - a #TODO later", "a #TODO later", "failed"), ("not ok 1 #todo items", "#todo items", "failed"),
        ("ok 1 renders #todo items", "renders #todo items", "passed"), ("ok 1 #todo b # skip c", "#todo b", "skipped"),
        ("ok 1 - a b#skip", "a b#skip", "passed"), (r"ok 1 - a \#skip", "a #skip", "passed"),
        ("not ok 1 - a # TODOS", "a # TODOS", "failed"), ("ok 1 - a # time=12.5ms", "a", "passed"),
        ("not ok 1 a # timeout after 10s", "a", "failed"),
        ("ok 1 a # in 12 ms", "a", "passed"), ("ok 1 a # in 12 ms # skip b", "a", "skipped"),
        ("ok 1 - /ci/shop/t/cart.t", "cart.t", "passed"), ("ok 1 - \u00e4 \u2014", "\u00e4 \u2014", "passed"),
    ],
)  # fmt: skip
def test_name_and_status_of_a_test_point(point: str, name: str, status: str, tmp_path: Path) -> None:
    result = only_case(point, tmp_path)

    assert (result["suite"], result["name"], result["status"]) == ("", name, status)


@pytest.mark.parametrize(
    ("point", "duration_ms", "reason"),
    [
        ("ok 1 - a # time=12.5ms", 12.5, None), ("ok 1 - a # in 12 ms # skip no net", 12, "no net"),
        ("ok 1 - a # SKIP no net # time=3ms", 3, "no net"), ("not ok 1 - a # TODO: later", None, "later"),
        (r"ok 1 - a # SKIP waits for \#12 \\ \d", None, r"waits for #12 \ \d"),
        ("ok 1 - a # SKIP -", None, None), ("ok 1 - a # time=1.2.3ms", None, None),
    ],
)  # fmt: skip
def test_duration_and_reason_of_a_test_point(
    point: str, duration_ms: float | None, reason: str | None, tmp_path: Path
) -> None:
    result = only_case(point, tmp_path)

    assert (result.get("duration_ms"), (result.get("failure") or {}).get("message")) == (duration_ms, reason)


@pytest.mark.parametrize(
    "report",
    [
        "TAP version 13\n1..2\nok 1 - a\nok 2 - b\n", "TAP version 14\nok 1 - a\nok 2 - b\n1..2\n",
        "1..2\nok 1 - a\nok 2 - b", "ok 1 - a\nok 2 - b\n1..2\n# done\n", "1..2\r\nok 1 - a\r\nok 2 - b\r\n",
        "# started\n\n1..2\nok 1 - a\nok 2 - b\n", "\n> npm test\n\nTAP version 13\nok 1 - a\nok 2 - b\n1..2\n",
        "TAP version 14\npragma +strict\n1..2\nok 1 - a\npragma -strict\nok 2 - b\n", "1..2\nok - a\nok - b\n",
        "\ufeff1..2\nok 1 - a\nok 2 - b\n", "1..2 # two\nTAP version 13\nok 1 - a\nok 2 - b\n",
    ],
    ids=range(11),
)  # fmt: skip
def test_plan_and_version_have_several_positions(report: str, tmp_path: Path) -> None:
    summary, results = convert_text(report, tmp_path)

    assert [(result["name"], result["status"]) for result in results] == [("a", "passed"), ("b", "passed")]
    assert (summary.format, summary.notes, summary.failures_missing) == ("tap", (), False)


@pytest.mark.parametrize(
    ("report", "message", "missing"),
    [
        ("1..3\nok 1 - a\nok 2 - b\n", NOT_RUN.format(3, 2), False),
        ("ok 1 - a\nok 3 - c\n1..3\n", NOT_RUN.format(3, 2), False),
        ("ok 1 - a\nok 2 - b\n1..1\n", NOT_RUN.format(1, 2), False),
        ("1..2\nok 2 - a\nok 1 - b\n", "The test point 1 has the number 2.", False),
        ("1..3\nok 1 - a\nok 2 - b\nok 2 - b\n", "The test point 3 has the number 2.", False),
        ("TAP version 13\nok 1 - a\n", NO_PLAN.format(1), True),
        ("TAP version 14\n", NO_PLAN.format(0), True),
        ("ok 1 - a\nnot", NO_PLAN.format(1), True),
        ("1..1\nok 1 - a\nok 1 - b\nTAP version 13\nok 1 - c\n", NO_PLAN.format(1), True),
    ],
)
def test_incomplete_document_contains_an_error(report: str, message: str, missing: bool, tmp_path: Path) -> None:
    summary, results = convert_text(report, tmp_path)

    assert (results[-1]["name"], results[-1]["status"]) == ("(suite)", "error")
    assert results[-1]["failure"] == {"message": message}
    assert summary.notes[-1] == f"plan: {message}"
    assert summary.failures_missing == missing


@pytest.mark.parametrize("title", ["# Subtest: b\n", ""])
def test_number_of_a_test_point_with_a_title_is_ignored(title: str, tmp_path: Path) -> None:
    report = f"TAP version 13\n# Subtest: a\nok 1 - a\n{title}ok 1 - b\n1..2\n"  # as in node:test

    errors = [] if title else ["error"]
    assert [status for _, _, status in outline_of(report, tmp_path)] == ["passed", "passed", *errors]


def test_skipped_plan_has_no_results(tmp_path: Path) -> None:
    summary, results = convert_text("1..0 # SKIP waits for \\#12\n", tmp_path)

    assert (results, summary.failures_missing) == ([], False)
    assert summary.notes == ("plan: All test points were skipped: waits for #12",)


@pytest.mark.parametrize("indent", ["", "    "])
def test_bail_out_is_an_error_and_nothing_follows_it(indent: str, tmp_path: Path) -> None:
    report = f"1..3\nok 1 - a\n# Subtest: b\n    ok 1 - c\n{indent}Bail out!  no database\nok 2 - b\nok 3 - d\n"
    summary, results = convert_text(report, tmp_path)

    found = [(result["suite"], result["name"], result["status"]) for result in results]
    assert found == [("", "a", "passed"), ("b", "c", "passed"), ("", "(suite)", "error")]
    assert results[-1]["failure"] == {"message": "Bail out! no database"}
    assert not summary.failures_missing


SUBTEST_FORMS = {
    "title at the level of the point": "# Subtest: a\n    {c}ok 1 - c\n    1..1\n{p}ok 1 - a\n1..1\n",
    "title at the level of the subtest": "    # Subtest: a\n    {c}ok 1 - c\n    1..1\n{p}ok 1 - a\n1..1\n",
    "no title": "    {c}ok 1 - c\n    1..1\n{p}ok 1 - a\n1..1\n",
    "braces": "{p}ok 1 - a # time=5ms {{\n    {c}ok 1 - c\n    1..1\n}}\n1..1\n",
    "braces after YAML": "{p}ok 1 - a\n  ---\n  code: 1\n  ...\n{{\n    1..1\n    {c}ok 1 - c\n}}\n1..1\n",
    "no description": "# Subtest: a\n    {c}ok 1 - c\n    1..1\n{p}ok 1\n1..1\n",
}


@pytest.mark.parametrize("form", SUBTEST_FORMS)
@pytest.mark.parametrize(
    ("child", "parent", "expected"),
    [
        ("", "", [("a", "c", "passed")]),
        ("not ", "not ", [("a", "c", "failed")]),
        ("not ", "", [("a", "c", "failed")]),
        ("", "not ", [("a", "c", "passed"), ("a", "(suite)", "failed")]),
    ],
)
def test_point_of_a_subtest_is_a_suite_with_any_outcome(
    form: str, child: str, parent: str, expected: Any, tmp_path: Path
) -> None:
    report = SUBTEST_FORMS[form].format(c=child, p=parent)

    assert outline_of(f"TAP version 14\n{report}", tmp_path) == expected


def test_nested_subtests_are_a_path(tmp_path: Path) -> None:
    report = """TAP version 14
# Subtest: a
    # Subtest: b
        # Subtest: c
        ok 1 - c
        1..1
    ok 1 - b
    # Subtest: d
    not ok 2 - d
    1..2
not ok 1 - a
# Subtest: e
ok 2 - e
1..2
"""
    assert outline_of(report, tmp_path) == [("a > b", "c", "passed"), ("a", "d", "failed"), ("", "e", "passed")]


def test_nested_subtests_without_titles_are_a_path(tmp_path: Path) -> None:
    report = (
        "        not ok 1 - c\n        1..1\n    not ok 1 - b\n    ok 2 - d\n    1..2\nnot ok 1 - a\nok 2 - e\n1..2\n"
    )

    expected = [("a > b", "c", "failed"), ("a", "d", "passed"), ("", "e", "passed")]
    assert outline_of(f"TAP version 14\n{report}", tmp_path) == expected


def test_number_of_results_that_wait_for_a_title_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "_MAX_HELD", 2)
    with pytest.raises(ReportError, match="a subtest without a title before it has more than 2 test points"):
        convert_text("TAP version 14\n" + "    ok - c\n" * 4 + "    1..4\nok 1 - a\n1..1\n", tmp_path)


@pytest.mark.parametrize(
    "repeated",
    ["# Subtest: a\n    # Subtest: b\n", "# Subtest: a\n    not ok 1 - b\n    1..1\nnot ok - a\n", "ok 1 - a\n{\n"],
    ids=["titles", "subtests", "blocks"],
)
def test_work_is_linear_in_the_number_of_subtests(repeated: str, tmp_path: Path) -> None:
    def work(count: int) -> int:
        return executed_lines(lambda: convert_text(f"TAP version 14\n{repeated * count}", tmp_path))

    assert work(400) < 2.5 * work(200)  # quadratic work is 4 times as much


def _nested(depth: int, title: str, after: str = "") -> str:
    return "".join(f"{' ' * INDENT * level}{title}\n" for level in range(depth)) + f"{' ' * INDENT * depth}{after}\n"


@pytest.mark.parametrize(
    "report", [_nested(52, "# Subtest: a"), _nested(51, "ok 1 - a {"), _nested(51, "# Subtest: a", "not ok 1 - b")]
)
def test_subtests_that_are_too_deep_are_rejected_instead_of_left_out(report: str, tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="subtests can be nested at most 50 levels deep"):
        convert_text(f"TAP version 14\n{report}", tmp_path)


def test_deepest_subtest_is_read(tmp_path: Path) -> None:
    (failed, *_) = convert_text(f"TAP version 14\n{_nested(50, '# Subtest: a', 'not ok 1 - b')}", tmp_path)[1]

    assert (failed["suite"], failed["name"], failed["status"]) == (" > ".join("a" * 50), "b", "failed")


def test_point_of_an_empty_subtest_is_a_case(tmp_path: Path) -> None:
    skipped = "# Subtest: a\n    1..0 # SKIP no net\nok 1 # skip no net\n"
    report = f"1..3\n{skipped}# Subtest: b\n    1..0\nnot ok 2 - b\nok 3 - c {{\n}}\n"

    assert outline_of(report, tmp_path) == [("", "a", "skipped"), ("", "b", "failed"), ("", "c", "passed")]


def test_failure_of_a_hook_is_kept_beside_those_of_its_tests(tmp_path: Path) -> None:
    yaml = "  ---\n  failureType: '{}'\n  error: '{}'\n  ...\n"
    subtest = "# Subtest: {0}\n    not ok 1 - c\n    1..1\nnot ok {1} - {0}\n"
    report = subtest.format("a", 1) + yaml.format("hookFailed", "no database")
    report += subtest.format("b", 2) + yaml.format("subtestsFailed", "1 subtest failed")
    _, results = convert_text(f"TAP version 13\n{report}1..2\n", tmp_path)

    assert [(result["suite"], result["name"]) for result in results] == [("a", "c"), ("a", "(suite)"), ("b", "c")]
    assert results[1]["failure"] == {"type": "hookFailed", "message": "no database"}


@pytest.mark.parametrize(
    ("subtest", "message"),
    [
        ("    1..2\n    ok 1 - c\nok 1 - a\n1..1\n", NOT_RUN.format(2, 1)),
        ("    ok 1 - c\nok 1 - a\n1..1\n", NO_PLAN.format(1)),
        ("    ok 1 - c\n    1..1\n1..1\nok 1 - e\n", "The report contains no test point after the subtest."),
        ("    ok 1 - c\n", NO_PLAN.format(1)),
    ],
    ids=["points missing", "no plan", "no point", "truncated"],
)
def test_incomplete_subtest_contains_an_error(subtest: str, message: str, tmp_path: Path) -> None:
    _, results = convert_text(f"TAP version 14\n# Subtest: a\n{subtest}", tmp_path)

    errors = [result for result in results if result["name"] == "(suite)"]
    assert (errors[0]["suite"], errors[0]["status"], errors[0]["failure"]) == ("a", "error", {"message": message})


def test_incomplete_subtest_has_one_failure(tmp_path: Path) -> None:
    report = "1..1\n# Subtest: a\n    1..2\n    ok 1 - c\nnot ok 1 - a\n"

    assert outline_of(report, tmp_path) == [("a", "c", "passed"), ("a", "(suite)", "error")]


def test_documents_in_one_file_have_their_own_plans(tmp_path: Path) -> None:
    for report in ("1..1\nok 1 - a\n1..1\nok 1 - b\n", "ok 1 - a\n1..1\nok 1 - b\n1..1\n",
                   "TAP version 13\n1..1\nok 1 - a\nTAP version 13\nok 1 - b\n1..1\n"):  # fmt: skip
        summary, results = convert_text(report, tmp_path)

        assert [(result["name"], result["status"]) for result in results] == [("a", "passed"), ("b", "passed")]
        assert summary.notes == ()


def test_comments_of_tape_are_titles_with_any_outcome(tmp_path: Path) -> None:
    report = "TAP version 13\n# a\n{0}ok 1 x\n# SKIP b\n# TODO c\n{0}ok 2 y\n# d\nok 3 z # SKIP\n\n1..3\n# tests 3\n"

    for outcome, status in (("", "passed"), ("not ", "failed")):
        expected = [("a", "x", status), ("c", "y", status), ("d", "z", "skipped")]
        assert outline_of(report.format(outcome), tmp_path) == expected


@pytest.mark.parametrize(
    "report",
    [
        "1..2\n# a\n{0}ok 1 x\n# b\nok 2 y\n", "TAP version 13\n1..2\n# a\n{0}ok 1 x\n# b\nok 2 y\n",
        "TAP version 13\n# a\n{0}ok 1 - x\n# b\nok 2 - y\n1..2\n", "# a\n{0}ok 1 x\n# b\nok 2 y\n1..2\n",
        "TAP version 13\n# Subtest: x\n{0}ok 1 x\n# b\nok 2 y\n1..2\n",
    ],
    ids=range(5),
)  # fmt: skip
@pytest.mark.parametrize("outcome", ["", "not "])
def test_comments_of_other_tools_are_not_part_of_the_identity(report: str, outcome: str, tmp_path: Path) -> None:
    _, results = convert_text(report.format(outcome), tmp_path)

    assert [(result["suite"], result["name"]) for result in results] == [("", "x"), ("", "y")]


def test_yaml_of_the_specification(tmp_path: Path) -> None:
    yaml = """not ok 1 - adds
  ---
  message: "Failed with \\"code\\" 7"
  severity: fail
  found: 4
  wanted:
    sum: 3
  data:
    - 'a'
  file: t/cart.t
  line: 12
  duration_ms: 1234.5
  extra: ~
  ..."""
    result = only_case(yaml, tmp_path)

    assert result["failure"] == {
        "message": 'Failed with "code" 7', "details": "wanted: sum: 3\nfound: 4\ndata: - 'a'",
    }  # fmt: skip
    assert (result["file"], result["line"], result["duration_ms"]) == ("t/cart.t", 12, 1234.5)


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        ("message: plain # text", "plain # text"), ("message: 'it''s: a'", "it's: a"), ("error: 'a'", "a"),
        ("message: |-\n    a\n      b\n\n    c", "a\n  b\n\nc"), ("message: >-\n    a\n    b\n\n    c", "a b\nc"),
        ('message: "a\\nb"', "a\nb"), ('message: "a\\qb"', "a\\qb"), ("message: a\n    b", "a b"),
        ("message: ''\n  error: b", "b"), ("'message': a", "a"), ("- message: a", None), ("message", None),
    ],
)  # fmt: skip
def test_scalars_and_blocks_of_yaml(yaml: str, message: str | None, tmp_path: Path) -> None:
    failure = only_case(f"not ok 1 - a\n  ---\n  {yaml}\n  ...", tmp_path).get("failure") or {}

    assert failure.get("message") == message


@pytest.mark.parametrize(
    ("at", "file", "line"),
    [
        ("location: '/ci/shop/cart.test.js:5:1'", "cart.test.js", 5), ("at: a (/ci/t/b.js:7:2)", "b.js", 7),
        ("at: 'file:///ci/t/b.js:7:2'", "b.js", 7), ("at: t/b.js:7:2", "t/b.js", 7),
        ("at:\n    lineNumber: 9\n    fileName: t/c.js", "t/c.js", 9), ("at: a (node:internal/b:7:2)", None, None),
        ("at: a (/ci/node_modules/b/b.js:7:2)", None, None), ("at: soon", None, None), ("at: b.js:0:1", None, None),
    ],
)  # fmt: skip
def test_location_in_yaml(at: str, file: str | None, line: int | None, tmp_path: Path) -> None:
    result = only_case(f"not ok 1 - a\n  ---\n  {at}\n  ...", tmp_path)

    assert (result.get("file"), result.get("line")) == (file, line)


def test_yaml_without_an_end_does_not_hide_the_next_points(tmp_path: Path) -> None:
    report = "1..3\nnot ok 1 - a\n  ---\n  message: b\nnot ok 2 - c\nok 3 - d\n"

    assert [status for _, _, status in outline_of(report, tmp_path)] == ["failed", "failed", "passed"]


def test_test_points_in_yaml_and_output_are_texts(tmp_path: Path) -> None:
    report = "1..1\nnot ok 1 - a\n  ---\n  message: |-\n    ok 2 - b\n    1..7\n    Bail out!\n  ...\n  ok 3 - c\n"

    assert outline_of(report, tmp_path) == [("", "a", "failed")]


def test_comments_after_a_failure_are_its_details(tmp_path: Path) -> None:
    comments = "#   Failed test 'a'\n#   at t/a.t line 7.\n#          got: '3'\n#     expected: '4'"
    result = only_case(f"# before\nnot ok 1 - a\n{comments}\n# Looks like you failed 1 test of 1.", tmp_path)

    assert (result["file"], result["line"]) == ("t/a.t", 7)
    assert result["failure"] == {
        "message": "got: '3'\nexpected: '4'",
        "details": "Failed test 'a'\nat t/a.t line 7.\n       got: '3'\n  expected: '4'",
    }


def test_comments_after_a_passed_point_and_after_yaml_are_ignored(tmp_path: Path) -> None:
    report = "1..2\nok 1 - a\n# at t/a.t line 7.\nnot ok 2 - b\n  ---\n  message: c\n  ...\n# of the next test\n"
    _, results = convert_text(report, tmp_path)

    assert [result.get("failure") for result in results] == [None, {"message": "c"}]


@pytest.mark.parametrize(
    ("summary", "missing"), [("# fail 2", True), ("# fail  2", True), ("# fail 0", False), ("# failed 2", False)]
)
def test_summary_that_states_failures_without_one(summary: str, missing: bool, tmp_path: Path) -> None:
    assert convert_text(f"ok 1 - a\n1..1\n{summary}\n", tmp_path)[0].failures_missing == missing


@pytest.mark.parametrize(
    ("points", "failures", "contained"),
    [
        ("not ok 1 adds\nnot ok 2 renders # todo items\n1..2\n", 2, 1),
        ("not ok 1 adds\nnot ok 2 renders #todo items\n1..2\n", 2, 2),
        ("not ok 1 adds\nnot ok 2 renders # TODO\n1..2\n", 1, 1),
        ("not ok 1 - adds\nnot ok 2 - renders # TODO\n1..2\n", 2, 2),  # AVA counts it
        ("not ok 1 - adds\nnot ok 2 - renders # skip items\n1..2\n", 2, 1),
        ("# Subtest: cart\n    not ok 1 - adds\n    1..1\nnot ok 1 - cart\n1..1\n", 1, 2),  # node:test counts cases
    ],
)
def test_fewer_failing_points_than_the_summary_states_are_missing_failures(
    points: str, failures: int, contained: int, tmp_path: Path
) -> None:
    document = f"TAP version 13\n{points}# fail  {failures}\n"
    for report in (document, f"{document}TAP version 13\nnot ok 1 subtracts\n1..1\n# fail 1\n"):
        summary, _ = convert_text(report, tmp_path)
        assert summary.failures_missing is (failures > contained)
        expected = f"plan: The report states {failures} failures, but {contained} test points fail."
        assert (expected in summary.notes) is (failures > contained)


def test_duration_of_the_run_is_that_of_the_summary(tmp_path: Path) -> None:
    document = "TAP version 13\nok 1 - a\n1..1\n# duration_ms 346.4\n"

    assert convert_text(document, tmp_path)[0].times[0].duration_ms == 346.4
    assert convert_text(document * 2, tmp_path)[0].times[0].duration_ms is None


PROVE = "t/a.t .. \nok 1 - a\n1..1\n{}t/b.t .. skipped: no net\nt/c.t .. \n1..1\nok 1 - c\nok\n{}"


@pytest.mark.parametrize("end", ["ok\n", "ok       12 ms ( 0.00 usr  0.00 sys)\n"])
def test_files_of_prove_are_suites(end: str, tmp_path: Path) -> None:
    summary, results = convert_text(PROVE.format(end, "All tests successful.\nResult: PASS\n"), tmp_path)

    found = [(result["suite"], result["name"], result.get("file"), result["status"]) for result in results]
    assert found == [
        ("t/a.t", "a", "t/a.t", "passed"), ("", "t/b.t", None, "skipped"), ("t/c.t", "c", "t/c.t", "passed"),
    ]  # fmt: skip
    assert (summary.notes, summary.failures_missing) == ((), False)


@pytest.mark.parametrize("failure", ["Dubious, test returned 1 (wstat 256, 0x100)", "No subtests run "])
def test_failure_of_a_file_without_a_failed_point_is_an_error(failure: str, tmp_path: Path) -> None:
    _, results = convert_text(PROVE.format(f"{failure}\nAll 1 subtests passed \n", "Result: FAIL\n"), tmp_path)

    assert (results[1]["suite"], results[1]["name"], results[1]["status"]) == ("t/a.t", "(suite)", "error")
    assert results[1]["failure"] == {"message": failure.strip()}


@pytest.mark.parametrize(("end", "notes"), [("", 1), ("Result: FAIL\n", 0), ("Result: NOTESTS\n", 0)])
def test_output_of_prove_without_a_result_or_a_failure_misses_failures(end: str, notes: int, tmp_path: Path) -> None:
    summary, _ = convert_text(PROVE.format("ok\n", end), tmp_path)

    assert (summary.failures_missing, len(summary.notes)) == (True, notes)


def test_text_that_is_not_tap_is_rejected(tmp_path: Path) -> None:
    report = tmp_path / "report.tap"
    report.write_text("tests: 3 passed\n")
    with pytest.raises(ReportError, match=re.escape("no test point and no plan of TAP")) as error:
        convert_all(report, tmp_path, "application/tap")

    assert error.value.reason == "malformed_report"


@pytest.mark.parametrize(
    "line",
    [
        f"ok {' ' * 200_000}#",
        f"{'/' * 200_000} ..",
        "# at " * 50_000,
        f"ok 1 - {'# ' * 100_000}",
        f"ok 1 - a#{' ' * 200_000}b",
    ],
    ids=["spaces", "slashes", "comments", "marks", "spaces behind a mark"],
)
def test_long_lines_take_linear_time(line: str, tmp_path: Path) -> None:
    report = f"1..2\nnot ok 1 - a\n{line}\n# {line}\nnot ok 2 - b\n  ---\n  at: {line}\n  ...\n"
    started = time.process_time()
    _, results = convert_text(report, tmp_path)

    assert time.process_time() - started < 2
    assert {"a", "b"} <= {result["name"] for result in results}
