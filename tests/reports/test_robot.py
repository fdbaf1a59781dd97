"""Conversion of output.xml of Robot Framework to results."""

from pathlib import Path
from typing import Any

import pytest

from service.client import attachments
from service.reports.conversion.convert import convert
from service.reports.conversion.errors import ReportError
from service.reports.conversion.output import OutputWriter
from tests.reports.conversions import convert_text

PASSED = '<test name="pays"><status status="PASS"/></test>'
OPEN_FAILED = '<kw name="Open" type="SETUP"><msg level="FAIL">no database</msg><status status="FAIL"/></kw>'
CLOSE_FAILED = '<kw name="Close" type="TEARDOWN"><status status="FAIL">locked</status></kw>'
MERGED = '*HTML* &lt;span class="merge">{kind} has been re-executed and results merged.&lt;/span>'


def report_of(body: str, total: str = "", generator: str = "Robot 7.5") -> str:
    statistics = f"<statistics><total><stat {total}>All Tests</stat></total></statistics>"
    return f'<robot generator="{generator}"><suite name="Shop">{body}</suite>{statistics if total else ""}</robot>'


def failed_test(body: str, message: str = "no stock") -> str:
    return f'<test name="pays">{body}<status status="FAIL">{message}</status></test>'


def read_one(body: str, folder: Path) -> Any:
    _, (result,) = convert_text(report_of(body), folder)
    return result


def read_log(body: str, folder: Path) -> str:
    source, output = folder / "report", folder / "output"
    source.write_text(report_of(body), "utf-8")
    with output.open("wb") as file:
        convert(source, folder / "results", output=OutputWriter(file))
    return output.read_text("utf-8")


def execution(state: str, status: str, message: str = "") -> str:
    text = f'&lt;span class="{state.lower()}-message">{state} message:&lt;/span> {message}&lt;br>' if message else ""
    words = f'{state} status:&lt;/span> &lt;span class="{status.lower()}">{status}'
    return f'&lt;hr>&lt;span class="{state.lower()}-status">{words}&lt;/span>&lt;br>{text}'


@pytest.mark.parametrize(
    ("word", "status"),
    [("PASS", "passed"), ("FAIL", "failed"), ("SKIP", "skipped"), ("NOT RUN", "skipped"), ("ODD", "error")],
)
def test_statuses(word: str, status: str, tmp_path: Path) -> None:
    assert read_one(f'<test name="pays"><status status="{word}"/></test>', tmp_path)["status"] == status


@pytest.mark.parametrize(
    "body", ["", "<status/>", "<kw><status status='PASS'/></kw>", "<x><status status='PASS'/></x>"]
)
def test_test_without_a_status_is_an_error(body: str, tmp_path: Path) -> None:
    result = read_one(f'<test name="pays">{body}</test>', tmp_path)

    assert (result["status"], result["failure"]) == ("error", {"message": "unknown status: the status is missing"})


def test_identity_does_not_depend_on_the_outcome_and_the_checkout(tmp_path: Path) -> None:
    def identity(folder: str, status: str) -> tuple[str, str]:
        test = f'<test name="{folder}/pays.robot"><status status="{status}"/></test>'
        result = read_one(f'<suite name="{folder}/cart.robot">{test}</suite>', tmp_path)
        return result["suite"], result["name"]

    assert identity("/builds/shop", "PASS") == identity("/ci/shop", "FAIL") == ("Shop > cart.robot", "pays.robot")


def test_file_is_relative_to_the_checkout_and_the_line_is_that_of_the_test(tmp_path: Path) -> None:
    source = tmp_path / "report"
    test = '<test name="pays" line="7"><status status="PASS"/></test>'
    source.write_text(report_of(f'<suite name="Cart" source="/builds/shop/tests/cart.robot">{test}</suite>'))
    convert(source, tmp_path / "results", root="/builds/shop")

    assert '"file":"tests/cart.robot","line":7' in (tmp_path / "results").read_text()


@pytest.mark.parametrize("line", ["0", "-1", "x", "²", "99999999999"])
def test_invalid_line_is_missing(line: str, tmp_path: Path) -> None:
    assert "line" not in read_one(f'<test name="pays" line="{line}"><status status="PASS"/></test>', tmp_path)


