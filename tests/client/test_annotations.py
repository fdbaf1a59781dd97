"""Annotations of GitHub Actions are workflow commands without anything that a producer could break out of."""

from typing import Any

import pytest

from service.client.annotations import annotations
from service.client.links import ConsoleLinks
from tests.client.changed_runs import changed, run_changes


class Server:
    """A server whose results have the line 7."""

    links = ConsoleLinks("https://r.example")

    def get(self, path: str, _: Any = ()) -> dict[str, Any]:
        return {"line": None if path.endswith("%3Awithout_line") else 7}


def annotate(*results: dict[str, Any]) -> list[str]:
    return list(annotations(Server(), run_changes(*results)))  # type: ignore[arg-type]


def test_new_failure_is_an_error_with_file_line_and_evidence() -> None:
    assert annotate(changed(file="tests/shop.py")) == [
        "::error file=tests/shop.py,line=7,title=shop > pays::expected 200 got 503. passed in its last 3 runs on main"
        ". https://r.example/console/runs/ci-43"
    ]


def test_other_failures_are_warnings_and_quarantined_ones_are_left_out() -> None:
    results = [changed("a", "known_failure"), changed("b", "flaky_failure"), changed("c", "quarantined")]
    assert [line.partition("::expected")[0] for line in annotate(*results)] == [
        "::warning title=shop > a", "::warning title=shop > b",
    ]  # fmt: skip


def test_at_most_10_annotations_are_printed() -> None:
    assert len(annotate(*(changed(str(number)) for number in range(30)))) == 10


@pytest.mark.parametrize("text", ["a\n::error::b", "a\r\n::set-output name=x::y", "100%, a:b", "\x1b[31ma"])
def test_text_of_a_producer_stays_inside_its_command(text: str) -> None:
    (line,) = annotate(changed(text, file=text, failure_summary=text))
    assert line.count("\n") == line.count("\r") == line.count("\x1b") == 0
    properties, _, message = line.removeprefix("::error ").partition("::")
    assert "%" not in message.replace("%25", "")
    assert [part.partition("=")[0] for part in properties.split(",")] == ["file", "line", "title"]
