"""Conversion of the events of `go test -json` to results."""

import json
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest

from service.failures.model import summarize_failure
from service.reports.conversion.errors import ReportError
from service.reports.conversion.output import MAX_TEXT_BYTES, BoundedText
from service.reports.formats import go_test
from service.reports.formats import go_test as formats_go_test
from tests.reports.conversions import convert_all, convert_text
from tests.reports.manifests import OWN


def event(action: str, test: str | None = None, package: str = "example.com/shop", **fields: Any) -> str:
    return json.dumps({"Action": action, "Package": package, **({"Test": test} if test else {}), **fields}) + "\n"


def attempts(result: Any) -> list[str]:
    return [attempt["status"] for attempt in result.get("attempts") or []]


def summary_of(result: Any) -> str | None:
    failure = result.get("failure") or {}
    return summarize_failure(failure.get("type"), failure.get("message"), failure.get("details"))


def test_tests_become_results_of_their_package(tmp_path: Path) -> None:
    _, results = convert_all(OWN / "go-test.jsonl", tmp_path)

    found = [(str(result.get("suite")).removeprefix("example.com/shop/"), result["name"], result["status"])
             for result in results]  # fmt: skip
    assert sorted(found, key=lambda package: package[0]) == [
        ("boot", "TestStarts", "passed"),
        ("boot", "(suite)", "error"),
        ("broken", "(suite)", "error"),
        ("cart", "TestAdd", "passed"),
        ("cart", "TestTotals/empty", "passed"),
        ("cart", "TestTotals/two_items", "failed"),
        ("cart", "TestTotals", "failed"),
        ("cart", "TestCoupon", "skipped"),
        ("cart", "TestParallelA", "passed"),
        ("cart", "TestParallelB", "failed"),
        ("cart", "ExampleAdd", "passed"),
        ("ship", "TestRates", "passed"),
        ("ship", "TestLabel/print", "failed"),
        ("ship", "TestLabel", "failed"),
        ("slow", "TestQuick", "passed"),
        ("slow", "TestNeverEnds", "error"),
        ("slow", "TestNeverEnds/waits", "error"),
    ]


def test_summaries_state_why_a_test_or_package_failed(tmp_path: Path) -> None:
    _, results = convert_all(OWN / "go-test.jsonl", tmp_path)

    summaries = {f"{result.get('suite')}.{result['name']}": summary_of(result) for result in results}
    assert summaries["example.com/shop/boot.(suite)"] == "the database did not stop"
    assert summaries["example.com/shop/broken.(suite)"] == "broken/broken.go:3:27: undefined: missing"
    assert summaries["example.com/shop/cart.TestTotals/two_items"] == "cart_test.go:21: total is 0, not 3"
    assert summaries["example.com/shop/cart.TestCoupon"] == "cart_test.go:27: coupons are switched off"
    assert str(summaries["example.com/shop/ship.TestLabel"]).startswith("panic: runtime error: invalid memory address")
    assert summaries["example.com/shop/slow.TestNeverEnds/waits"] == "panic: test timed out after 2s"
    assert str(summaries["example.com/shop/slow.TestNeverEnds"]).startswith("The test has no end")


def test_run_lasts_from_the_first_to_the_last_event(tmp_path: Path) -> None:
    lines = [json.loads(line) for line in (OWN / "go-test.jsonl").read_text().splitlines()]
    times = sorted(line["Time"][:26] for line in lines if "Time" in line)

    summary, results = convert_all(OWN / "go-test.jsonl", tmp_path)

    assert summary.format == "go-test"
    assert f"{summary.times[0].started_at:%Y-%m-%dT%H:%M:%S.%f}" == times[0]
    assert f"{summary.completed_at:%Y-%m-%dT%H:%M:%S.%f}" == times[-1]
    assert all(result.get("started_at") for result in results if result["name"] != "(suite)")