@pytest.mark.parametrize(
    ("state", "duration_ms"),
    [
        ('start="2026-05-20T12:00:00" elapsed="1.5"', 1_500),
        ('starttime="20260520 12:00:00.100" endtime="20260520 12:00:01.350"', 1_250),
        ('starttime="N/A" endtime="N/A"', None),
        ('starttime="20260520 12:00:00.100"', None),
        ('starttime="20260520 12:00:00.100" endtime="20260520 12:00:01.350+02:00"', None),
        ("", None),
    ],
)
def test_duration(state: str, duration_ms: float | None, tmp_path: Path) -> None:
    summary, (result,) = convert_text(report_of(f'<test name="a"><status status="PASS" {state}/></test>'), tmp_path)

    assert result.get("duration_ms") == duration_ms
    assert summary.notes == ()


@pytest.mark.parametrize("state", ['elapsed="-1"', 'starttime="20260520 12:00:01" endtime="20260520 12:00:00"'])
def test_invalid_duration_is_noted(state: str, tmp_path: Path) -> None:
    summary, (result,) = convert_text(report_of(f'<test name="a"><status status="PASS" {state}/></test>'), tmp_path)

    assert "duration_ms" not in result
    assert summary.notes[0].startswith("duration: 1 durations are invalid, such as '-1")


def test_suite_failure_without_a_test_that_states_it_is_a_result(tmp_path: Path) -> None:
    status = '<status status="FAIL">Suite setup failed:\nno database</status>'
    source = report_of(f'<suite name="Cart">{OPEN_FAILED}{status}</suite><status status="FAIL"/>')
    summary, (result,) = convert_text(source, tmp_path)

    assert (result["suite"], result["name"], result["status"]) == ("Shop > Cart", "(suite)", "failed")
    assert result["failure"] == {"message": "Suite setup failed:\nno database", "details": "Keyword: SETUP Open"}
    assert not summary.failures_missing


def test_failed_setup_that_tests_state_is_no_further_result(tmp_path: Path) -> None:
    test = failed_test("", "Parent suite setup failed:\nno database")
    status = '<status status="FAIL">Suite setup failed:\nno database</status>'
    _, results = convert_text(report_of(f"{OPEN_FAILED}{test}{status}"), tmp_path)

    assert [result["name"] for result in results] == ["pays"]


def test_failed_teardown_after_a_failed_setup_is_part_of_the_tests(tmp_path: Path) -> None:
    test = failed_test("", "Parent suite setup failed:\nno database")
    message = "Suite setup failed:\nno database\n\nAlso suite teardown failed:\nlocked"
    _, (result,) = convert_text(
        report_of(f'{OPEN_FAILED}{test}{CLOSE_FAILED}<status status="FAIL">{message}</status>'), tmp_path
    )

    assert result["failure"]["message"] == (
        "Parent suite setup failed:\nno database\n\nAlso parent suite teardown failed:\nlocked"
    )


def test_failed_teardown_that_no_test_states_is_a_result(tmp_path: Path) -> None:
    body = f'{failed_test("")}{CLOSE_FAILED}<status status="FAIL">Suite teardown failed:\nlocked</status>'
    _, results = convert_text(report_of(body, generator="Rebot 7.5"), tmp_path)

    assert [(result["name"], result["failure"]["message"]) for result in results] == [
        ("pays", "no stock"),
        ("(suite)", "Suite teardown failed:\nlocked"),
    ]


def test_message_of_a_setup_that_passed_in_a_merged_execution_is_no_result(tmp_path: Path) -> None:
    setup = OPEN_FAILED.replace("FAIL", "PASS")
    body = f'{setup}{failed_test("")}<status status="FAIL">Suite setup failed:\nno database</status>'
    _, results = convert_text(report_of(body, generator="Rebot 7.5"), tmp_path)

    assert [result["name"] for result in results] == ["pays"]


