"""Rules of Allure results: sets of files, identity, retries, fixtures, and values of wrong types."""

import gzip
import json
import random
import time
from pathlib import Path
from typing import Any

import pytest

from service.domain.report_formats import detect_format
from service.domain.reports import ReportLimits
from service.reports.convert import convert
from service.reports.errors import ReportError
from service.reports.uploads import ReadUpload, ReportFile, read_upload
from tests.reports.conversions import convert_text
from tests.reports.tools.reading import ReadCase, ReadRun, read_run

START = 1_780_000_000_000
LABELS = [{"name": "testClass", "value": "shop.CartTest"}, {"name": "testMethod", "value": "adds"}]
FAILURE = {"message": "no stock", "trace": "Error: no stock\n  at cart"}


def result(uuid: str = "u1", **fields: Any) -> dict[str, Any]:
    defaults = {"uuid": uuid, "name": "adds", "status": "passed", "historyId": uuid, "labels": LABELS, "start": START}
    return {**defaults, "stop": START + 5, **fields}


def attempt(number: int, status: str, **fields: Any) -> dict[str, Any]:
    return result(f"u{number}", **{"status": status, "historyId": "h", "start": START + number, **fields})


def container(*children: str, **fields: Any) -> dict[str, Any]:
    return {"uuid": "c", "children": list(children), "befores": [], "afters": [], **fields}


def fixture(status: str | None = "broken", **fields: Any) -> dict[str, Any]:
    return {"name": "database", "status": status, "statusDetails": FAILURE, **fields}


def read(tmp_path: Path, *documents: dict[str, Any]) -> ReadRun:
    """Return the run of an upload with one file per document, whose names don't state their order."""
    folder = tmp_path / "allure-results"
    folder.mkdir()
    for number, document in enumerate(documents):
        kind = "result" if "status" in document else "container"
        (folder / f"{9 - number}-{kind}.json").write_text(json.dumps(document), "utf-8")
    return read_run(folder)


def read_one(tmp_path: Path, document: dict[str, Any]) -> Any:
    _, results = convert_text(json.dumps(document), tmp_path)
    assert len(results) == 1
    return results[0]


def upload(folder: Path, files: dict[str, bytes], limits: ReportLimits | None = None) -> ReadUpload:
    reports = []
    for index, (name, content) in enumerate(files.items()):
        source = folder / f"report-{index}"
        source.write_bytes(content)
        reports.append(ReportFile(source, folder / f"results-{index}", name, "application/json", None))
    return read_upload(reports, limits or ReportLimits())


def outcomes(run: ReadRun) -> list[tuple[str, str]]:
    return [(case.name, case.status) for case in run.cases]


# Sets of files


def test_many_files_are_one_report(tmp_path: Path) -> None:
    files = {f"{number}-result.json": json.dumps(result(f"u{number}")).encode() for number in range(300)}

    read = upload(tmp_path, files)

    assert (len(read.files), read.summary.results, read.summary.format) == (1, 300, "allure")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["embedded", "output", "results-0"]


def test_compressed_and_utf_16_files_are_joined(tmp_path: Path) -> None:
    files = {
        "a-result.json": gzip.compress(json.dumps(result("a")).encode()),
        "b-result.json": json.dumps(result("b")).encode("utf-16"),
        "c-result.json": json.dumps(result("c", name="\ud800"), indent=2).encode(),
    }

    assert upload(tmp_path, files).summary.results == 3


def test_other_reports_of_the_upload_stay_separate(tmp_path: Path) -> None:
    files = {
        "a-result.json": json.dumps(result()).encode(),
        "junit.xml": b"<testsuite><testcase name='a'/></testsuite>",
    }

    read = upload(tmp_path, files)

    assert [file.name for file in read.files] == ["Allure results", "junit.xml"]
    assert read.summary.results == 2


def test_other_files_of_the_folder_are_ignored_with_a_note(tmp_path: Path) -> None:
    uuid = "11111111-2222-3333-4444-555555555555"
    files = {
        f"{uuid}-attachment.json": json.dumps(result("x", status="failed")).encode(),
        "categories.json": b'[{"name": "a", "matchedStatuses": ["failed"]}]',
        "executor.json": b'{"name": "ci", "buildOrder": 1}',
        "history-trend.json": b"[]",
        "environment.properties": b"OS=linux",
        f"{uuid}-result.json": json.dumps(result()).encode(),
    }

    summary = upload(tmp_path, files).summary

    assert (summary.results, summary.failures_missing) == (1, False)
    assert summary.notes == (f"files without results: 5 were ignored, such as {uuid}-attachment.json",)


