"""Conversion of xUnit.net XML to results."""

from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from service.reports.conversion.convert import convert
from service.reports.conversion.errors import ReportError
from service.reports.conversion.output import OutputWriter
from service.reports.formats import xunit
from tests.reports.conversions import convert_text

ASSEMBLY = 'name="/ci/Shop.dll"'
XUNIT_2 = f'{ASSEMBLY} test-framework="xUnit.net 2.4.1"'


def report_of(content: str, assembly: str = ASSEMBLY) -> str:
    return f"<assemblies><assembly {assembly}>{content}</assembly></assemblies>"


def case_of(attributes: str, content: str = "") -> str:
    return f"<collection name='Test collection for Shop.Cart'><test {attributes}>{content}</test></collection>"


def read_test(attributes: str, folder: Path, content: str = "", assembly: str = ASSEMBLY) -> Any:
    _, (result,) = convert_text(report_of(case_of(attributes, content), assembly), folder)
    return result


@pytest.mark.parametrize(
    ("attributes", "status"),
    [
        ('result="Pass"', "passed"), ('result="Fail"', "failed"), ('result="Skip"', "skipped"),
        ('result="NotRun"', "skipped"), ('result="Odd"', "error"), ('result="undefined"', "error"), ("", "error"),
    ],
)  # fmt: skip
def test_results(attributes: str, status: str, tmp_path: Path) -> None:
    assert read_test(f'name="a" {attributes}', tmp_path)["status"] == status


@pytest.mark.parametrize(
    ("attributes", "suite", "name"),
    [
        ('name="Shop.Cart.Adds(count: 1)" type="Shop.Cart" method="Adds"', "Shop.Cart", "Adds(count: 1)"),
        ('name="adds a product" type="Shop.Cart" method="Adds"', "Shop.Cart", "adds a product"),
        ('name="adds" type=""', "Shop.Cart", "adds"),
        ('type="Shop.Cart" method="Adds"', "Shop.Cart", "Adds"),
        ('name="/builds/shop/cart.txt"', "Shop.Cart", "cart.txt"),
        ("", "Shop.Cart", "Shop.Cart"),
    ],
)
def test_identity_of_a_test(attributes: str, suite: str, name: str, tmp_path: Path) -> None:
    for result in ("Pass", "Fail"):
        read = read_test(f'{attributes} result="{result}"', tmp_path)
        assert (read["suite"], read["name"]) == (suite, name)


@pytest.mark.parametrize(
    ("collection", "suite"),
    [
        ("Test collection for Shop.Cart (id: e2a89a28)", "Shop.Cart"),
        ("carriers (id: e2a89a28)", "carriers"),
        ("carriers", "carriers"),
        ("/builds/shop/cart.test.js", "cart.test.js"),
        ("", "Shop.dll"),
    ],
)
def test_test_without_a_class_belongs_to_its_collection(collection: str, suite: str, tmp_path: Path) -> None:
    content = f'<collection name="{collection}"><test name="adds" result="Pass"/></collection>'
    _, (result,) = convert_text(report_of(content), tmp_path)

    assert result["suite"] == suite


@pytest.mark.parametrize(
    ("assembly", "name"),
    [
        (XUNIT_2, 'Reads("C:\\new", "a")'),
        (f'{ASSEMBLY} test-framework="xUnit.net v3 3.2.1+a9"', 'Reads("C:\\new", "a")'),
        (f'{ASSEMBLY} test-framework="xUnit.net 2.1.0.3179"', r"Reads(\"C:\\new\", \"a\")"),
        (f'{ASSEMBLY} test-framework="Fixie 1.2.3.4"', r"Reads(\"C:\\new\", \"a\")"),
        (ASSEMBLY, r"Reads(\"C:\\new\", \"a\")"),
    ],
)
def test_escape_sequences_of_names_depend_on_the_framework(assembly: str, name: str, tmp_path: Path) -> None:
    written = r"Reads(\&quot;C:\\new\&quot;, \&quot;a\&quot;)"

    assert read_test(f'name="{written}" type="K" result="Pass"', tmp_path, assembly=assembly)["name"] == name


