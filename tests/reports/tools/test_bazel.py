"""Reports of Bazel: one case per target, by generate-xml.sh of Bazel 4.2.3, and of older versions from the corpus."""

from tests.reports.manifests import CORPUS, OWN
from tests.reports.tools.reading import needs_corpus, read_run
from tests.reports.tools.tables import rows_of

FAILED = OWN / "bazel" / "bazel-failed.xml"
LOG = (
    "\nGenerated test.log (if the file is not UTF-8, then this may be unreadable):\n"
    'exec ${PAGER:-/usr/bin/less} "$0" || exit 1\n'
    "Executing tests from //shop:fail_test\n"
    "-----------------------------------------------------------------------------\n"
    "loading the price list\n?[31mtotal is wrong?[0m\nsecond line größe <ü> & 大 ]]>\n      "
)


def test_failed_target() -> None:
    run = read_run(FAILED)

    assert rows_of(FAILED) == [("shop/fail_test", "shop/fail_test", "error", 2_000, "exited with error code 3")]
    (case,) = run.cases
    assert (case.file, case.line, case.started_at, case.properties) == (None, None, None, {})
    assert (case.type, case.message, case.details) == (None, "exited with error code 3", None)
    assert (case.output, run.output) == ({}, {"1-shop/fail_test-system-out.txt": LOG})
    assert (run.problems, run.failures_missing) == ((), False)


def test_shard_of_a_target_is_a_case_of_its_own() -> None:
    name = "shop/total_test_shard_2/2"

    assert rows_of(OWN / "bazel" / "bazel-shard.xml") == [(name, name, "passed", 1_000, None)]


@needs_corpus
def test_summary_of_several_targets() -> None:
    run = read_run(CORPUS / "bazel-test-summary.xml")

    failed, passed = run.cases
    assert (failed.suite, failed.name) == ("dummy/path/to/project/and/failing_test_target",) * 2
    assert (failed.status, failed.duration_ms, failed.summary) == ("error", 54_000, "exited with error code 1")
    (output,) = run.output.items()
    assert output[0] == "1-dummy/path/to/project/and/failing_test_target-system-out.txt"
    assert "dummy/path/to/project/and/failing_test_target.py\n" in output[1]
    assert (passed.status, passed.duration_ms, passed.output, failed.output) == ("passed", 20_000, {}, {})


@needs_corpus
def test_report_that_the_test_framework_writes() -> None:
    report = CORPUS / "bazel-launchable.xml"

    assert rows_of(report) == [("com.ninjinkun.MyLibTest1", "testFibonacci", "passed", 2_020, None)]
    assert read_run(report).started_at == "2020-12-16T03:11:43.526Z"
