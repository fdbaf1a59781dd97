"""Conversion of the elements and attributes of JUnit XML to results."""

from pathlib import Path
from typing import Any

import pytest

from service.reports.conversion.errors import ReportError
from tests.reports.conversions import convert_all, convert_cases, convert_text
from tests.reports.manifests import OWN


def test_attributes_of_a_case_are_converted(tmp_path: Path) -> None:
    (result,) = convert_cases(
        '<testcase classname="shop.Cart" name="adds €" time="0.25" file="cart.py"'
        ' timestamp="2026-05-20T12:00:00+02:00"/>',
        tmp_path,
    )

    assert result["suite"] == "shop > Cart"
    assert (result["name"], result["file"], result["status"]) == ("adds €", "cart.py", "passed")
    assert (result["duration_ms"], "line" in result) == (250, False)
    assert result["started_at"].isoformat() == "2026-05-20T10:00:00+00:00"
    assert "failure" not in result
    assert "attempts" not in result


@pytest.mark.parametrize(
    ("elements", "status"),
    [
        ("", "passed"),
        ("<skipped/>", "skipped"),
        ("<skip/>", "skipped"),
        ("<skipped/><failure/>", "failed"),
        ("<failure/><error/><skipped/>", "error"),
        ("<system-out>error failure</system-out>", "passed"),
        ("<properties><property name='error'><failure/></property></properties>", "passed"),
    ],
)
def test_most_severe_direct_child_decides_the_status(elements: str, status: str, tmp_path: Path) -> None:
    (result,) = convert_cases(f"<testcase name='c'>{elements}</testcase>", tmp_path)

    assert result["status"] == status


@pytest.mark.parametrize(
    "attribute",
    ["status='notrun'", "status='Skipped'", "result='suppressed'", "disabled='true'", "ignored='1'"],
)
def test_attribute_can_mark_a_case_as_skipped(attribute: str, tmp_path: Path) -> None:
    (result,) = convert_cases(f"<testcase name='c' {attribute}/>", tmp_path)

    assert result["status"] == "skipped"


@pytest.mark.parametrize(
    ("case", "status"),
    [
        ("status='failed'/>", "failed"), ("result='ERROR'/>", "error"), ("outcome='Failure'/>", "failed"),
        ("Status='broken'/>", "error"), ("status='timed-out'/>", "error"),
        ("status='success' result='fail'/>", "failed"),
        ("status='failed'><skipped/></testcase>", "failed"), ("status='odd'/>", "error"), ("status='0'/>", "error"),
        ("status='odd'><skipped/></testcase>", "skipped"), ("status='passed'><error/></testcase>", "error"),
        ("status='error'><failure/></testcase>", "failed"), ("status='PASSED'><skipped/></testcase>", "skipped"),
    ],
)  # fmt: skip
def test_attributes_state_a_failure(case: str, status: str, tmp_path: Path) -> None:
    report = f"<testsuite failures='1'><testcase name='c' {case}</testsuite>"
    summary, (result,) = convert_text(report, tmp_path)

    assert result["status"] == status
    if case.endswith("'/>"):
        assert result["failure"]["message"]
    assert summary.failures_missing is (status == "skipped")


def test_unknown_word_in_an_attribute_is_the_failure(tmp_path: Path) -> None:
    (result,) = convert_cases("<testcase name='c' status='odd'/>", tmp_path)

    assert result["failure"] == {"message": "unknown status 'odd'"}