def test_escape_sequences_of_messages_and_traits(tmp_path: Path) -> None:
    failure = r"<failure exception-type='E'><message>a\r\nb\t\\n</message><stack-trace>C:\new</stack-trace></failure>"
    traits = r"<traits><trait name='Path' value='C:\\new'/></traits>"
    result = read_test("name='a' result='Fail'", tmp_path, failure + traits, XUNIT_2)
    of_other = read_test("name='a' result='Fail'", tmp_path, failure)

    assert result["failure"] == {"type": "E", "message": "a\r\nb\t\\n", "details": "C:\\new"}
    assert result["properties"] == {"Path": "C:\\new"}
    assert of_other["failure"]["message"] == r"a\r\nb\t\\n"


def test_errors_outside_of_tests_are_separate_results(tmp_path: Path) -> None:
    failure = "<failure exception-type='E'><message>no database</message></failure>"
    errors = "".join(
        f"<error type='{kind}' name='{name}'>{failure}</error>"
        for kind, name in (
            ("assembly-cleanup", "/ci/Shop.dll"), ("test-class-cleanup", "Shop.Cart"), ("fatal", ""),
            ("test-collection-cleanup", "Test collection for Shop.Cart"),
        )
    )  # fmt: skip
    passed = case_of('name="a" result="Pass"')
    report = report_of(f"<errors>{errors}</errors>{passed}", f'{ASSEMBLY} errors="4" total="1"')
    summary, results = convert_text(report, tmp_path)

    assert [(result["suite"], result["name"], result["status"]) for result in results[:-1]] == [
        ("Shop.dll", "(suite)", "error"),
        ("Shop.Cart", "(suite)", "error"),
        ("Shop.dll", "(suite)", "error"),
        ("Shop.Cart", "(suite)", "error"),
    ]
    assert results[0]["properties"] == {"error-type": "assembly-cleanup"}
    assert results[0]["failure"] == {"type": "E", "message": "no database"}
    assert (summary.notes, summary.failures_missing) == ((), False)


def test_failure_of_a_class_of_version_1_is_a_separate_result(tmp_path: Path) -> None:
    content = (
        "<class name='Shop.Cart'><failure><message>no fixture</message></failure>"
        "<test name='Shop.Cart.Adds' type='Shop.Cart' method='Adds' result='Pass'/></class>"
    )
    _, results = convert_text(f"<assembly {ASSEMBLY} run-date='2026-05-20'>{content}</assembly>", tmp_path)

    assert [(result["suite"], result["name"], result["status"]) for result in results] == [
        ("Shop.Cart", "Adds", "passed"),
        ("Shop.Cart", "(suite)", "error"),
    ]


def test_failure_in_a_passed_test_is_not_lost(tmp_path: Path) -> None:
    assert read_test("name='a' result='Pass'", tmp_path, "<failure/>")["status"] == "failed"
    assert read_test("name='a' result='Pass'", tmp_path, "<reason>later</reason>")["status"] == "passed"


def test_failed_assembly_without_a_failure_misses_its_failures(tmp_path: Path) -> None:
    passed = case_of('name="a" result="Pass"')

    assert convert_text(report_of(passed, f'{ASSEMBLY} failed="1"'), tmp_path)[0].failures_missing
    assert convert_text(report_of(passed, f'{ASSEMBLY} errors="1"'), tmp_path)[0].failures_missing
    assert not convert_text(report_of(passed, f'{ASSEMBLY} failed="0" skipped="1"'), tmp_path)[0].failures_missing


def test_reason_output_and_warnings(tmp_path: Path) -> None:
    content = "<reason>later</reason><output>adding</output><warnings><warning>old</warning></warnings>"
    result = read_test("name='a' result='Skip'", tmp_path, content)

    assert result["failure"] == {"message": "later"}
    summary, _ = convert_text(report_of("<warnings><warning>x</warning></warnings>"), tmp_path)
    assert summary.results == 0