def test_other_files_without_a_result_are_not_ignored(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match=r"^executor\.json: "):
        upload(tmp_path, {"executor.json": b'{"type": "jenkins"}', "environment.properties": b"OS=linux"})


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{"uuid": "u", "historyId": "h", "steps": [', "invalid JSON: Expecting value"),
        (b'{"uuid": "u", "historyId": "h"} {}', "invalid JSON: Extra data"),
        (b'{"uuid": "u", "historyId": "\xff"}', "invalid JSON: 'utf-8' codec can't decode byte 0xff"),
        (b'{"uuid": "u", "historyId": "h", "steps": ' + b"[" * 200_000, "invalid JSON: a value is nested too deep"),
        (gzip.compress(b'{"uuid": "u", "historyId": "h"}' + b" " * 99_999)[:-9], "the gzip data is invalid"),
    ],
    ids=["truncated", "two documents", "encoding", "nested", "gzip"],
)
def test_unreadable_file_rejects_the_upload_with_its_name(content: bytes, reason: str, tmp_path: Path) -> None:
    files = {"a-result.json": json.dumps(result()).encode(), "b-result.json": content}

    with pytest.raises(ReportError) as error:
        upload(tmp_path, files)

    assert error.value.reason == "malformed_report"
    assert str(error.value).startswith(f"b-result.json: {reason}")


def test_all_files_together_are_limited(tmp_path: Path) -> None:
    files = {f"{number}-result.json": json.dumps(result()).encode() for number in range(3)}
    size = sum(map(len, files.values()))

    with pytest.raises(ReportError, match=r"^2-result\.json: the reports are larger than") as error:
        upload(tmp_path, files, ReportLimits(size - 1))

    assert error.value.reason == "too_large"


def test_file_of_unlimited_size_is_rejected(tmp_path: Path) -> None:
    content = b'{"uuid": "u", "historyId": "h", "description": "' + b"x" * 2**25 + b'"}'
    files = {"a-result.json": json.dumps(result()).encode(), "b-result.json": gzip.compress(content, 1)}

    with pytest.raises(ReportError, match=r"^b-result\.json: the result is larger than 33554432 bytes"):
        upload(tmp_path, files)


@pytest.mark.parametrize(
    "heading", ['{"allure_file":1,"size":2}', '{"allure_file":"a","size":-1}', '{"allure_file":"a"}', '{"allure_file":']
)
def test_invalid_heading_of_a_joined_file_is_rejected(heading: str, tmp_path: Path) -> None:
    (tmp_path / "report").write_text(f"{heading}\n{{}}\n")

    with pytest.raises(ReportError, match=r"heading of a joined file|invalid JSON"):
        convert(tmp_path / "report", tmp_path / "results")


# Detection


@pytest.mark.parametrize(
    "head",
    [
        '{"uuid": "u", "name": "adds", "historyId": "h"',
        '{\n  "uuid" : "u",\n  "status" : "passed"',
        '{"historyId":"h","name":"adds","status":"passed"',
        '{"name": "adds", "status": "passed", "start": 1, "labels": [{"name": "suite"',
        '{"name": "adds", "status": "failed", "statusDetails": {"message": "' + "x" * 4_000,
        '{"name": "test_\\"adds\\"", "status": "passed", "steps": [{"name": "add", "status": "passed"',
        '{"name": "adds", "status": "passed", "start": 1, "stop": 2, "uuid": "u", "historyId": "h"',
        '{"uuid": "c", "children": ["u"], "befores": [',
        '{"uuid": "c", "befores": [{"name": "cart"',
        '{"uuid": "c", "start": 1, "stop": 2}',
        '{"attachments":[],"errors":[{"message":"failed"',
        '{"errors": [{"message": "failed", "timestamp": 1}]}',
    ],
)
def test_first_keys_of_the_adapters_are_detected(head: str) -> None:
    detected = detect_format("application/json", head.encode())

    assert detected is not None
    assert detected.name == "allure"