def test_failed_teardown_fails_the_tests_of_its_suite_and_of_nested_suites(tmp_path: Path) -> None:
    status = '<status status="FAIL">Suite teardown failed:\nlocked</status>'
    nested = f'<suite name="Cart">{PASSED}{CLOSE_FAILED}{status}</suite>'
    other = f'<suite name="Other">{PASSED}<status status="PASS"/></suite>'
    outer = CLOSE_FAILED.replace("locked", "open")
    body = f'{nested}{other}{outer}<status status="FAIL">Suite teardown failed:\nopen</status>'
    _, results = convert_text(report_of(body), tmp_path)

    assert [(result["suite"], result["status"], result["failure"]["message"]) for result in results] == [
        (
            "Shop > Cart",
            "failed",
            "Parent suite teardown failed:\nlocked\n\nAlso parent suite teardown failed:\nopen",
        ),
        ("Shop > Other", "failed", "Parent suite teardown failed:\nopen"),
    ]


def test_texts_of_nested_teardowns_are_limited(tmp_path: Path) -> None:
    teardown = CLOSE_FAILED.replace("locked", "x" * 5_000)
    end = f'{teardown}<status status="FAIL">Suite teardown failed:\nx</status>'
    _, (result,) = convert_text(report_of(f'<suite name="Cart">{PASSED}{end}</suite>{end}'), tmp_path)

    assert len(result["failure"]["message"]) < 1_100


def test_skipped_teardown_hides_no_failure(tmp_path: Path) -> None:
    teardown = '<kw name="Close" type="TEARDOWN"><status status="SKIP">not now</status></kw>'
    status = '<status status="SKIP">Skipped in suite teardown:\nnot now</status>'
    _, results = convert_text(report_of(f"{failed_test('')}{PASSED}{teardown}{status}"), tmp_path)

    assert [result["status"] for result in results] == ["failed", "passed"]


def test_test_without_a_name_has_that_of_its_suite_as_in_the_xml_of_xunit(tmp_path: Path) -> None:
    result = read_one('<suite name="Cart"><test name=""><status status="PASS"/></test></suite>', tmp_path)

    assert (result["suite"], result["name"]) == ("Shop > Cart", "Shop.Cart")


def test_suites_in_the_statistics_do_not_change_the_suite_of_a_teardown(tmp_path: Path) -> None:
    first = f"<suite name='A'>{PASSED}<x><suite/></x><status status='PASS'/></suite>"
    second = (
        f"<suite name='B'>{PASSED}{CLOSE_FAILED}<status status='FAIL'>Suite teardown failed:\nlocked</status></suite>"
    )
    _, results = convert_text(report_of(first + second), tmp_path)

    assert [result["status"] for result in results] == ["passed", "failed"]


def test_rebot_has_already_written_failed_teardowns_to_the_tests(tmp_path: Path) -> None:
    test = failed_test("", "Parent suite teardown failed:\nlocked")
    body = f'{test}{CLOSE_FAILED}<status status="FAIL">Suite teardown failed:\nlocked</status>'
    _, (result,) = convert_text(report_of(body, generator="Rebot 7.5"), tmp_path)

    assert result["failure"]["message"] == "Parent suite teardown failed:\nlocked"


def test_failures_of_tests_by_their_suite_are_outside_of_the_tests(tmp_path: Path) -> None:
    failing = [
        failed_test("", "Parent suite setup failed:\nno database"),
        failed_test("", "no stock\n\nAlso parent suite teardown failed:\nlocked"),
        failed_test("", "no stock"),
    ]
    marked = [read_one(test, tmp_path).get("properties") for test in failing]
    status = '<status status="FAIL">Suite teardown failed:\nlocked</status>'
    _, results = convert_text(report_of(f"{failed_test('')}{CLOSE_FAILED}{status}"), tmp_path)

    outside = {"outside-of-tests": "setup or teardown of the suite"}
    assert [*marked, results[0].get("properties")] == [outside, outside, None, outside]


def test_failed_keyword_in_a_passed_keyword_is_omitted(tmp_path: Path) -> None:
    failed = '<kw name="Click"><arg>id=x</arg><msg level="FAIL">none</msg><status status="FAIL"/></kw>'
    passed = f'<kw name="Try">{failed}<status status="PASS"/></kw>'

    assert "details" not in read_one(failed_test(passed), tmp_path)["failure"]
    assert read_one(failed_test(passed + failed), tmp_path)["failure"]["details"] == "Keyword: Click(id=x)"