def test_attachments_of_a_passed_test_are_files_of_its_result(tmp_path: Path) -> None:
    attachments = "<attachment name='a' media-type='image/png'>QUJD</attachment><attachment name='b'>Grüße</attachment>"
    invalid = "<attachment name='c' media-type='image/png'>A</attachment><attachment name='d'/>"
    content = f"<attachments>{attachments}{invalid}</attachments>"
    source, texts, embedded = tmp_path / "report", BytesIO(), BytesIO()
    source.write_text(report_of(case_of("name='a' result='Pass'", content)))
    summary = convert(source, tmp_path / "results", output=OutputWriter(texts, embedded))

    assert (texts.getvalue(), embedded.getvalue().decode()) == (b"", "ABCGrüße")
    assert summary.results == 1


@pytest.mark.parametrize("limit", ["_MAX_ENCODED", "MAX_ATTACHMENTS"])
def test_attachments_that_exceed_the_limits_are_omitted(
    limit: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(xunit, limit, 1)
    content = "<attachments><attachment name='a'>A</attachment><attachment name='b'>BB</attachment></attachments>"
    source, embedded = tmp_path / "report", BytesIO()
    source.write_text(report_of(case_of("name='a' result='Fail'", content)))
    output = OutputWriter(BytesIO(), embedded)
    convert(source, tmp_path / "results", output=output)

    assert (embedded.getvalue(), output.embedded.dropped) == (b"A", 1)


def test_times_count_only_with_a_zone(tmp_path: Path) -> None:
    local = f'{ASSEMBLY} run-date="2026-05-20" run-time="12:00:00" time="2.5"'
    zoned = f'{local} start-rtf="2026-05-20T14:00:00.2500000+02:00"'
    test = case_of('name="a" result="Pass" time="0.25" start-rtf="2026-05-20T12:00:01.5000000+00:00"')
    summary, (result,) = convert_text(report_of(test, local), tmp_path)
    of_zone, _ = convert_text(report_of(test, zoned), tmp_path)

    assert (summary.times[0].started_at, summary.times[0].duration_ms) == (None, 2_500)
    assert (str(of_zone.times[0].started_at), of_zone.times[0].duration_ms) == (
        "2026-05-20 12:00:00.250000+00:00",
        2_500,
    )
    assert (str(result["started_at"]), result["duration_ms"]) == ("2026-05-20 12:00:01.500000+00:00", 250)


@pytest.mark.parametrize(("line", "stored"), [("8", 8), ("0", None), ("x", None), ("99999999999", None)])
def test_file_and_line_of_a_test(line: str, stored: int | None, tmp_path: Path) -> None:
    result = read_test(f'name="a" result="Pass" source-file="/ci/shop/Cart.cs" source-line="{line}"', tmp_path)

    assert (result["file"], result.get("line")) == ("Cart.cs", stored)


def test_invalid_duration_is_noted(tmp_path: Path) -> None:
    summary, (result,) = convert_text(report_of(case_of('name="a" result="Pass" time="soon"')), tmp_path)

    assert "duration_ms" not in result
    assert summary.notes == ("duration: 1 durations are invalid, such as 'soon'. They are stored as unknown.",)


@pytest.mark.parametrize(
    "report",
    ["<assembly xmlns='urn:schemas-microsoft-com:asm.v1' manifestVersion='1.0'/>", "<assembly><id>bin</id></assembly>"],
    ids=["manifest", "Maven"],
)
def test_other_files_about_assemblies_are_no_reports(report: str, tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="XML with the root element <assembly> isn't JUnit XML") as error:
        convert_text(report, tmp_path)

    assert error.value.reason == "unsupported_format"


@pytest.mark.parametrize(
    ("report", "reason"),
    [
        ("<assemblies><assembly>", "not well-formed XML"),
        (
            '<!DOCTYPE assemblies [<!ENTITY a "b">]><assemblies>&a;</assemblies>',
            "the DOCTYPE must not contain declarations",
        ),
    ],
)
def test_hostile_report_is_rejected(report: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(ReportError, match=reason) as error:
        convert_text(report, tmp_path)

    assert error.value.reason == "malformed_report"