@pytest.mark.parametrize(
    "head",
    [
        '{"name": "adds", "status": "passed", "duration_ms": 1, "properties": {"historyId": "h"}}',
        '{"name": "adds", "status": "passed", "start": 1}',
        '{"results": [{"name": "adds", "historyId": "h"}]}',
        '{"errors": [{"message": "not found"}]}',
        '{"historyId": "55", "messages": []}',
        '{"labels": [], "historyId": "h"}',
        '[{"uuid": "u", "historyId": "h"}]',
    ],
)
def test_other_json_is_not_detected_as_allure(head: str) -> None:
    detected = detect_format("application/json", head.encode())

    assert detected is not None
    assert detected.name != "allure"


# Identity


def test_case_does_not_depend_on_the_outcome_the_host_and_the_time(tmp_path: Path) -> None:
    labels = [*LABELS, {"name": "host", "value": "h7"}, {"name": "thread", "value": "2@h7.main"}]
    changed = result(
        "u2", status="broken", labels=labels, statusDetails=FAILURE, start=START + 9, steps=[{"name": "a"}]
    )

    assert _identity(read_one(tmp_path, result())) == _identity(read_one(tmp_path, changed))


@pytest.mark.parametrize(
    ("fields", "suite", "name"),
    [
        ({}, "shop.CartTest", "adds"),
        ({"name": "adds()"}, "shop.CartTest", "adds"),
        ({"name": "Adds an item"}, "shop.CartTest", "Adds an item"),
        ({"name": "[1] 7", "parameters": [{"name": "n", "value": "7"}]}, "shop.CartTest", "adds[n=7]"),
        ({"labels": [{"name": "suite", "value": "b"}, {"name": "parentSuite", "value": "a"}]}, "a > b", "adds"),
        ({"labels": [{"name": "suite", "value": "/builds/shop/cart.js"}]}, "cart.js", "adds"),
        ({"labels": [{"name": "package", "value": "shop"}]}, "shop", "adds"),
        ({"labels": [], "name": None, "fullName": "shop.adds"}, "", "shop.adds"),
        ({"labels": [], "name": "/home/ci/shop/cart.feature:3"}, "", "cart.feature:3"),
        ({"labels": None, "titlePath": 7}, "", "adds"),
    ],
)
def test_suite_and_name(fields: dict[str, Any], suite: str, name: str, tmp_path: Path) -> None:
    converted = read_one(tmp_path, result(**fields))

    assert (converted["suite"], converted["name"]) == (suite, name)


@pytest.mark.parametrize(
    ("full_name", "path", "suite"),
    [
        ("shop:test/cart.js#cart adds", ["shop", "test", "cart.js", "cart"], "test/cart.js > cart"),
        ("@acme/shop:test/cart.js: cart > adds", ["@acme/shop", "test", "cart.js", "cart"], "test/cart.js > cart"),
        ("cart.js#adds", ["cart.js"], "cart.js"),
        ("/builds/shop/test/cart.js#cart adds", ["test", "cart.js", "cart"], "cart.js > cart"),
    ],
)
def test_javascript_case_has_the_title_in_its_source(
    full_name: str, path: list[str], suite: str, tmp_path: Path
) -> None:
    document = result(name="title", fullName=full_name, titlePath=path, labels=[{"name": "framework", "value": "jest"}])

    converted = read_one(tmp_path, document)

    assert (converted["suite"], converted["name"], converted["properties"]) == (suite, "adds", {"title": "title"})


def test_name_of_pytest_without_its_id_is_composed_of_the_parameters(tmp_path: Path) -> None:
    parameters = [
        {"name": "b", "value": "'é'"},
        {"name": "a", "value": "1"},
        {"name": "c", "value": "2", "excluded": True},
    ]
    labels = [{"name": "framework", "value": "pytest"}]
    document = result(
        name="A title", fullName="tests.test_cart.TestCart#test_adds", labels=labels, parameters=parameters
    )

    converted = read_one(tmp_path, document)

    assert (converted["suite"], converted["name"]) == ("pytest > tests.test_cart.TestCart", "test_adds[1-\\xe9]")
    assert converted["properties"] == {"c": "2", "title": "A title"}


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({}, "adds[item=com.shop.Item, tags=<Tags>]"),
        ({"fullName": "tests.test_cart#adds", "labels": [{"name": "framework", "value": "pytest"}]},
         "adds[com.shop.Item@1b2c3d-<Tags>]"),
    ],
    ids=["java", "python"],
)  # fmt: skip
def test_hashes_of_objects_are_no_part_of_the_name(fields: dict[str, Any], name: str, tmp_path: Path) -> None:
    parameters = [{"name": "item", "value": "com.shop.Item@1b2c3d"}, {"name": "tags", "value": "<Tags at 0x7f12ab>"}]
    document = result(**{"parameters": parameters, "name": "adds" if not fields else "A title", **fields})

    assert read_one(tmp_path, document)["name"] == name