@pytest.mark.parametrize(
    ("element", "status"),
    [
        ("<Failure message='m'/>", "failed"), ("<failures message='m'/>", "failed"), ("<FAILED/>", "failed"),
        ("<x:failure xmlns:x='u'/>", "failed"), ("<Errors/>", "error"), ("<broken/>", "error"),
        ("<ignored/>", "skipped"),
        ("<Skipped/>", "skipped"), ("<pending/>", "skipped"), ("<CANCELED/>", "canceled"), ("<passed/>", "passed"),
        ("<FlakyFailure/>", "passed"), ("<steps><failure message='m'/></steps>", "failed"), ("<steps/>", "passed"),
        ("<success><failure message='m'/></success>", "failed"),
        ("<assertionFailed message='m'>t</assertionFailed>", "failed"), ("<ErrorInfo/>", "failed"),
        ("<System-Out>failed</System-Out>", "passed"),
    ],
)  # fmt: skip
def test_elements_in_other_spellings_state_an_outcome(element: str, status: str, tmp_path: Path) -> None:
    (result,) = convert_cases(f"<testcase name='c'>{element}</testcase>", tmp_path)

    assert result["status"] == status
    if "message='m'" in element:
        assert result["failure"]["message"] == "m"


def test_unknown_elements_of_a_case_are_noted(tmp_path: Path) -> None:
    cases = "<testcase name='c'><steps/><steps/><x-fail/><properties/><success/></testcase><other/>"
    summary, _ = convert_text(f"<testsuite>{cases}</testsuite>", tmp_path)

    assert summary.notes == (
        "testcase: unknown elements were ignored: <steps> (2)",
        "testcase: unknown elements were read as failures: <x-fail> (1)",
    )


def test_cases_and_suites_in_another_case_are_read(tmp_path: Path) -> None:
    cases = "<TestSuite name='a'><TestCase name='c'><failure/></TestCase><Error message='m'/></TestSuite>"
    _, results = convert_text(f"<testsuites>{cases}</testsuites>", tmp_path)

    assert [(result["suite"], result["name"], result["status"]) for result in results] == [
        ("a", "c", "failed"),
        ("a", "(suite)", "error"),
    ]


@pytest.mark.parametrize("earlier", ["<skipped/>", "<rerunFailure/>"])
def test_many_other_outcomes_do_not_hide_a_failure(earlier: str, tmp_path: Path) -> None:
    (result,) = convert_cases(f"<testcase name='c'>{earlier * 1_001}<failure/></testcase>", tmp_path)

    assert result["status"] == "failed"


@pytest.mark.parametrize(
    "attribute", ["status='run' result='completed'", "disabled='false'", "status='1'", "result=''"]
)
def test_other_attributes_don_t_make_a_case_skipped(attribute: str, tmp_path: Path) -> None:
    (result,) = convert_cases(f"<testcase name='c' {attribute}/>", tmp_path)

    assert result["status"] == "passed"


def test_failure_has_type_message_and_text(tmp_path: Path) -> None:
    (result,) = convert_cases(
        "<testcase name='c'><failure type='AssertionError' message='1 &lt; 2'>\n"
        "  at <b>line</b> 3 &amp; <![CDATA[<4>]]>\n</failure></testcase>",
        tmp_path,
    )

    assert result["failure"] == {"type": "AssertionError", "message": "1 < 2", "details": "at line 3 & <4>"}


def test_all_failures_of_a_case_are_stored(tmp_path: Path) -> None:
    (result,) = convert_cases(
        "<testcase name='c'><failure message='first'>a</failure><failure message='second'>b</failure></testcase>",
        tmp_path,
    )

    assert result["failure"]["message"] == "first"
    assert result["failure"]["details"] == "first\na\n\nsecond\nb"


def test_texts_of_all_kinds_of_outcomes_are_stored(tmp_path: Path) -> None:
    (result,) = convert_cases(
        "<testcase name='c'><skipped message='later'/><failure message='no'>text</failure><error message='broke'/>"
        "</testcase>",
        tmp_path,
    )

    assert result["status"] == "error"
    assert result["failure"] == {"message": "no", "details": "no\ntext\n\nbroke\n\nlater"}


def test_reason_of_a_skipped_case_is_stored(tmp_path: Path) -> None:
    (result,) = convert_cases("<testcase name='c'><skipped message='no network'/></testcase>", tmp_path)

    assert result["failure"] == {"message": "no network"}


