"""Conversion of testng-results.xml to results."""

from pathlib import Path
from time import process_time
from typing import Any

import pytest

from service.reports.conversion.errors import ReportError
from service.reports.conversion.names import portable_value
from service.reports.formats import testng
from tests.reports.conversions import convert_text

CLASS = "shop.CartTest"
FAILED = '<exception class="java.lang.AssertionError"><message>total is wrong</message></exception>'


def report_of(methods: str, root: str = "", test: str = "Default test", suite: str = "") -> str:
    return (
        f'<testng-results {root}><suite name="Shop" {suite}><test name="{test}"><class name="{CLASS}">'
        f"{methods}</class></test></suite></testng-results>"
    )


def method_of(attributes: str = 'status="PASS"', content: str = "", name: str = "adds") -> str:
    return f'<test-method name="{name}" {attributes}>{content}</test-method>'


def params_of(*values: str | None) -> str:
    texts = ('<value is-null="true"/>' if value is None else f"<value>\n  {value}\n</value>" for value in values)
    return f"<params>{''.join(f'<param>{text}</param>' for text in texts)}</params>"


def read_method(method: str, folder: Path, **report: str) -> Any:
    _, (result,) = convert_text(report_of(method, **report), folder)
    return result


def statuses_of(result: Any) -> list[str]:
    return [attempt["status"] for attempt in result.get("attempts") or [result]]


@pytest.mark.parametrize(
    ("attributes", "status"),
    [
        ('status="PASS"', "passed"), ('status="FAIL"', "failed"), ('status="SKIP"', "skipped"),
        ('status="SUCCESS_PERCENTAGE_FAILURE"', "failed"), ('status="Odd"', "error"), ("", "error"),
    ],
)  # fmt: skip
def test_statuses(attributes: str, status: str, tmp_path: Path) -> None:
    assert read_method(method_of(attributes), tmp_path)["status"] == status


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ((), "adds"),
        (("1", "apple"), "adds[1, apple]"),
        ((None, ""), "adds[null, ]"),
        (("shop.CartTest$Cart@2641e737",), "adds[shop.CartTest$Cart]"),
        (("Cart@1b2c3d",), "adds[Cart]"),
        (("[Ljava.lang.String;@1b2c3d", "[I@6d06d69c"), "adds[[Ljava.lang.String;, [I]"),
        (("[shop.Cart@1, shop.Cart@a2]",), "adds[[shop.Cart, shop.Cart]]"),
        (("shop.CartTest$$Lambda$14/0x0000000800066840@4b1210ee",), "adds[shop.CartTest$$Lambda]"),
        (("shop.CartTest$$Lambda/0x00007f1c94003200@7b3300e5",), "adds[shop.CartTest$$Lambda]"),
        (("Mock for Cart, hashCode: 12345",), "adds[Mock for Cart]"),
        (("ann@example.com", "Ann@cafe.example.com", "a@b"), "adds[ann@example.com, Ann@cafe.example.com, a@b]"),
        (("/builds/shop/data/cart.json", "C:\\ci\\cart.json"), "adds[cart.json, cart.json]"),
        (("two\n  lines",), "adds[two lines]"),
        (("übung.Käse@1b2c3d",), "adds[übung.Käse]"),
        (("x" * 10_000 + "1", "y"), "adds[" + "x" * 1_195),
    ],
    ids=range(15),
)
def test_parameters_are_part_of_the_name_without_hashes_and_paths(
    values: tuple[str | None, ...], name: str, tmp_path: Path
) -> None:
    for status in ("PASS", "FAIL", "SKIP"):
        result = read_method(method_of(f'status="{status}"', params_of(*values)), tmp_path)
        assert (result["suite"], result["name"]) == (CLASS, name)


def test_time_of_a_long_parameter_is_limited() -> None:
    started = process_time()
    names = [portable_value(f"{part * 20_000}@") for part in ("A", "A.", "[", "$$Lambda")]

    assert set(map(len, names)) == {1_200}
    assert process_time() - started < 0.5


@pytest.mark.parametrize(
    ("attributes", "name"),
    [
        ('signature="adds(int)[pri:0, instance:shop.CartTest@1]" test-instance-name="ann"', "adds[ann]"),
        ('test-instance-name="ann"', "ann[ann]"),
        ('signature="adds(int)[pri:0, instance:shop.CartTest@1]"', "ann"),
    ],
)
def test_stated_instance_is_part_of_the_name(attributes: str, name: str, tmp_path: Path) -> None:
    result = read_method(method_of(f'status="PASS" {attributes}', name="ann"), tmp_path)

    assert result["name"] == name


