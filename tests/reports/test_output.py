"""The output that readers store: of which results, in which file, and within which limits."""

import time
import tracemalloc
from base64 import b64encode
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import orjson
import pytest

from service.reports.conversion import output
from service.reports.conversion.output import MAX_TEXT_BYTES, BoundedText, OutputPart
from service.reports.conversion.uploads import ReadUpload, ReportFile, read_upload
from service.reports.model import ReportLimits
from service.reports.streams.chunks import read_chunks

LINE = "a line of output\n"


def read(folder: Path, *reports: str) -> ReadUpload:
    files = []
    for index, report in enumerate(reports):
        source = folder / f"report-{index}"
        source.write_text(report, encoding="utf-8")
        files.append(ReportFile(source, folder / f"results-{index}", f"{index}.xml", None, None))
    return read_upload(files, ReportLimits())


def texts(upload: ReadUpload) -> list[dict[str, str]]:
    """Return the outputs of each result by name, in the order of the results."""
    data = stored(upload)
    results = [result for chunk in read_chunks(upload.files[0].target) for result in orjson.loads(chunk)]
    return [by_name(result.get("output", ()), data) for result in results]


def suite_texts(upload: ReadUpload) -> dict[str, str]:
    """Return the outputs of suites by name."""
    return by_name(upload.suite_output, stored(upload))


def stored(upload: ReadUpload) -> bytes:
    return upload.output.read_bytes() if upload.output else b""


def by_name(parts: Iterable[OutputPart], data: bytes) -> dict[str, str]:
    return {part["name"]: data[part["offset"] :][: part["size"]].decode() for part in parts}


def test_output_of_a_case_is_stored_if_it_didn_t_pass(tmp_path: Path) -> None:
    upload = read(
        tmp_path,
        "<testsuite name='shop'><testcase name='a'><system-out>passed</system-out></testcase>"
        "<testcase name='b'><system-out>\n  one \x85<![CDATA[<two>]]>\n</system-out><system-err>é</system-err>"
        "<failure/></testcase>"
        "<testcase name='c'><skipped/><system-out>why</system-out></testcase></testsuite>",
    )

    assert texts(upload) == [
        {}, {"system-out.txt": "\n  one \x85<two>\n", "system-err.txt": "é"}, {"system-out.txt": "why"},
    ]  # fmt: skip
    assert upload.output
    assert "passed" not in upload.output.read_text("utf-8")
    assert "=== shop b: system-out.txt ===\n" in upload.output.read_text("utf-8")


def test_blank_output_is_omitted(tmp_path: Path) -> None:
    upload = read(
        tmp_path, "<testsuite><testcase name='a'><error/><system-out>\n \n</system-out></testcase></testsuite>"
    )

    assert (texts(upload), upload.output) == ([{}], None)


@pytest.mark.parametrize("text", ["--- Captured Log ---\n\n--- Captured Out ---\n", "\n[[ATTACHMENT|a/b.png]]\n"])
def test_headings_and_references_to_files_are_no_output(text: str, tmp_path: Path) -> None:
    output_element = f"<system-out>{text}</system-out>"
    upload = read(tmp_path, f"<testsuite><testcase name='a'><error/>{output_element}</testcase></testsuite>")

    assert (texts(upload), upload.output) == ([{}], None)


@pytest.mark.parametrize("part", ["[[ATTACHMENT|a]]", "-- Captured Log -"])
def test_many_headings_and_references_in_one_line_are_examined_in_linear_time(part: str, tmp_path: Path) -> None:
    start = time.process_time()
    output_element = f"<system-out>{part * 25} done</system-out>"
    upload = read(tmp_path, f"<testsuite><testcase name='a'><error/>{output_element}</testcase></testsuite>")

    assert texts(upload) == [{"system-out.txt": f"{part * 25} done"}]
    assert time.process_time() - start < 1


def test_several_outputs_of_one_case_are_one_text(tmp_path: Path) -> None:
    upload = read(
        tmp_path,
        "<testsuite><testcase name='a'><system-out>one</system-out><error/><system-out>two</system-out></testcase>"
        "</testsuite>",
    )

    assert texts(upload) == [{"system-out.txt": "one\ntwo"}]


def test_output_of_reruns_is_named_by_attempt(tmp_path: Path) -> None:
    upload = read(
        tmp_path,
        "<testsuite><testcase name='a'>"
        "<flakyFailure><stackTrace>x</stackTrace><system-out>1</system-out></flakyFailure>"
        "<flakyError><system-err>2</system-err></flakyError><system-out>passed</system-out></testcase></testsuite>",
    )

    assert texts(upload) == [{"attempt-1-system-out.txt": "1", "attempt-2-system-err.txt": "2"}]


def test_output_of_repeated_cases_is_named_by_attempt(tmp_path: Path) -> None:
    case = "<testcase classname='c' name='a'><system-out>{}</system-out>{}</testcase>"
    cases = case.format(1, "<failure/>") + case.format(2, "<failure/>") + case.format(3, "<failure/>")
    upload = read(tmp_path, f"<testsuite name='pytest'>{cases}</testsuite>")

    assert texts(upload) == [
        {"attempt-1-system-out.txt": "1", "attempt-2-system-out.txt": "2", "system-out.txt": "3"}
    ]  # fmt: skip