def test_output_of_a_test_is_not_stored(tmp_path: Path) -> None:
    (result,) = convert_cases(
        "<testcase name='c'><failure message='m'/><system-out>secret</system-out></testcase>", tmp_path
    )

    assert "secret" not in str(result)


def test_nested_suites_become_a_path(tmp_path: Path) -> None:
    _, results = convert_all(OWN / "nested.xml", tmp_path)

    assert [(result["suite"], result["name"], result["status"]) for result in results] == [
        ("all > files > FilesTest", "opens", "passed"),
        ("all > files > deep", "tests/files.php", "passed"),
        ("all > files > deep", "(suite)", "error"),
        ("", "outside of any suite", "skipped"),
    ]
    assert results[0]["file"] == "tests/files.php"
    assert results[2]["failure"] == {
        "type": "java.lang.IllegalStateException",
        "message": "no such host",
        "details": "java.lang.IllegalStateException: no such host",
    }


@pytest.mark.parametrize(
    ("suite", "case", "label"),
    [
        ('name="shop.Cart"', 'classname="shop.Cart" name="n"', "shop.Cart"),
        ('name=""', 'classname="shop.Cart" name="n"', "shop.Cart"),
        ('name="undefined" file="a.js"', 'classname="n" name="n"', "a.js > undefined"),
        ('name="undefined"', 'classname="n" name="n" file="/home/ci/a.js"', "undefined"),
        ('name="a.js" file="a.js"', 'name="n"', "a.js"),
        ('name="tests.Cart-20260520120000"', 'classname="tests.Cart" name="n"', "tests.Cart"),
    ],
)
def test_suite_distinguishes_cases(suite: str, case: str, label: str, tmp_path: Path) -> None:
    (result,) = convert_cases(f"<testcase {case}/>", tmp_path, suite)

    assert result["suite"] == label


def test_projects_of_playwright_are_distinguished(tmp_path: Path) -> None:
    _, results = convert_all(OWN / "playwright.xml", tmp_path)

    assert [result["suite"] for result in results] == ["chromium > pay.spec.ts", "firefox > pay.spec.ts"]


def test_name_of_the_machine_is_not_part_of_the_suite(tmp_path: Path) -> None:
    (result,) = convert_cases("<testcase name='c'/>", tmp_path, 'name="s" hostname="ci-7"')

    assert result["suite"] == "s"


def test_attachments_become_references(tmp_path: Path) -> None:
    _, results = convert_all(OWN / "playwright.xml", tmp_path)

    assert results[0]["artifacts"] == [
        {"kind": "trace", "name": "trace.zip", "uri": "test-results/pay-chromium/trace.zip"},
        {"kind": "video", "name": "video.webm", "uri": "test-results/pay-chromium/video.webm"},
    ]
    assert results[1]["artifacts"] == [
        {"kind": "trace", "name": "trace.zip", "uri": "test-results/pay-firefox/trace.zip"}
    ]


def test_attachments_are_read_from_properties_and_elements(tmp_path: Path) -> None:
    (result,) = convert_cases(
        "<testcase name='c'><properties><property name='testrail_attachment'> a.png </property>"
        "<property key='attachment' value='b.log'/><property name='owner' value='c.txt'/></properties>"
        "<attachments><attachment>d.pdf</attachment><attachment path='e.bin'/></attachments></testcase>",
        tmp_path,
    )

    assert [(artifact["uri"], artifact["kind"]) for artifact in result["artifacts"]] == [
        ("a.png", "screenshot"),
        ("b.log", "log"),
        ("d.pdf", "report"),
        ("e.bin", "other"),
    ]


def test_marker_of_an_attachment_is_found_across_chunks_of_output(tmp_path: Path) -> None:
    output = "x" * 70_000 + "[[ATTACHMENT|shots/one.png]]" + "y" * 300_000 + "[[ATTACHMENT|two.png]]"

    (result,) = convert_cases(f"<testcase name='c'><system-err>{output}</system-err></testcase>", tmp_path)

    assert [artifact["name"] for artifact in result["artifacts"]] == ["one.png", "two.png"]