def test_log_contains_the_messages_of_a_keyword_around_the_failed_one(tmp_path: Path) -> None:
    inner = '<kw name="Click"><msg level="FAIL">none</msg><status status="FAIL"/></kw>'
    outer = f'<kw name="Wait">{inner}<msg time="12:00" level="FAIL">failed twice</msg><status status="FAIL"/></kw>'

    assert read_log(failed_test(outer), tmp_path) == (
        "=== Shop pays: log.txt ===\nWait > Click\n FAIL none\n\nWait\n12:00 FAIL failed twice\n\n"
    )


def test_start_of_long_messages_and_further_keywords_are_omitted(tmp_path: Path) -> None:
    message = f'<msg level="DEBUG">{"x" * 100_000} end</msg>'
    keywords = f'<kw name="Click">{message}<status status="FAIL"/></kw>' * 100
    details = read_one(failed_test(keywords), tmp_path)["failure"]["details"]

    assert details.count("\n") == 19
    assert len(read_log(failed_test(keywords), tmp_path)) < 100_000


def test_long_path_and_many_arguments_are_limited(tmp_path: Path) -> None:
    arguments = f"<arg>{'x' * 1_000}</arg>" * 50
    start, end = f'<kw name="{"k" * 300}">{arguments}', '<status status="FAIL"/></kw>'
    details = read_one(failed_test(start * 100 + end * 100), tmp_path)["failure"]["details"]

    assert len(details) < 2_200


def test_branch_and_iteration_without_a_title_are_omitted_from_the_path(tmp_path: Path) -> None:
    keyword = '<kw name="Click"><status status="FAIL"/></kw>'
    failed = '<status status="FAIL"/>'
    branch = f'<try><branch type="TRY">{keyword}{failed}</branch>{failed}</try>'
    body = f'<while condition="True"><iter>{branch}{failed}</iter>{failed}</while>'

    assert read_one(failed_test(body), tmp_path)["failure"]["details"] == "Keyword: WHILE True > TRY > Click"


@pytest.mark.parametrize(
    ("html", "files"),
    [
        ('&lt;a href="a.png">&lt;img src="a.png" width="800px">&lt;/a>', ["a.png"]),
        ('&lt;img class="x" src="shots/a&amp;amp;b.png">', ["shots/a&b.png"]),
        ('&lt;a href="file:///builds/shop/trace.zip">x&lt;/a>', ["file:///builds/shop/trace.zip"]),
        ('&lt;video>&lt;source src="C:\\shop\\a.webm">', ["C:\\shop\\a.webm"]),
        ('&lt;img src="data:image/png;base64,AAAA.png">', []),
        ('&lt;a href="https://shop.example/a.png">&lt;a href="//shop.example/a.png">', []),
        ('&lt;a href="mailto:a@shop.example">&lt;a href="log.html#s1">&lt;a href="/cart">', []),
        ('&lt;b data-src="a.png">', []),
    ],
)
def test_files_that_html_messages_show(html: str, files: list[str], tmp_path: Path) -> None:
    def uris(attribute: str) -> list[str]:
        result = read_one(
            f'<test name="a"><kw><msg {attribute}>{html}</msg></kw><status status="PASS"/></test>', tmp_path
        )
        return [artifact["uri"] for artifact in result.get("artifacts", ())]

    assert uris('html="true"') == uris('html="yes"') == files
    assert uris("") == []


def test_client_finds_the_outputs_that_show_files(tmp_path: Path) -> None:
    source = tmp_path / "output.xml"

    def names_files(message: str) -> bool:
        source.write_text(report_of(f'<test name="a"><kw><msg level="INFO" {message}</msg></kw></test>'))
        return attachments.names_files(source)

    assert names_files('html="true">shot: &lt;img src="a.png">')
    assert names_files('html="yes">&lt;a href="a.png">')
    assert not names_files('html="true">&lt;b>bold&lt;/b>')
    assert not names_files('>&lt;img src="a.png">')