@pytest.mark.parametrize("part", ["a.", "A", "$$Lambda"])
def test_long_parameters_are_read_in_a_short_time(part: str, tmp_path: Path) -> None:
    parameters = [{"name": "item", "value": part * 20_000 + "@"}]
    started = time.process_time()
    read_one(tmp_path, result(parameters=parameters))

    assert time.process_time() - started < 1


@pytest.mark.parametrize("mode", ["masked", "hidden"])
def test_secret_parameters_are_not_stored(mode: str, tmp_path: Path) -> None:
    def named(value: str) -> Any:
        parameters = [{"name": "token", "value": value, "mode": mode}]
        steps = [{"name": "log in", "status": "failed", "parameters": parameters}]
        return read_one(tmp_path, result(name=f"adds [{value}]", parameters=parameters, status="failed", steps=steps))

    converted = named("s3cret-1")

    assert converted["name"] == "adds[token=******]"
    assert converted == named("s3cret-2")
    assert "s3cret" not in json.dumps(converted, default=str)


@pytest.mark.parametrize("starts", [(1, 2), (2, 1)])
def test_tests_with_secret_parameters_are_in_the_order_of_their_history(
    starts: tuple[int, int], tmp_path: Path
) -> None:
    parameters = [{"name": "token", "value": "s3cret", "mode": "masked"}]
    documents = [
        result(f"u{status}", historyId=key, status=status, start=start, parameters=parameters)
        for key, status, start in zip("ab", ("failed", "passed"), starts, strict=True)
    ]

    run = read(tmp_path, *documents)

    assert outcomes(run) == [("adds[token=******]", "failed"), ("adds[token=******]", "passed")]


def test_secret_parameters_of_steps_are_not_stored(tmp_path: Path) -> None:
    parameters = [
        {"name": "user", "value": "ann"},
        {"name": "password", "value": "s3cret", "mode": "masked"},
        {"name": "token", "value": "s3cret", "mode": "hidden"},
    ]
    run = read(
        tmp_path, result(status="failed", steps=[{"name": "log in", "status": "failed", "parameters": parameters}])
    )

    assert run.cases[0].output == {"steps.txt": "failed: log in (user=ann, password=******)"}


def _identity(converted: Any) -> tuple[Any, ...]:
    return converted["suite"], converted["name"], converted.get("file"), converted.get("variant")


# Retries


def test_attempts_are_in_the_order_of_their_starts(tmp_path: Path) -> None:
    documents = [attempt(3, "passed"), attempt(1, "failed", statusDetails=FAILURE), attempt(2, "broken")]

    (case,) = read(tmp_path, *documents).cases

    assert (case.status, case.flaky, [each.status for each in case.attempts]) == (
        "passed", True, ["failed", "error", "passed"],
    )  # fmt: skip
    assert case.attempts[0].message == "no stock"


def test_last_attempt_decides(tmp_path: Path) -> None:
    (case,) = read(tmp_path, attempt(2, "failed", statusDetails=FAILURE), attempt(1, "passed")).cases

    assert (case.status, case.summary) == ("failed", "no stock")


def test_attempts_without_a_history_id_have_the_same_test_case_and_parameters(tmp_path: Path) -> None:
    def execution(number: int, value: str, **fields: Any) -> dict[str, Any]:
        parameters = [{"name": "n", "value": value}, {"name": "build", "value": str(number), "excluded": True}]
        return attempt(number, "passed", **{"historyId": None, "testCaseId": "t", "parameters": parameters, **fields})

    run = read(tmp_path, execution(1, "7"), execution(2, "7"), execution(3, "8"), execution(4, "7", testCaseId=None))

    assert [(case.name, case.occurrence, case.attempt_count) for case in run.cases] == [
        ("adds[n=7]", 0, 2), ("adds[n=8]", 0, 1), ("adds[n=7]", 1, 1),
    ]  # fmt: skip