def test_elapsed_seconds_are_the_duration(tmp_path: Path) -> None:
    events = [
        event("pass", f"Test{index}", Elapsed=value) for index, value in enumerate((0.25, 1e-7, None, "soon", -1))
    ]
    summary, results = convert_text("".join(events), tmp_path)

    assert [result.get("duration_ms") for result in results] == [250, 1, None, None, None]
    assert summary.notes == ("duration: 2 durations are invalid, such as 'soon'. They are stored as unknown.",)


def test_repeated_tests_are_further_occurrences(tmp_path: Path) -> None:
    _, results = convert_all(OWN / "go-test-count.jsonl", tmp_path)

    assert [result["name"] for result in results] == [
        "TestAdd", "TestTotals/empty", "TestTotals/two_items", "TestTotals",
    ] * 2  # fmt: skip
    assert not any("attempts" in result for result in results)


def test_reruns_of_gotestsum_are_attempts(tmp_path: Path) -> None:
    _, results = convert_all(OWN / "go" / "gotestsum-rerun-fails.jsonl", tmp_path)

    assert {result["name"]: (result["status"], attempts(result)) for result in results} == {
        "TestAdd": ("passed", []),
        "TestTotals": ("passed", ["failed", "passed"]),
        "TestTotals/empty": ("passed", []),
        "TestTotals/two_items": ("passed", ["failed", "passed"]),
        "TestCoupon": ("failed", ["failed"] * 3),
        "TestLabel": ("passed", ["failed", "passed"]),
        "TestRates": ("passed", []),
    }
    assert len(results) == 7


def test_occurrences_of_a_rerun_are_attempts_of_the_same_occurrences(tmp_path: Path) -> None:
    execution = event("{}", "TestA") + event("{}", "TestA") + event("fail")
    statuses = ("fail", "pass", "pass", "fail")

    _, results = convert_text((execution * 2).replace('"{}"', '"%s"') % statuses, tmp_path)

    assert list(map(attempts, results)) == [["failed", "passed"], ["passed", "failed"]]


def test_only_packages_that_are_executed_again_have_attempts(tmp_path: Path) -> None:
    first = [event(action, test, package) for test, action in (("TestA", "fail"), (None, "fail")) for package in "ab"]
    _, results = convert_text("".join(first) + event("pass", "TestA", "b") + event("pass", package="b"), tmp_path)

    assert [(result["suite"], result["status"], attempts(result)) for result in results] == [
        ("a", "failed", []), ("b", "passed", ["failed", "passed"]),
    ]  # fmt: skip


def test_failure_of_a_package_is_not_repaired_by_other_executions(tmp_path: Path) -> None:
    build = '{"ImportPath": "x", "Action": "build-output", "Output": "x.go:%d: no\\n"}\n'
    build += '{"ImportPath": "x", "Action": "build-fail"}\n' + event("fail", package="x", FailedBuild="x")
    passed = event("pass", "TestA", "x") + event("pass", package="x")

    _, results = convert_text(event("fail", "TestA", "x") + event("fail", package="x") + build % 1 + build % 2 + passed,
                              tmp_path)  # fmt: skip

    assert {result["name"]: (result["status"], attempts(result)) for result in results} == {
        "TestA": ("passed", ["failed", "passed"]),
        "(suite)": ("error", ["error", "error"]),
    }
    assert results[1]["failure"]["details"] == "x.go:2: no"


def test_execution_without_an_end_is_followed_by_an_attempt(tmp_path: Path) -> None:
    execution = event("start") + event("run", "TestA")
    _, results = convert_text(execution + execution + event("pass", "TestA") + event("pass"), tmp_path)

    assert [(result["name"], result["status"], attempts(result)) for result in results] == [
        ("TestA", "passed", ["error", "passed"])
    ]


def test_rerun_that_ends_early_is_an_error(tmp_path: Path) -> None:
    failed = event("start") + event("run", "TestA") + event("fail", "TestA") + event("fail")
    _, results = convert_text(failed + event("start") + event("run", "TestA"), tmp_path)

    assert [(result["name"], result["status"], attempts(result)) for result in results] == [
        ("TestA", "error", ["failed", "error"])
    ]