def test_marker_does_not_continue_in_the_output_of_the_next_case(tmp_path: Path) -> None:
    case = "<testcase name='c'><system-out>{}</system-out></testcase>"

    results = convert_cases(case.format("[[ATTACHMENT|a") + case.format(".png]]"), tmp_path)

    assert not any("artifacts" in result for result in results)


def test_flaky_case_lists_its_attempts(tmp_path: Path) -> None:
    _, results = convert_all(OWN / "surefire-reruns.xml", tmp_path)

    flaky = results[0]
    assert flaky["status"] == "passed"
    assert flaky["duration_ms"] == 2_503_100
    assert [(attempt["status"], attempt.get("duration_ms")) for attempt in flaky["attempts"] or []] == [
        ("failed", 1500),
        ("error", None),
        ("passed", 2_503_100),
    ]
    first = (flaky["attempts"] or [])[0]["failure"]
    assert first
    assert first["message"] == "timeout"
    assert "CheckoutTest.java:42" in (first["details"] or "")
    assert "attempt 1" not in (first["details"] or "")


def test_case_that_failed_in_every_attempt_lists_its_reruns(tmp_path: Path) -> None:
    _, results = convert_all(OWN / "surefire-reruns.xml", tmp_path)

    by_name: dict[str, Any] = {result["name"]: result for result in results}
    failed = by_name["paysByInvoice"]
    assert failed["status"] == "failed"
    messages = [attempt["failure"]["message"] for attempt in failed["attempts"]]
    assert messages == ["expected 2 again", "gone", "expected 2"]
    assert failed["failure"] == {
        "type": "junit.framework.AssertionFailedError",
        "message": "expected 2",
        "details": "expected: 2 & got: 3",
    }
    assert [attempt["status"] for attempt in by_name["failsThough"]["attempts"]] == ["failed", "failed"]


def test_wrong_declared_counts_are_noted(tmp_path: Path) -> None:
    summary, results = convert_all(OWN / "nested.xml", tmp_path)

    assert summary.results == len(results) == 4
    assert summary.declared == {"tests": 186, "failures": 0, "errors": 0}
    assert summary.notes == (
        "tests: the report declares 186, but contains 3",
        "errors: the report declares 0, but contains 1",
        "duration: 1 durations are invalid, such as 'soon'. They are stored as unknown.",
    )


def test_counts_of_suites_add_up_if_the_root_has_none(tmp_path: Path) -> None:
    suite = "<testsuite tests='1' skips='1'><testcase name='c'><skipped/></testcase></testsuite>"

    summary, _ = convert_text(f"<testsuites>{suite}{suite}</testsuites>", tmp_path)

    assert summary.declared == {"tests": 2, "skipped": 2}
    assert summary.notes == ()


def test_counts_of_suites_add_up_if_the_root_lacks_them(tmp_path: Path) -> None:
    suite = "<testsuite tests='1' failures='2'><testcase name='c'><failure/></testcase></testsuite>"

    summary, _ = convert_text(f"<testsuites tests='2' errors='none'>{suite}{suite}</testsuites>", tmp_path)

    assert summary.declared == {"tests": 2, "failures": 4}
    assert summary.notes == ("failures: the report declares 4, but contains 2",)


@pytest.mark.parametrize("output", ["system-out", "properties", "property"])
def test_elements_of_other_namespaces_in_output_and_properties_are_no_results(output: str, tmp_path: Path) -> None:
    foreign = f"<{output}><x:test result='Fail'/><x:failure>a</x:failure><x:error/><x:skipped/></{output}>"
    report = f"<testsuite xmlns:x='u'>{foreign}<testcase name='c'>{foreign}</testcase></testsuite>"

    _, (result,) = convert_text(report, tmp_path)

    assert (result["name"], result["status"]) == ("c", "passed")


def test_report_without_cases_is_valid(tmp_path: Path) -> None:
    summary, results = convert_text("<testsuites/>", tmp_path)

    assert (summary.results, results) == (0, [])


