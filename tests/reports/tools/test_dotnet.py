"""Reports of NUnit, xUnit.net, and MSTest: TRX, and JUnit XML by their XSLT files and by JunitXml.TestLogger."""

import pytest

from tests.reports.manifests import CORPUS, OWN
from tests.reports.tools.reading import needs_corpus, read_case, read_run
from tests.reports.tools.tables import Row, rows_of

NUNIT = OWN / "dotnet" / "nunit.trx"
XUNIT = OWN / "dotnet" / "xunit.trx"
XUNIT_3 = OWN / "dotnet" / "xunit-v3.trx"
MSTEST = OWN / "dotnet" / "mstest-specflow.trx"
EXCEPTION = "System.Exception : Pretty good exception"


def test_cases_of_nunit() -> None:
    suite = "SampleProject.NUnit.TestServiceTests"
    assert rows_of(NUNIT) == [
        (suite, "FailTest", "failed", 60, "Expected: True But was: False"),
        (suite, "SkipTest", "skipped", 1, "Ignore test"),
        (suite, "TestThrowingException", "failed", 3, EXCEPTION),
        (suite, "TestTheory(False)", "failed", 2, "Expected: False But was: True"),
        (suite, "TestTheory(True)", "passed", 11, None),
        (suite, "PassingTest", "passed", 1, None),
    ]


def test_failed_case_of_nunit() -> None:
    case = read_case(NUNIT, "FailTest")

    assert (case.file, case.line, case.started_at) == (None, None, "2021-04-01T22:50:33.430Z")
    assert (case.type, case.message) == (None, "Expected: True\r\n  But was:  False")
    assert case.details == (
        "   at SampleProject.NUnit.TestServiceTests.FailTest() in "
        "C:\\Dev\\LiquidTestReports\\test\\SampleProject\\SampleProject.Tests.NUnit\\TestServiceTests.cs:line 61"
    )
    assert (case.properties, case.attempt_count) == ({}, 1)
    assert case.output["stdout.txt"] == "Running SampleProject.Tests.NUnit tests\r\nThis test will fail"
    assert list(case.output) == ["stdout.txt"]
    assert read_run(NUNIT).output["1-run-stdout.txt"].startswith("NUnit Adapter 3.17.0.0: Test execution started\r\n")


def test_cases_of_xunit() -> None:
    suite = "SampleProject.xUnit.TestServiceTests"
    assert rows_of(XUNIT) == [
        (suite, "FailTest", "failed", 1, "Assert.True() Failure Expected: True Actual: False"),
        (suite, "TestTheory(expected: False)", "failed", 2, "Assert.Equal() Failure Expected: False Actual: True"),
        (suite, "SkipTest", "skipped", 1, None),
        (suite, "PassingTest", "passed", 1, None),
        (suite, "TestTheory(expected: True)", "passed", 6, None),
        (suite, "TestThrowingException", "failed", 1, EXCEPTION),
    ]
    case = read_case(XUNIT, "TestTheory(expected: False)")
    assert (case.started_at, case.message) == (
        "2021-04-01T22:50:24.681Z", "Assert.Equal() Failure\r\nExpected: False\r\nActual:   True",
    )  # fmt: skip


def test_cases_of_xunit_3() -> None:
    suite = "DotnetTests.XUnitV3Tests.FixtureTests"
    cleanup = f"[Test Class Cleanup Failure ({suite}."
    assert rows_of(XUNIT_3) == [
        (
            suite,
            "Failing_Test",
            "failed",
            17,
            "Assert.Null() Failure: Value is not null Expected: null Actual: Fixture { }",
        ),
        (suite, "Passing_Test", "passed", 1, None),
        ("dotnettests.xunitv3tests.dll", f"{cleanup}Passing_Test)]", "failed", 0, None),
        ("dotnettests.xunitv3tests.dll", f"{cleanup}Failing_Test)]", "failed", 0, None),
    ]
    case = read_case(XUNIT_3, "Failing_Test")
    assert case.message == "Assert.Null() Failure: Value is not null\nExpected: null\nActual:   Fixture { }"
    assert (case.details or "").startswith(
        f"   at {suite}.Failing_Test() in /_/reports/dotnet/DotnetTests.XUnitV3Tests/"
    )