def test_number_of_packages_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats_go_test, "_MAX_PACKAGES", 2)
    with pytest.raises(ReportError, match="more than 2 packages"):
        convert_text("".join(event("pass", package=name) for name in "abc"), tmp_path)


def test_measured_benchmarks_pass_even_if_their_package_fails(tmp_path: Path) -> None:
    _, results = convert_all(OWN / "go-test-bench.jsonl", tmp_path)

    assert {result["name"]: result["status"] for result in results} == {
        "BenchmarkAdd": "passed",
        "BenchmarkFails": "failed",
        "BenchmarkSizes": "passed",
        "BenchmarkSizes/small": "passed",
        "BenchmarkSizes/large": "passed",
    }


def test_test_without_an_end_passes_if_its_package_passes(tmp_path: Path) -> None:
    _, results = convert_text(event("run", "TestA") + event("pass"), tmp_path)

    assert [(result["name"], result["status"]) for result in results] == [("TestA", "passed")]


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        (event("start") + event("run", "TestA"), [("TestA", "error")]),
        (event("start") + event("run", "TestA") + event("pass", "TestA"), [("TestA", "passed"), ("(suite)", "error")]),
        (event("run", "TestA") + event("pass", "TestA") + event("pass") + event("output", Output="late"),
         [("TestA", "passed")]),
    ],
    ids=["test", "package", "package with an end"],
)  # fmt: skip
def test_report_that_ends_early_contains_an_error(events: str, expected: list[Any], tmp_path: Path) -> None:
    times = '{"Time": "2026-05-20T12:00:00Z", '
    _, results = convert_text(events.replace('{"Action"', times + '"Action"'), tmp_path)
    _, without_times = convert_text(events, tmp_path)

    assert [(result["name"], result["status"]) for result in results] == expected
    assert [(result["name"], result["status"]) for result in without_times] == expected


@pytest.mark.parametrize("text", ["go: downloading x\nok  \tcart\t0.1s\n", "PASS\n"])
def test_text_of_go_test_before_the_first_event_is_ignored(text: str, tmp_path: Path) -> None:
    summary, (result,) = convert_text(text + event("run", "TestA") + event("pass", "TestA") + event("pass"), tmp_path)

    assert (result["name"], result["status"], summary.failures_missing) == ("TestA", "passed", False)


@pytest.mark.parametrize("action", ["pass", "fail"])
@pytest.mark.parametrize("is_first", [True, False])
def test_text_that_states_a_failed_package_is_an_error_if_no_event_failed(
    action: str, is_first: bool, tmp_path: Path
) -> None:
    text, events = "FAIL\tshop [build failed]\n", event("run", "TestA") + event(action, "TestA") + event(action)
    summary, results = convert_text(text + events if is_first else events + text, tmp_path)

    assert [result["name"] for result in results] == ["TestA"]
    assert summary.failures_missing is (action == "pass")
    note = "failures: none is an event, but a text states one: FAIL\tshop [build failed]"
    assert summary.notes == ((note,) if action == "pass" else ())


def test_packages_that_run_at_the_same_time_do_not_mix(tmp_path: Path) -> None:
    events = [event(action, "TestA", package, **fields) for action, fields in
              (("run", {}), ("output", {"Output": "boom\n"}), ("fail", {})) for package in ("a", "b")]  # fmt: skip
    events += [event("fail", package="a"), event("pass", package="b")]
    _, results = convert_text("".join(events), tmp_path)

    assert [(result["suite"], result["failure"]["details"]) for result in results] == [("a", "boom"), ("b", "boom")]