def test_repeated_names_with_different_histories_are_occurrences(tmp_path: Path) -> None:
    run = read(tmp_path, result("u2", start=START + 2, status="failed"), result("u1", start=START + 1))

    assert [(case.name, case.occurrence, case.status) for case in run.cases] == [
        ("adds", 0, "passed"), ("adds", 1, "failed"),
    ]  # fmt: skip


def test_order_of_the_files_changes_nothing(tmp_path: Path) -> None:
    documents = [
        *(attempt(number, "failed" if number < 3 else "passed") for number in range(1, 4)),
        *(container(f"u{number}", befores=[fixture("passed", attachments=[{"source": f"{number}.png"}])])
          for number in range(1, 4)),
        result("v1"), result("v2", status="failed"), container("v1", "v2", afters=[fixture()]),
    ]  # fmt: skip

    def cases(seed: int) -> tuple[ReadCase, ...]:
        folder = tmp_path / str(seed)
        folder.mkdir()
        return read(folder, *random.Random(seed).sample(documents, len(documents))).cases

    first, *others = [cases(seed) for seed in range(6)]
    assert len(first) == 4
    assert others == [first] * 5


# Statuses, texts, and files


@pytest.mark.parametrize(
    ("word", "status", "summary"),
    [
        ("passed", "passed", None),
        ("broken", "error", None),
        ("skipped", "skipped", None),
        ("unknown", "error", "unknown status 'unknown'"),
        (None, "error", "unknown status: the status is missing"),
        (10**40, "error", "unknown status: the status is missing"),
    ],
)
def test_statuses(word: Any, status: str, summary: str | None, tmp_path: Path) -> None:
    run = read(tmp_path, result(status=word), result("u2", name="b"))

    assert (run.cases[0].status, run.cases[0].summary) == (status, summary)
    assert [problem.partition(":")[0] for problem in run.problems] == (["9-result.json"] if summary else [])


def test_flags_are_properties(tmp_path: Path) -> None:
    details = {"flaky": True, "muted": True, "known": False, "message": "no stock"}

    converted = read_one(tmp_path, result(status="failed", statusDetails=details))

    assert (converted["properties"], converted["status"]) == ({"flaky": "true", "muted": "true"}, "failed")


def test_files_of_steps_are_referred_to(tmp_path: Path) -> None:
    page = {"name": "page", "source": "a-attachment.png", "type": "image/png"}
    steps = [{"name": "a", "steps": [{"name": "b", "attachments": [{"name": "log", "source": "b-attachment.txt"}]}]}]

    converted = read_one(tmp_path, result(attachments=[page, {"name": "no file"}], steps=steps))

    assert converted["artifacts"] == [
        {"kind": "screenshot", "name": "page.png", "uri": "a-attachment.png", "content_type": "image/png"},
        {"kind": "log", "name": "log.txt", "uri": "b-attachment.txt"},
    ]


@pytest.mark.parametrize(
    ("fields", "started", "duration_ms", "notes"),
    [
        ({}, True, 5, 0),
        ({"stop": None}, True, None, 0),
        ({"start": None}, False, None, 0),
        ({"start": "yesterday", "stop": True}, False, None, 0),
        ({"stop": START - 1}, True, None, 1),
    ],
)
def test_times(fields: dict[str, Any], started: bool, duration_ms: float | None, notes: int, tmp_path: Path) -> None:
    summary, (converted,) = convert_text(json.dumps(result(**fields)), tmp_path)

    assert ("started_at" in converted, converted.get("duration_ms"), len(summary.notes)) == (
        started,
        duration_ms,
        notes,
    )


@pytest.mark.parametrize(
    "key", ["name", "statusDetails", "steps", "attachments", "parameters", "labels", "links", "titlePath", "fullName"]
)
@pytest.mark.parametrize("value", [None, 7, True, "text", [7, None, "a", []], {"a": {}}], ids=str)
def test_values_of_wrong_types_count_as_missing(key: str, value: Any, tmp_path: Path) -> None:
    converted = read_one(tmp_path, result(**{"status": "failed", key: value}))

    assert converted["status"] == "failed"
    assert isinstance(converted["name"], str)


# Fixtures and errors of the run


def test_failed_fixture_without_a_failing_test_is_a_result_of_its_suite(tmp_path: Path) -> None:
    run = read(tmp_path, result(), result("u2", status="skipped", name="b"), container("u1", "u2", befores=[fixture()]))

    assert [(case.suite, case.name, case.status, case.message) for case in run.cases[2:]] == [
        ("shop.CartTest", "database", "error", "no stock")
    ]


