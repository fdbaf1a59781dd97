"""Properties and lines of cases."""

import json
from pathlib import Path
from typing import Any

import pytest

from service.results.model import MAX_PROPERTIES, MAX_PROPERTIES_BYTES, PROPERTY_LIMITS, PropertyCollector
from tests.reports.conversions import convert_all, convert_cases, convert_text
from tests.reports.manifests import CORPUS, OWN

_STEPS = {
    "test_id": "C1050430, C1050431, C1050432, C1050433",
    "testrail_result_step": "passed:Login successful\npassed:Navigate to checkout\nfailed:Payment processing failed",
}
_LABELS = {
    "priority": "P1",
    "severity": "2",
    "automated": "true",
    "externalId": "45678",
    "owners": '["qa", "platform"]',
    "category": '["smoke", "staging"]',
}


@pytest.mark.skipif(not CORPUS.exists(), reason="the corpus is missing")
@pytest.mark.parametrize(
    ("file", "index", "properties", "line"),
    [
        ("quick-junit-basic.xml", 6, {"step": "foobar"}, None),
        ("phpunit-checkstyle.xml", 0, None, 12),
        ("minitest-testomat.xml", 0, None, 53),
        ("gtest-launchable-b-param.xml", 0, {"value_param": '"meeny"'}, None),
        ("multi-case-ids-attachments-trcli.xml", 0, {"test_id": "C1050400, C1050401, C1050402"}, None),
        ("multi-case-ids-attachments-trcli.xml", 3, _STEPS, None),
        ("ctrf-spec-comprehensive.json", 0, _LABELS | {"tags": "smoke\ncritical"}, None),
    ],
)
def test_properties_and_lines_of_real_reports(
    file: str, index: int, properties: dict[str, str] | None, line: int | None, tmp_path: Path
) -> None:
    _, results = convert_all(CORPUS / file, tmp_path)

    assert (results[index].get("properties"), results[index].get("line")) == (properties, line)


def test_repeated_property_of_pytest_has_several_lines(tmp_path: Path) -> None:
    _, results = convert_all(OWN / "pytest-reruns.xml", tmp_path)

    assert results[-1]["properties"] == {"a": "1\n2"}


def test_repeated_values_of_a_property_are_one_line() -> None:
    collector = PropertyCollector()
    for value in ("1", "12", "1", "2", "12"):
        assert collector.add("a", value)

    assert collector.pairs == {"a": "1\n12\n2"}


def test_property_can_be_an_attribute_or_text(tmp_path: Path) -> None:
    (result,) = convert_cases(
        "<testcase name='c'><properties><property name='id' value='C1'/><property name='steps'>one\ntwo</property>"
        "<property value='no name'/><property name='testrail_attachment' value='a.png'/></properties></testcase>",
        tmp_path,
        'name="s"><properties><property name="seed" value="1"/></properties',
    )

    assert result["properties"] == {"id": "C1", "steps": "one\ntwo"}


@pytest.mark.parametrize("line", ["-1", "0", "x", "1.5", "", str(2**31), "9" * 50], ids=range(7))
def test_invalid_line_is_unknown(line: str, tmp_path: Path) -> None:
    (result,) = convert_cases(f"<testcase name='c' line='{line}'/>", tmp_path)

    assert "line" not in result


@pytest.mark.parametrize("name", ["pytest", "unit"], ids=["default", "configured"])
def test_lines_of_pytest_are_stored_from_1(name: str, tmp_path: Path) -> None:
    root = '<testsuites name="pytest tests">' if name != "pytest" else "<testsuites>"
    case = "<testcase name='c' line='0'><failure/></testcase>"
    (result,) = convert_text(f'{root}<testsuite name="{name}">{case}</testsuite></testsuites>', tmp_path)[1]

    assert result["line"] == 1


def test_tags_labels_and_extra_of_ctrf_are_properties(tmp_path: Path) -> None:
    (result,) = _convert_test(
        tmp_path,
        tags=["a", "b", 7],
        labels={"severity": 2},
        extra={"owner": "me", "priority": 1, "links": ["x"]},
        line=9,
    )

    assert result["properties"] == {"tags": "a\nb", "severity": "2", "owner": "me", "priority": "1", "links": '["x"]'}
    assert result["line"] == 9


@pytest.mark.parametrize("fields", [{"tags": 1, "extra": []}, {"line": True}, {"line": "3"}, {"line": 0}], ids=range(4))
def test_invalid_tags_and_lines_of_ctrf_are_ignored(fields: dict[str, Any], tmp_path: Path) -> None:
    (result,) = _convert_test(tmp_path, **fields)

    assert not {"properties", "line"} & result.keys()


def test_properties_are_limited_and_the_rest_is_noted(tmp_path: Path) -> None:
    properties = "".join(f"<property name='p{number}' value='v'/>" for number in range(MAX_PROPERTIES + 3))

    summary, (result,) = convert_text(f"<testsuite><testcase name='c'>{properties}</testcase></testsuite>", tmp_path)

    assert list(result["properties"]) == [f"p{number}" for number in range(MAX_PROPERTIES)]
    assert summary.notes == (f"properties: 3 were not stored; {PROPERTY_LIMITS}",)


def test_size_of_properties_is_limited_in_bytes() -> None:
    collector = PropertyCollector()

    assert collector.add("n", "é" * (MAX_PROPERTIES_BYTES // 2 - 1))
    assert not collector.add("m", "v")
    assert not collector.add("n", "v")
    assert list(collector.pairs) == ["n"]
    assert sum(len(name.encode()) + len(value.encode()) for name, value in collector.pairs.items()) <= 8192


def _convert_test(folder: Path, **fields: Any) -> list[Any]:
    report = {"results": {"tests": [{"name": "c", "status": "passed", **fields}]}}
    return convert_text(json.dumps(report), folder)[1]