def test_cases_of_mstest() -> None:
    suite = "Pickles.TestHarness.MSTest.AdditionFeature"
    failure = "Should.Core.Exceptions.NotEqualException: Assert.NotEqual() Failure"
    assert rows_of(MSTEST) == [
        (suite, "AddingSeveralNumbers_40", "passed", 77, None),
        (suite, "AddingSeveralNumbers_60", "passed", 11, None),
        (suite, "AddTwoNumbers", "passed", 6, None),
        (suite, "FailToAddTwoNumbers", "failed", 46, failure),
    ]
    case = read_case(MSTEST, "FailToAddTwoNumbers")
    assert (case.started_at, case.type) == ("2012-02-19T14:25:25.994Z", None)
    assert case.message == f"Test method {suite}.FailToAddTwoNumbers threw exception:\n            {failure}"
    assert "at Pickles.TestHarness.MSTest.Steps.ThenTheResultShouldBePass(Int32 result)" in (case.details or "")


def test_properties_of_mstest() -> None:
    variant = read_case(MSTEST, "AddingSeveralNumbers_60")

    assert read_case(MSTEST, "AddTwoNumbers").properties == {"FeatureTitle": "Addition"}
    assert variant.properties == {
        "FeatureTitle": "Addition",
        "VariantName": "60",
        "Parameter:Second Number": "70",
        "Parameter:Result": "130",
        "Parameter:First Number": "60",
    }


@pytest.mark.parametrize(
    ("report", "start", "end"),
    [
        (NUNIT, "2021-04-01T22:50:32.548Z", "2021-04-01T22:50:33.721Z"),
        (XUNIT, "2021-04-01T22:50:23.513Z", "2021-04-01T22:50:24.902Z"),
        (XUNIT_3, "2025-06-22T14:17:11.756Z", "2025-06-22T14:17:12.023Z"),
        (MSTEST, "2012-02-19T14:25:25.256Z", "2012-02-19T14:25:26.081Z"),
    ],
    ids=["NUnit", "xUnit.net", "xUnit.net 3", "MSTest"],
)
def test_runs(report: object, start: str, end: str) -> None:
    run = read_run(report)

    assert (run.started_at, run.completed_at, run.problems, run.failures_missing) == (start, end, (), False)


@needs_corpus
def test_cases_of_the_xslt_of_nunit() -> None:
    suite = "NUnit.Tests.Assemblies.MockTestFixture"
    report = CORPUS / "nunit3-xslt3.xml"

    assert [row for row in rows_of(report) if row.status != "passed"] == [
        (suite, "FailingTest", "failed", None, "Intentional failure"),
        (suite, "InconclusiveTest", "error", None, "Inconclusive test"),
        (suite, "MockTest4", "skipped", None, "ignoring this test method for now"),
        (suite, "MockTest5", "skipped", None, "Method is not public"),
        (suite, "NotRunnableTest", "skipped", None, "No arguments were provided"),
        (suite, "TestWithException", "failed", None, "System.ApplicationException : Intentional Exception"),
    ]
    assert Row("NUnit.Tests.ParameterizedFixture(42)", "Test1", "passed", None, None) in rows_of(report)
    assert (read_case(report, "FailingTest").details or "").endswith("src\\mock-assembly\\MockAssembly.cs:line 121")


@needs_corpus
def test_cases_of_the_xslt_of_xunit() -> None:
    report = CORPUS / "xunitnet-xslt1.xml"
    suite = "MyProject.Tests > SampleFact"

    assert rows_of(report) == [
        (suite, "FailedTest", "failed", 14, "Assert.True() Failure"),
        (suite, "SuccessfulTest", "passed", 10, None),
        (suite, "SkippedTest", "skipped", 0, "On Purpose"),
    ]
    assert read_case(report, "FailedTest").details == (
        "at MyProject.Tests.SampleFact.FailedTest() in c:\\Jenkins\\jobs\\my-project\\workspace\\MyProject\\"
        "MyProject.Tests\\SampleFact.cs:line 16"
    )


@needs_corpus
def test_case_of_junitxml_testlogger() -> None:
    case = read_case(CORPUS / "dotnet-junitlogger-testomat.xml", "UpdateUserProfile_WithInvalidId_ShouldThrowException")

    assert (case.suite, case.status, case.duration_ms) == ("SampleProject.Tests.UserServiceTests", "failed", 688)
    assert case.summary == case.message == "System.ArgumentException : Invalid user ID provided."
    assert (case.type, list(case.output)) == ("not specified", ["system-out.txt"])
    assert "Attempting to locate user with ID: -1\n" in case.output["system-out.txt"]
    assert "C:\\Projects\\SampleProject\\Tests\\UserServiceTests.cs:line 78" in (case.details or "")