def test_failed_fixture_of_an_only_test_is_a_result(tmp_path: Path) -> None:
    run = read(tmp_path, result(), container("u1", afters=[fixture("failed", name=None)]))

    assert outcomes(run) == [("(suite)", "failed"), ("adds", "passed")]


def test_failed_fixture_of_a_failing_test_is_in_its_steps(tmp_path: Path) -> None:
    fixtures = container("u1", befores=[fixture("passed")], afters=[fixture()])

    run = read(tmp_path, result(status="failed", statusDetails={"message": "wrong sum"}), fixtures)

    assert outcomes(run) == [("adds", "failed")]
    assert run.cases[0].output == {"steps.txt": "broken: database\n  no stock"}


@pytest.mark.parametrize(("message", "expected"), [("no stock", 2), ("wrong sum", 3)])
def test_failed_fixture_of_several_tests_is_a_result_unless_a_test_states_it(
    message: str, expected: int, tmp_path: Path
) -> None:
    failed = result("u2", name="b", status="failed", statusDetails={"message": message})

    run = read(tmp_path, result(), failed, container("u1", "u2", afters=[fixture()]))

    assert len(run.cases) == expected


@pytest.mark.parametrize("status", [None, "passed", "skipped"])
def test_fixture_that_states_no_failure_is_no_result(status: str | None, tmp_path: Path) -> None:
    assert outcomes(read(tmp_path, result(), container("u1", afters=[fixture(status)]))) == [("adds", "passed")]


@pytest.mark.parametrize("children", [[], ["missing"]])
def test_failed_fixture_without_tests_is_a_result(children: list[str], tmp_path: Path) -> None:
    run = read(tmp_path, result(), container(*children, befores=[fixture()]))

    assert outcomes(run) == [("adds", "passed"), ("database", "error")]


def test_failed_fixture_does_not_separate_the_attempts_of_a_test(tmp_path: Path) -> None:
    run = read(tmp_path, attempt(1, "passed"), attempt(2, "passed"), container("u1", afters=[fixture()]))

    assert [(case.name, case.attempt_count) for case in run.cases] == [("database", 1), ("adds", 2)]


def test_files_of_fixtures_belong_to_the_only_test_or_to_the_run(tmp_path: Path) -> None:
    files = {
        "a-result.json": result(),
        "b-result.json": result("u2"),
        "a-container.json": container("u1", afters=[fixture("passed", attachments=[{"source": "page.png"}])]),
        "b-container.json": container("u1", "u2", befores=[fixture("passed", attachments=[{"source": "log.txt"}])]),
    }

    read = upload(tmp_path, {name: json.dumps(document).encode() for name, document in files.items()})

    (line,) = (tmp_path / "results-0").read_text().splitlines()
    assert [[each["uri"] for each in converted.get("artifacts", ())] for converted in json.loads(line)] == [
        ["page.png"],
        [],
    ]
    assert [artifact["uri"] for artifact in read.suite_files] == ["log.txt"]


@pytest.mark.parametrize(("trace", "expected"), [("Error: no stock\n  at cart", 1), ("Error: other", 2)])
def test_error_of_the_run_is_a_result_unless_a_test_states_it(trace: str, expected: int, tmp_path: Path) -> None:
    errors = {"attachments": [], "errors": [{"message": "hook failed: no stock", "trace": trace, "timestamp": START}]}

    run = read(tmp_path, result(status="failed", statusDetails=FAILURE), errors)

    assert len(run.cases) == expected
    assert outcomes(run)[1:] == [("(suite)", "error")][: expected - 1]


def test_problem_of_a_case_in_two_reports_names_the_file(tmp_path: Path) -> None:
    folder = tmp_path / "upload"
    folder.mkdir()
    document = result(status="failed", statusDetails={"message": "m" * 100_000})
    (folder / "1-result.json").write_text(json.dumps(document))
    (folder / "junit.xml").write_text("<testsuite><testcase classname='shop.CartTest' name='adds'/></testsuite>")

    run = read_run(folder)

    assert [case.status for case in run.cases] == ["failed"]
    assert [problem.partition(": ")[0] for problem in run.problems] == ["1-result.json"]