def test_failed_build_is_an_error_of_each_package_that_needs_it(tmp_path: Path) -> None:
    build = '{"ImportPath": "x [x.test]", "Action": "build-output", "Output": "x.go:1: no\\n"}\n'
    build += '{"ImportPath": "x [x.test]", "Action": "build-fail"}\n'
    failed = event("fail", package="x", FailedBuild="x [x.test]") + event("fail", package="y", FailedBuild="x [x.test]")

    _, with_packages = convert_text(build + failed, tmp_path)
    _, without_package = convert_text(build, tmp_path)

    assert [(result["suite"], result["failure"]["details"]) for result in with_packages] == [
        ("x", "x.go:1: no"), ("y", "x.go:1: no"),
    ]  # fmt: skip
    assert [(result["suite"], result["status"]) for result in without_package] == [("x", "error")]


def test_attributes_are_properties(tmp_path: Path) -> None:
    attribute = event("attr", "TestA", Key="issue", Value="SHOP-7")
    _, (result,) = convert_text(event("run", "TestA") + attribute + event("pass", "TestA") + event("pass"), tmp_path)

    assert result["properties"] == {"issue": "SHOP-7"}


def test_other_lines_are_ignored(tmp_path: Path) -> None:
    summary, results = convert_text("go: downloading x\n" + event("pass", "TestA") + "FAIL\n\n", tmp_path)

    assert len(results) == 1
    assert (summary.notes, summary.failures_missing) == ((), False)


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        (event("run", "TestB"), [("TestA", "passed"), ("TestB", "error")]),
        (event("pass"), [("TestA", "passed")]),
    ],
    ids=["in a test", "after the last package"],
)
def test_report_that_ends_inside_a_line_keeps_its_results_and_is_an_error(
    events: str, expected: list[Any], tmp_path: Path
) -> None:
    summary, results = convert_text(event("pass", "TestA") + events + '{"Action": "pa', tmp_path)

    assert [(result["name"], result["status"]) for result in results] == expected
    assert summary.failures_missing
    assert summary.notes == (
        "line 3: must be a JSON object. Lines that can't be read: 1. Results can be missing, so the run is an error",
    )


def test_utf_16_of_powershell_is_read(tmp_path: Path) -> None:
    _, results = convert_text(event("pass", "TestÄ").encode("utf-16"), tmp_path)

    assert [result["name"] for result in results] == ["TestÄ"]


def test_middle_of_long_output_is_removed(tmp_path: Path) -> None:
    output = event("output", "TestA", Output="y" * 9_999 + "\n")
    first, last = event("output", "TestA", Output="first\n"), event("output", "TestA", Output="last\n")
    _, (result,) = convert_text(event("run", "TestA") + first + output * 100 + last + event("fail", "TestA"), tmp_path)

    details = result["failure"]["details"]
    assert details.startswith("first\ny")
    assert details.endswith("y\nlast")
    assert "\n[… 910011 characters were removed …]\n" in details
    assert len(details) < 100_000


def test_size_of_a_text_is_bounded() -> None:
    text = BoundedText()
    sizes = list(accumulate(text.add("z" * 70_000) for _ in range(10)))

    assert max(sizes) <= 2 * MAX_TEXT_BYTES
    assert sizes[-1] == sizes[-2]


def test_output_and_number_of_tests_without_an_end_are_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(go_test, "_MAX_OUTPUT", 1_000)
    monkeypatch.setattr(go_test, "_MAX_STARTED", 10)
    start = "".join(event("run", f"Test{index}") for index in range(8))
    output = "".join(event("output", f"Test{index}", Output="z" * 400) for index in range(8))
    end = "".join(event("fail", f"Test{index}") for index in range(8))

    _, results = convert_text((start + output + end) * 3, tmp_path)

    is_complete = [result["failure"]["details"] == "z" * 400 for result in results]
    assert is_complete == [*[True] * 3, *[False] * 5] * 3
    assert results[-1]["failure"]["details"].startswith("[The rest of the output was removed")
    with pytest.raises(ReportError, match="more than 10 tests, packages, and builds have no end"):
        convert_text("".join(event("run", f"Test{index}") for index in range(11)), tmp_path)