@pytest.mark.parametrize(
    ("test", "suite"),
    [
        ("Default test", CLASS), ("Command line test", CLASS), ("Surefire test", CLASS), ("Gradle Test", CLASS),
        ("mobile", f"mobile > {CLASS}"), ("shop", "shop > CartTest"),
    ],
)  # fmt: skip
def test_stated_test_is_part_of_the_suite(test: str, suite: str, tmp_path: Path) -> None:
    assert read_method(method_of(), tmp_path, test=test)["suite"] == suite


def test_configuration_that_passed_is_no_result(tmp_path: Path) -> None:
    summary, results = convert_text(report_of(method_of('status="PASS" is-config="true"', name="opens")), tmp_path)

    assert (summary.results, results) == (0, [])


@pytest.mark.parametrize(("status", "stored"), [("FAIL", "error"), ("SKIP", "skipped"), ("Odd", "error")])
def test_configuration_that_did_not_pass_is_a_result(status: str, stored: str, tmp_path: Path) -> None:
    content = params_of("public void shop.CartTest.adds()") + FAILED
    configuration = method_of(f'status="{status}" is-config="true"', content, "opens")
    skipped = method_of('status="SKIP"')
    summary, (opens, adds) = convert_text(report_of(configuration + skipped, 'failed="0" skipped="1"'), tmp_path)

    assert (opens["suite"], opens["name"], opens["status"]) == (CLASS, "opens", stored)
    assert opens["failure"] == {"type": "java.lang.AssertionError", "message": "total is wrong"}
    assert (adds["name"], adds["status"]) == ("adds", "skipped")
    assert (summary.notes, summary.failures_missing) == ((), False)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (0, 2, 1)])
@pytest.mark.parametrize("status", ["PASS", "FAIL"])
def test_retried_executions_are_attempts_in_any_order(status: str, order: tuple[int, ...], tmp_path: Path) -> None:
    retried = method_of('status="SKIP" retried="true"', FAILED)
    executions = [retried, retried, method_of(f'status="{status}"')]
    methods = "".join(executions[number] for number in order) + method_of(name="other")
    _, results = convert_text(report_of(methods, 'retried="2" passed="2"'), tmp_path)

    last = "passed" if status == "PASS" else "failed"
    assert {result["name"]: statuses_of(result) for result in results} == {
        "adds": ["failed", "failed", last],
        "other": ["passed"],
    }
    assert [result["status"] for result in results if result["name"] == "adds"] == [last]


def test_retries_of_other_parameters_belong_to_another_case(tmp_path: Path) -> None:
    methods = (
        method_of('status="SKIP" retried="true"', params_of("1"))
        + method_of('status="PASS"', params_of("2"))
        + method_of('status="PASS"', params_of("1"))
    )
    _, results = convert_text(report_of(methods, 'retried="1"'), tmp_path)

    assert {result["name"]: statuses_of(result) for result in results} == {
        "adds[2]": ["passed"],
        "adds[1]": ["failed", "passed"],
    }


def test_retried_execution_without_a_further_one_failed(tmp_path: Path) -> None:
    retried = method_of('status="SKIP" retried="true"', FAILED)
    summary, (result,) = convert_text(report_of(retried + retried, 'retried="2"'), tmp_path)

    assert (result["status"], statuses_of(result)) == ("failed", ["failed", "failed"])
    assert not summary.failures_missing


def test_repeats_without_a_stated_retry_are_further_occurrences(tmp_path: Path) -> None:
    _, results = convert_text(report_of(method_of('status="SKIP"', FAILED) + method_of()), tmp_path)

    assert [(result["status"], "attempts" in result) for result in results] == [("skipped", False), ("passed", False)]