def test_output_of_a_suite_with_a_result_that_didn_t_pass_belongs_to_the_run(tmp_path: Path) -> None:
    upload = read(
        tmp_path,
        "<testsuites><testsuite name='a'><testcase name='1'/><testcase name='2'><failure/></testcase>"
        "<testsuite name='b'><testcase name='3'><failure/></testcase><system-err>inner</system-err></testsuite>"
        "<testcase name='4'/><system-out>outer</system-out></testsuite>"
        "<testsuite name='c'><testcase name='5'/><system-out>of passed cases</system-out></testsuite></testsuites>",
        "<testsuite name='d'><error>no case</error><system-out>second file</system-out></testsuite>",
    )

    assert texts(upload) == [{}] * 6
    assert suite_texts(upload) == {
        "1-a > b-system-err.txt": "inner", "2-a-system-out.txt": "outer", "3-d-system-out.txt": "second file",
    }  # fmt: skip
    assert b"of passed cases" not in stored(upload)


def test_output_of_ctrf_is_stored(tmp_path: Path) -> None:
    retry = {"status": "failed", "stdout": ["first", "try"]}
    test = {
        "name": "pays", "status": "failed", "stdout": ["one", "two"], "stderr": ["\x1b[31mred\x1b[0m"],
        "snippet": "pay()", "steps": [{"name": "open", "status": "passed"}, {"name": "pay", "status": "failed"}],
        "retryAttempts": [retry],
    }  # fmt: skip
    passed = {"name": "ships", "status": "passed", "stdout": ["fine"]}
    upload = read(tmp_path, orjson.dumps({"results": {"tests": [test, passed]}}).decode())

    assert texts(upload) == [
        {
            "attempt-1-stdout.txt": "first\ntry", "stdout.txt": "one\ntwo", "stderr.txt": "\x1b[31mred\x1b[0m",
            "steps.txt": "passed: open\nfailed: pay", "snippet.txt": "pay()",
        },
        {},
    ]  # fmt: skip


def test_output_of_each_attempt_of_playwright_is_stored(tmp_path: Path) -> None:
    steps = [
        {"title": "pay", "steps": [{"title": "enter the card", "error": {"message": "no card"}}]},
        {"title": "open"},
    ]
    attempts: list[Any] = [
        {
            "status": "failed",
            "stdout": [{"text": "one\n"}, *({"buffer": b64encode(part).decode()} for part in (b"two \xc3", b"\xa9\n"))],
        },
        {"status": "failed", "stderr": [{"text": "\x1b[31mred\x1b[0m"}, {"buffer": "no Base64"}], "steps": steps},
    ]
    passed = {"status": "passed", "stdout": [{"text": "fine"}]}
    tests = [
        {"expectedStatus": "passed", "results": results} for results in (attempts, [*attempts[:1], passed], [passed])
    ]
    suite = {"title": "a.spec.ts", "specs": [{"title": "pays", "tests": tests}]}
    upload = read(tmp_path, orjson.dumps({"config": {"configFile": ""}, "suites": [suite]}).decode())

    first = {"attempt-1-stdout.txt": "one\ntwo é\n"}
    assert texts(upload) == [
        {
            **first,
            "stderr.txt": "\x1b[31mred\x1b[0mno Base64",
            "steps.txt": "passed: pay\n  failed: enter the card\npassed: open",
        },
        first,
        {},
    ]


def test_output_of_go_tests_and_failed_builds_is_stored(tmp_path: Path) -> None:
    events = [
        {"ImportPath": "broken [build]", "Action": "build-output", "Output": "# broken\n"},
        {"ImportPath": "broken [build]", "Action": "build-output", "Output": "undefined: x\n"},
        {"ImportPath": "broken [build]", "Action": "build-fail"},
        {"Action": "output", "Package": "broken", "Output": "FAIL broken [build failed]\n"},
        {"Action": "fail", "Package": "broken", "FailedBuild": "broken [build]"},
    ]
    for number, end in enumerate(("fail", "skip", "pass")):
        test = {"Package": "shop", "Test": f"Test{number}"}
        lines = [f"=== RUN   Test{number}\n", "\n", f"    line {number}\n"]
        events += [{"Action": "run", **test}, *({"Action": "output", **test, "Output": line} for line in lines)]
        events += [{"Action": end, **test}]
    upload = read(tmp_path, "\n".join(orjson.dumps(event).decode() for event in events))

    assert texts(upload) == [
        {"build-output.txt": "undefined: x\n", "output.txt": "FAIL broken [build failed]\n"},
        {"output.txt": "\n    line 0\n"},
        {"output.txt": "\n    line 1\n"},
        {},
    ]