@pytest.mark.parametrize(
    ("file", "text"),
    [("latin-1.xml", "grüßt"), ("utf-16.xml", "kostet 10 € 🦊"), ("bom.xml", "логин")],
)
def test_encodings_are_detected(file: str, text: str, tmp_path: Path) -> None:
    _, (result,) = convert_all(OWN / file, tmp_path)

    assert result["name"] == text


@pytest.mark.parametrize("encoding", ["gbk", "Shift_JIS", "euc-kr", "windows-1252", "koi8-r"])
def test_declared_encoding_is_used(encoding: str, tmp_path: Path) -> None:
    name = {"gbk": "测试", "Shift_JIS": "テスト", "euc-kr": "시험", "koi8-r": "тест"}.get(encoding, "“é”")
    report = f"<?xml version='1.0' encoding='{encoding}'?><testsuite><testcase name='{name}'/></testsuite>"

    _, (result,) = convert_text(report.encode(encoding), tmp_path)

    assert result["name"] == name


def test_wrong_utf_16_declaration_is_ignored(tmp_path: Path) -> None:
    _, results = convert_text(
        "<?xml version='1.0' encoding='utf-16'?><testsuite><testcase name='ü'/></testsuite>", tmp_path
    )

    assert results[0]["name"] == "ü"


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "utf-8-sig"])
def test_space_before_the_declaration_is_ignored(encoding: str, tmp_path: Path) -> None:
    declaration = f"<?xml version='1.0' encoding='{encoding.removesuffix('-sig')}'?>"

    _, (result,) = convert_text(
        f"\n \t\r\n{declaration}<testsuite><testcase name='ü'/></testsuite>".encode(encoding), tmp_path
    )

    assert result["name"] == "ü"


@pytest.mark.parametrize("encoding", ["zlib", "base64", "klingon", ""])
def test_unknown_encoding_is_rejected(encoding: str, tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="unknown encoding"):
        convert_text(f"<?xml version='1.0' encoding='{encoding}'?><testsuite/>", tmp_path)


@pytest.mark.parametrize(
    ("report", "message"),
    [
        ("<testsuite>" * 300, "nested more than"),
        ("<testsuite name='" + "a" * 17_000_000 + "'/>", "larger than"),
        ("<testsuite><testcase name='a'/>", "no element found"),
        ("<testsuite/><testsuite/>", "junk after document element"),
        ("<html><body/></html>", "root element <html> isn't JUnit XML"),
    ],
    ids=["deep", "long", "unclosed", "two", "html"],
)
def test_hostile_and_invalid_documents_are_rejected(report: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ReportError, match=message):
        convert_text(report, tmp_path)


def test_large_tags_in_a_large_report_are_read(tmp_path: Path) -> None:
    case = f"<testcase name='c'><failure message='{'m' * 1_000_000}'/></testcase>"

    assert len(convert_cases(case * 25, tmp_path)) == 25


def test_long_suite_names_are_truncated(tmp_path: Path) -> None:
    results = convert_cases("<testcase name='c'/>" * 10, tmp_path, f'name="{"s" * 100_000}"')

    assert all(len(result["suite"]) < 2_000 for result in results)


@pytest.mark.parametrize(
    ("failure", "details"),
    [
        ("<failure/>", "undefined: And a cart"),
        ("<failure message='A step in the test case is not defined' type='UNDEFINED'/>", "undefined: And a cart"),
        ("<failure message='no stock'/>", None),
    ],
    ids=["java", "javascript", "with a cause"],
)
def test_undefined_step_of_cucumber_is_part_of_the_failure(failure: str, details: str | None, tmp_path: Path) -> None:
    steps = "Given a shop......passed\nAnd a cart......undefined\nThen it pays......skipped"
    (result,) = convert_cases(
        f"<testcase name='pays'>{failure}<system-out><![CDATA[{steps}]]></system-out></testcase>", tmp_path
    )

    assert result["failure"].get("details") == details