def test_size_of_held_results_is_limited(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(testng, "_MAX_HELD", 1_200)
    retried = method_of('status="SKIP" retried="true"')
    methods = retried + "".join(method_of(name=f"m{number}") for number in range(10)) + method_of()
    _, results = convert_text(report_of(methods, 'retried="9"'), tmp_path)
    _, of_many = convert_text(report_of(retried * 10, 'retried="9"'), tmp_path)

    assert [result["name"] for result in results] == [*(f"m{number}" for number in range(10)), "adds"]
    assert statuses_of(results[-1]) == ["failed", "passed"]
    assert [len(statuses_of(result)) for result in of_many] == [3, 3, 3, 1]


def test_results_above_the_limit_are_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(testng, "_MAX_HELD", 1_200)
    executions = testng.RetriedExecutions(holds=True)

    def add(name: str) -> int:
        return len(list(executions.add({"name": name, "status": "passed"}, is_retried=False)))

    assert [add(f"m{number}") for number in range(4)] == [0, 0, 3, 0]
    assert [result["name"] for result in executions.flush()] == ["m3"]
    assert [add("x" * 400), add("x" * 400)] == [0, 2]


def test_groups_description_and_attributes_are_properties(tmp_path: Path) -> None:
    groups = "".join(
        f'<group name="{group}"><method class="{name}" name="adds" signature="s"/></group>'
        for group, name in (("fast", CLASS), ("db", CLASS), ("slow", "shop.Other"))
    )
    attributes = '<attributes><attribute name="issue"><![CDATA[SHOP-7]]></attribute></attributes>'
    method = method_of('status="PASS" description="adds a product"', attributes)
    report = report_of(method).replace("<test name", f"<groups>{groups}</groups><test name")
    _, (result,) = convert_text(report, tmp_path)

    assert result["properties"] == {"issue": "SHOP-7", "description": "adds a product", "groups": "fast\ndb"}


def test_groups_that_are_too_large_are_noted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def read_groups(limit: str, number: int) -> tuple[str, str]:
        monkeypatch.setattr(testng, limit, number)
        groups = "".join(f'<group name="g{n}"><method class="{CLASS}" name="adds"/></group>' for n in range(3))
        report = report_of(method_of()).replace("<test name", f"<groups>{groups}</groups><test name")
        summary, (result,) = convert_text(report, tmp_path)
        return result["properties"]["groups"], summary.notes[0]

    note = "properties: 1 were not stored; "
    for limit, number in (("_MAX_GROUPS_OF_METHOD", 2), ("_MAX_GROUPS", 800)):
        stored, written = read_groups(limit, number)
        assert (stored, written.startswith(note)) == ("g0\ng1", True)


@pytest.mark.parametrize(
    ("written", "started_at"),
    [
        ("2026-05-20T12:00:00Z", "2026-05-20 12:00:00+00:00"),
        ("2026-05-20T12:00:00 UTC", "2026-05-20 12:00:00+00:00"),
        ("2026-05-20T12:00:00 GMT", "2026-05-20 12:00:00+00:00"),
        ("2026-05-20T12:00:00 GMT+02:00", "2026-05-20 10:00:00+00:00"),
        ("2026-05-20T12:00:00+0200", "2026-05-20 10:00:00+00:00"),
        ("2026-05-20T12:00:00 IST", None),
        ("2026-05-20T12:00:00 CEST", None),
        ("2026-05-20T12:00:00", None),
        ("soon UTC", None),
        ("", None),
    ],
)
def test_times_count_only_in_an_unambiguous_zone(written: str, started_at: str | None, tmp_path: Path) -> None:
    method = method_of(f'status="PASS" started-at="{written}" duration-ms="12"')
    summary, (result,) = convert_text(
        report_of(method, suite=f'started-at="{written}" duration-ms="1500"'), tmp_path
    )  # fmt: skip

    found = result.get("started_at")
    assert (str(found) if found else None, result["duration_ms"]) == (started_at, 12)
    assert (str(summary.times[0].started_at) if summary.times[0].started_at else None) == started_at
    assert summary.times[0].duration_ms == (1_500 if written[:1] == "2" else None)


def test_invalid_duration_is_noted(tmp_path: Path) -> None:
    summary, (result,) = convert_text(report_of(method_of('status="PASS" duration-ms="-1630559929914"')), tmp_path)

    assert "duration_ms" not in result
    assert summary.notes == (
        "duration: 1 durations are invalid, such as '-1630559929914'. They are stored as unknown.",
    )


def test_failed_report_without_a_failure_misses_its_failures(tmp_path: Path) -> None:
    summary, _ = convert_text(report_of(method_of(), 'total="9" passed="1" failed="1"'), tmp_path)

    assert summary.failures_missing
    assert summary.notes == (
        "tests: the report declares 2, but contains 1",
        "failures: the report declares 1, but contains 0",
    )


def test_expected_exception_of_a_passed_test_is_no_failure(tmp_path: Path) -> None:
    assert read_method(method_of('status="PASS"', FAILED), tmp_path).keys() == {"suite", "name", "status"}


@pytest.mark.parametrize(
    ("report", "reason"),
    [
        ("<testng-results><suite>", "not well-formed XML"),
        (
            '<!DOCTYPE testng-results [<!ENTITY a "b">]><testng-results>&a;</testng-results>',
            "the DOCTYPE must not contain declarations",
        ),
    ],
)
def test_hostile_report_is_rejected(report: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(ReportError, match=reason) as error:
        convert_text(report, tmp_path)

    assert error.value.reason == "malformed_report"