def test_html_message_is_a_text_of_lines(tmp_path: Path) -> None:
    message = "*HTML* &lt;p>a &amp;lt; b&lt;/p>&lt;i>c&lt;/i>&lt;BR/>d"

    assert read_one(failed_test("", message), tmp_path)["failure"]["message"] == "a < b\nc\nd"
    assert read_one(failed_test("", "&lt;p>"), tmp_path)["failure"]["message"] == "<p>"


@pytest.mark.parametrize("kind", ["Test", "Task"])
def test_merged_executions_are_attempts_from_the_oldest_to_the_newest(kind: str, tmp_path: Path) -> None:
    texts = execution("New", "PASS"), execution("Old", "FAIL", "second"), execution("Old", "SKIP", "first &amp;lt;")
    message = MERGED.format(kind=kind) + "".join(texts)
    summary, (result,) = convert_text(
        report_of(f'<test name="a"><status status="PASS" elapsed="1">{message}</status></test>'), tmp_path
    )

    assert (result["status"], result["duration_ms"], "failure" in result) == ("passed", 1_000, False)
    assert result["attempts"] == [
        {"status": "skipped", "failure": {"message": "first <"}},
        {"status": "failed", "failure": {"message": "second"}},
        {"status": "passed", "duration_ms": 1_000},
    ]
    assert not summary.failures_missing


def test_merged_executions_with_another_status_stay_a_text(tmp_path: Path) -> None:
    message = MERGED.format(kind="Test") + execution("New", "PASS") + execution("Old", "FAIL", "first")
    result = read_one(failed_test("", message), tmp_path)

    assert "attempts" not in result
    assert result["failure"]["message"].startswith("Test has been re-executed and results merged.\nNew status: PASS")


def test_test_that_repeats_a_name_is_a_further_result(tmp_path: Path) -> None:
    _, results = convert_text(report_of(PASSED + failed_test("")), tmp_path)

    assert [(result["name"], result["status"]) for result in results] == [("pays", "passed"), ("pays", "failed")]


def test_declared_counts_are_compared(tmp_path: Path) -> None:
    summary, _ = convert_text(report_of(PASSED, 'pass="1" fail="2" skip="1"'), tmp_path)

    assert summary.declared == {"tests": 4, "failures": 2, "skipped": 1}
    assert summary.notes == (
        "tests: the report declares 4, but contains 1",
        "failures: the report declares 2, but contains 0",
    )
    assert summary.failures_missing


def test_metadata_of_a_test_and_its_tags_are_properties(tmp_path: Path) -> None:
    body = '<meta name="Owner">team</meta><meta>x</meta><tag>a</tag><tag>b</tag><kw><tag>k</tag></kw>'
    result = read_one(f'<test name="a">{body}<status status="PASS"/></test>', tmp_path)

    assert result["properties"] == {"Owner": "team", "tags": "a\nb"}


def test_errors_of_a_run_that_passed_are_no_output(tmp_path: Path) -> None:
    errors = '<errors><msg level="WARN">deprecated</msg></errors></robot>'

    def log(test: str) -> str:
        source, output = tmp_path / "report", tmp_path / "output"
        source.write_text(report_of(test).replace("</robot>", errors))
        with output.open("wb") as file:
            convert(source, tmp_path / "results", output=OutputWriter(file))
        return output.read_text()

    assert log(PASSED) == ""
    assert log(failed_test("")) == "=== run: errors.txt ===\n WARN deprecated\n"


@pytest.mark.parametrize(
    ("report", "reason"),
    [
        ("<robot>" + "<suite>" * 300, "nested more than 200 levels"),
        ("<robot><suite>", "not well-formed XML"),
        ("<robot/><robot/>", "not well-formed XML"),
        ("<robot><!-- Suite teardown failed: -->", "not well-formed XML"),
    ],
    ids=["depth", "truncated", "two documents", "truncated after a teardown"],
)
def test_hostile_report_is_rejected(report: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(ReportError, match=reason) as error:
        convert_text(report, tmp_path)

    assert error.value.reason == "malformed_report"