def test_output_of_trx_is_stored(tmp_path: Path) -> None:
    def result_of(outcome: str, output: str, inner: str = "") -> str:
        return f"<UnitTestResult testName='a' outcome='{outcome}'>{inner}<Output>{output}</Output></UnitTestResult>"

    outputs = "<StdOut> one\n</StdOut><StdErr>two</StdErr><DebugTrace>three</DebugTrace>"
    outputs += "<TextMessages>\n<Message>four</Message>\n<Message>five</Message>\n</TextMessages>"
    results = result_of("Passed", outputs) + result_of("Failed", outputs, result_of("Error", "<StdOut>inner</StdOut>"))
    summary = "<ResultSummary><Output><StdOut>of the run</StdOut></Output></ResultSummary>"
    failed, passed = (
        f"<TestRun><Results>{content}</Results>{summary}</TestRun>"
        for content in (results, result_of("Passed", outputs))
    )
    upload = read(tmp_path, failed, passed)

    assert suite_texts(upload) == {"1-run-stdout.txt": "of the run"}
    assert texts(upload) == [
        {},
        {"stdout.txt": "inner"},
        {
            "stdout.txt": " one\n",
            "stderr.txt": "two",
            "debug-trace.txt": "three",
            "messages.txt": "four\nfive\n",
        },
        {},
    ]


def test_output_of_a_trx_run_with_an_error_belongs_to_the_run(tmp_path: Path) -> None:
    summary = "<RunInfos><RunInfo outcome='Error'><Text>The host stopped.</Text></RunInfo></RunInfos>"
    summary += "<Output><StdOut>of the run</StdOut></Output>"
    upload = read(
        tmp_path,
        f"<TestRun><ResultSummary outcome='Failed'>{summary}</ResultSummary></TestRun>",
        "<testsuite><testcase name='a'><error/></testcase></testsuite>",
    )

    assert (texts(upload), suite_texts(upload)) == ([{}, {}], {"1-run-stdout.txt": "of the run"})


def test_native_result_can_t_refer_to_the_output_file(tmp_path: Path) -> None:
    part = {"name": "a.txt", "offset": 0, "size": 1, "sha256": "0" * 64}
    upload = read(tmp_path, orjson.dumps([{"name": "a", "status": "failed", "output": [part]}]).decode())

    assert texts(upload) == [{}]


def test_middle_of_a_long_text_is_removed() -> None:
    text = BoundedText()
    for number in range(100_000):
        text.add(f"line {number} é\n")
    data = text.encode()

    assert len(data) <= MAX_TEXT_BYTES
    start, note, end = data.decode().partition("characters were removed …]\n")[0].rpartition("\n[… ")
    assert (start[:9], note) == ("line 0 é\n", "\n[… ")
    stored = len(start) + len(data.decode().partition("removed …]\n")[2])
    assert int(end) == sum(len(f"line {number} é\n") for number in range(100_000)) - stored
    assert data.decode().endswith("line 99999 é\n")


@pytest.mark.parametrize("size", [MAX_TEXT_BYTES - 1, MAX_TEXT_BYTES])
def test_text_within_the_limit_is_unchanged(size: int) -> None:
    text = BoundedText()
    for start in range(0, size, 1_000):
        text.add("x" * min(1_000, size - start))

    assert text.encode() == b"x" * size


def test_output_over_the_limit_is_dropped_with_one_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "MAX_FILE_BYTES", 200)
    case = f"<testcase name='a'><error/><system-out>{'x' * 100}</system-out></testcase>"
    upload = read(tmp_path, f"<testsuite>{case * 3}</testsuite>", f"<testsuite>{case}</testsuite>")

    assert [len(found) for found in texts(upload)] == [1, 0, 0, 0]
    notes = [note for note in upload.summary.notes if note.startswith("output: ")]
    assert [note.partition(";")[0] for note in notes] == ["output: 3 outputs were not stored"]


def junit_output(lines: int) -> str:
    output_element = f"<system-out>{LINE * lines}</system-out>"
    return f"<testsuite><testcase name='a'><error/>{output_element}</testcase>{output_element}</testsuite>"


def go_output(lines: int) -> str:
    line = orjson.dumps({"Action": "output", "Package": "shop", "Test": "TestA", "Output": LINE * 50}).decode() + "\n"
    run, fail = (line.replace('"output"', f'"{action}"') for action in ("run", "fail"))
    return run + line * (lines // 50) + fail


def trx_output(lines: int) -> str:
    output_element = f"<Output><StdOut>{LINE * lines}</StdOut></Output>"
    result = f"<UnitTestResult testName='a' outcome='Failed'>{output_element}</UnitTestResult>"
    return f"<TestRun><Results>{result}</Results><ResultSummary>{output_element}</ResultSummary></TestRun>"


@pytest.mark.parametrize("new_report", [junit_output, go_output, trx_output])
def test_memory_does_not_grow_with_the_output(new_report: Callable[[int], str], tmp_path: Path) -> None:
    def peak_of(lines: int) -> int:
        (tmp_path / "report").write_text(new_report(lines))
        tracemalloc.start()
        read_upload([ReportFile(tmp_path / "report", tmp_path / "results", None, None, None)], ReportLimits())
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    assert peak_of(60_000) < 1.2 * peak_of(30_000)
