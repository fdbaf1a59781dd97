"""Excuses: whether all failures of a part of a run are quarantined, so that its job may pass. Doubt never passes."""

import re
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any, Final, NamedTuple, get_args

import orjson

from service.comparison import store as comparison_store
from service.comparison.compare_runs import find_compared
from service.comparison.model import (
    MAX_COMPARED_RESULTS,
    MAX_LISTED_CASES,
    BaselineChoice,
    ComparedRun,
    ComparisonWindow,
    find_baseline,
    full_name,
)
from service.comparison.store import ComparedKeys
from service.database.database import Connection, Pool, as_organization
from service.domain.errors import InvalidRequest
from service.domain.ids import CaseKey, OrgId, new_id, result_id
from service.domain.object_kinds import ObjectKind
from service.domain.statuses import STATUS_CODES
from service.gates import store
from service.gates.contract import Excuse, ExcuseRequest
from service.gates.model import MAX_EXCUSED, ExcuseCondition
from service.gates.operations import check_trusted
from service.gates.store import (
    ExcusedUpload,
    NumberedPart,
    PartCases,
    PartOfUploads,
)
from service.identity.keys.model import Caller
from service.quarantines import store as quarantines_store
from service.quarantines.model import CaseTexts
from service.reports.conversion.names import OUTSIDE_OF_TESTS, SEPARATOR, SUITE_LEVEL_NAME
from service.runs.model import RunRow
from service.runs.operations import check_run_of_job, select_run

_RECEIPT: Final = ObjectKind("receipt", "rcp")
_EXCUSE: Final = ObjectKind("excuse", "exc")
_CONDITIONS: Final = get_args(ExcuseCondition)
_NAMED: Final = 3  # tests, problems, and parts that a text names
_MAX_QUOTED: Final = 300  # characters of a name or problem in a text
_LISTED: Final = 50  # excuses on the page of a run
_NO_TEST_STATUSES: Final = (STATUS_CODES["error"], STATUS_CODES["canceled"])  # of a part, which no result explains
# A long message or log of a failure, whose test is known. Any other problem can hide a failure.
_HARMLESS: Final = re.compile(r"(?:.*: )?(?:message|details): truncated to \d+ characters", re.DOTALL)

# The names of cases for failures outside of tests, in reports that state them like tests.
_OUTSIDE_NAMES: Final = re.compile(
    r'.*"(?:before|after) (?:each|all)" hook\b.*'  # Mocha and Cypress
    r"|initializationError|executionError|classMethod|initError"  # JUnit with Gradle, Maven, or Ant
    r"|(?:setUp|tearDown)(?:Class|Module)(?: \(.*|)"  # unittest
    r"|TestMain|Failure|\[(?:build|setup) failed\].*|.* \[(?:build|setup) failed\]"  # Go
    r"|\[(?:Synchronized)?(?:Before|After)Suite\].*|\[ReportAfterSuite\].*|\[DeferCleanup \(Suite\)\].*"  # Ginkgo
    r"|.*Test suite failed to run.*|.*Test execution failure: could be caused by test hooks.*"  # jest-junit
    r"|.*encountered a declaration exception|.*An error was thrown in an afterAll.*"  # Jasmine and Karma
    r"|(?:setup|teardown)_(?:file|suite) failed|bats-gather-tests"  # Bats
    r"|(?:[\w.@-]+[/\\])*[\w.@-]+\.(?:[cm]?[jt]sx?|py|rb|php|bats)(?:::)?",  # a file: node:test, Vitest, TAP
    re.DOTALL,
)
_OUTSIDE_SUITES: Final = re.compile(r".*(?:unittest\.loader\._FailedTest|unittest\.suite\._ErrorHolder)", re.DOTALL)
# The type or the message of such a failure, for PostgreSQL, which ignores the case of letters.
_OUTSIDE_TEXTS: Final = (
    r"^(?:collection failure|collection error|internal error)$|^failed on teardown with|^test teardown failure"
    r"|\yworker '.{1,100}' crashed while running|Test suite failed to run|jest worker (?:process|encountered)"
    r"|(?:forked VM|The VM) terminated|Test run failed to complete|\[(?:build|setup) failed\]"  # Surefire, Android, Go
    r"|unhandled (?:error|rejection|exception)|\yparent suite (?:setup|teardown) failed"  # Robot Framework
)


class Excused(NamedTuple):
    """An excuse. `is_new` is false if an earlier request with the same inputs and outcome stored it."""

    excuse: Excuse
    is_new: bool


async def excuse_part(connection: Connection, caller: Caller, run_id: str, requested: ExcuseRequest) -> Excused:
    """Evaluate whether all failures of the part of some uploads are quarantined, and store the excuse.

    Requires a transaction that reads one snapshot. Raises NotFound for an unknown run, and for a receipt that isn't of
    the run. Raises Forbidden for a CI job of another run, Conflict if the run isn't trusted, Gone if its results have
    expired, and InvalidRequest if the receipts are of several parts.
    """
    org_id = caller.org_id
    runs = await find_compared(connection, org_id, select_run(caller, run_id), BaselineChoice())
    run = runs.run
    check_trusted(run)
    await check_run_of_job(connection, caller, run_id)
    receipt_ids = sorted(set(requested.receipts))
    found = await store.find_uploads(connection, org_id, run.project_id, run.run_id, receipt_ids)
    uploads = [_RECEIPT.require(found.get(receipt_id), receipt_id) for receipt_id in receipt_ids]
    part = uploads[0].part if uploads[0].part.name else PartOfUploads("", {}, 0)
    if any(upload.part != part and (upload.part.name or part.name) for upload in uploads):
        raise InvalidRequest("receipts: must be of one job, variant, and shard; request one excuse each", "receipts")
    baseline = await _find_baseline(connection, org_id, runs.window, uploads[0].part)
    evaluation = _Evaluation(connection, org_id, run, baseline, uploads, requested)
    await evaluation.evaluate()
    document = {
        "run_id": run.run_id,
        "revision": run.revision,
        "part": part.name or None,
        "variant": dict(part.variant),
        "shard": part.shard or None,
        "receipts": receipt_ids,
        "failures": requested.failures,
        "allow_missing_cases": requested.allow_missing_cases,
        "baseline_run_id": baseline.run_id if baseline else None,
        "excused": not evaluation.reasons,
        "results": [{"id": result_id(run.run_key, case), "quarantine_id": qua} for case, qua in evaluation.excused],
        "reasons": [{"condition": condition, "text": text} for condition, text in evaluation.reasons],
    }
    inputs = [document, str(run.run_key), run.created_at]  # distinguishes a run from a deleted one with the same key
    digest = sha256(orjson.dumps(inputs, option=orjson.OPT_SORT_KEYS)).digest()
    if stored := await store.find_excuse(connection, org_id, digest):
        return Excused(stored, is_new=False)
    ref = org_id, new_id("exc"), run.project_id, run.run_id
    await store.insert_excuse(connection, ref, document, digest, caller.actor_id)
    return Excused(_EXCUSE.require(await store.find_excuse(connection, org_id, digest), ref[1]), is_new=True)


async def _find_baseline(
    connection: Connection, org_id: OrgId, window: ComparisonWindow, part: PartOfUploads
) -> ComparedRun | None:
    """Return the newest run of the base branch that has results of the part and isn't partial, or None.

    It can be older than the baseline of the run, because each job can have a run of its own.
    """
    candidates = [run for run in window.recent if not run.is_outage]
    keys = await store.find_runs_of_part(connection, org_id, [run.run_key for run in candidates], part)
    runs = [run for run in candidates if run.run_key in keys]
    return runs[find_baseline([run.executed for run in runs])] if runs else None


async def list_excuses_of_run(pool: Pool, caller: Caller, run: RunRow) -> Sequence[Excuse]:
    """Return the newest excuses of a run that the caller has read, newest first."""
    async with as_organization(pool, caller.org_id) as connection:
        return await store.list_excuses(connection, caller.org_id, run.project_id, run.run_id, _LISTED)


class _Evaluation:
    """The reasons against an excuse of one part, and the results that quarantines excuse. Requires one snapshot."""

    def __init__(
        self, connection: Connection, org_id: OrgId, run: ComparedRun, baseline: ComparedRun | None,
        uploads: Sequence[ExcusedUpload], requested: ExcuseRequest,
    ) -> None:  # fmt: skip
        self.reasons: list[tuple[ExcuseCondition, str]] = []
        self.excused: list[tuple[CaseKey, str]] = []
        self._connection, self._org_id = connection, org_id
        self._run, self._baseline = run, baseline
        self._uploads, self._requested = uploads, requested

    async def evaluate(self) -> None:
        """Check the conditions."""
        parts = await self._find_numbers(self._run)
        newest = [part for part in parts if part.is_newest]
        expected = () if self._requested.allow_missing_cases else await self._find_expected()
        keys = ComparedKeys(self._org_id, self._run.run_key, (self._baseline or self._run).run_key)
        numbers = [[each.number for each in some] for some in (parts, newest, expected)]
        cases = await store.read_part(self._connection, keys, numbers, (MAX_EXCUSED + 1, MAX_LISTED_CASES))
        self._check_receipts(parts, newest)
        await self._check_other_uploads(newest, cases)
        await self._check_failing(cases)
        if expected:
            await self._check_missing(cases)
        stated = self._requested.failures
        if not cases.failing:
            self._refuse("failures", "the job has no failing result, so that something else failed")
        elif stated not in (None, cases.failing):
            self._refuse("failures", f"the tool states {stated:,} failed tests, but {cases.failing:,} results fail")
        self.reasons.sort(key=lambda reason: _CONDITIONS.index(reason[0]))

    def _refuse(self, condition: ExcuseCondition, text: str) -> None:
        self.reasons.append((condition, text))

    async def _find_numbers(self, run: ComparedRun) -> Sequence[NumberedPart]:
        return await store.find_numbers(self._connection, self._org_id, run.run_key, self._uploads[0].part)

    def _check_receipts(self, parts: Sequence[NumberedPart], newest: Sequence[NumberedPart]) -> None:
        """Check the receipts, and what the newest attempt of the part states."""
        attempts = {part.attempt for part in newest}
        for receipt_id, status, _, problems, _, attempt in self._uploads:
            doubts = [problem["reason"] for problem in problems if not _is_harmless(problem)]
            if status in ("queued", "processing"):
                self._refuse("reports", f"the report {receipt_id} isn't processed yet; wait for its receipt")
            elif status != "stored" or doubts:
                self._refuse("reports", f"the report {receipt_id} wasn't stored as it is: {_list(doubts) or status}")
            elif not newest or (len(parts) > len(newest) if attempt is None else attempt not in attempts):
                self._refuse("reports", f"the report {receipt_id} isn't known to be of the newest attempt of the job")
        if any(part.failures_missing for part in newest):
            self._refuse("reports", "a report of the job can't be read, or declares failures that it doesn't contain")
        if any(part.status in _NO_TEST_STATUSES for part in newest):
            self._refuse("reports", "a report of the job states an error or a cancellation that isn't a result")

    async def _check_other_uploads(self, newest: Sequence[NumberedPart], cases: PartCases) -> None:
        """Check that only these uploads have results of the part: others replace failures, or execute missing cases."""
        attempts = [part.attempt for part in newest]
        other = await store.find_other_upload(self._connection, self._org_id, self._run.run_id, self._uploads, attempts)
        if other:
            text = f"the upload {other} is of the same job; give each command and job its own --part or --variant"
            self._refuse("reports", text)
        elif cases.results != sum(upload.results for upload in self._uploads):
            self._refuse("reports", "several of the reports contain the same tests")

    async def _check_failing(self, cases: PartCases) -> None:
        """Check that each failing result is of a test, and that a quarantine names it exactly."""
        failing = await comparison_store.find_texts(self._connection, self._org_id, cases.first_failing)
        values = self._org_id, self._run.run_key, cases.first_failing
        stated = await store.find_outside(self._connection, *values, _OUTSIDE_TEXTS, OUTSIDE_OF_TESTS)
        if outside := [case for case in failing if case.case_key in stated or _names_no_test(case)]:
            self._refuse("outside_tests", f"failures outside of a test: {_list_cases(outside)}")
        active = await quarantines_store.active_quarantines(self._connection, self._org_id, self._run.project_id)
        found = {case.case_key: active.find_exact(case) for case in failing}
        self.excused = sorted((key, named) for key, named in found.items() if named)[:MAX_EXCUSED]
        if cases.failing > MAX_EXCUSED:
            self._refuse("quarantines", f"{cases.failing:,} results fail; at most {MAX_EXCUSED:,} can be excused")
        if others := [case for case in failing if not found[case.case_key]]:
            text = f"no active quarantine names these failing tests exactly: {_list_cases(others)}"
            self._refuse("quarantines", text)
        elif len(failing) != len(cases.first_failing):
            self._refuse("quarantines", "a failing result has no case")

    async def _find_expected(self) -> Sequence[NumberedPart]:
        """Return the part in the baseline. Without it, it's unknown which cases are missing."""
        baseline = self._baseline
        if baseline is None:
            text = "no complete run among the newest ones of the base branch has results of this job"
        elif (largest := max(self._run.counts.total, baseline.counts.total)) > MAX_COMPARED_RESULTS:
            text = f"the run or its baseline has {largest:,} results; at most {MAX_COMPARED_RESULTS:,} are compared"
        else:
            return await self._find_numbers(baseline)
        self._refuse("missing_cases", text)
        return ()

    async def _check_missing(self, cases: PartCases) -> None:
        """Check that each case that the part executed in the baseline is executed now."""
        if not cases.expected:
            self._refuse("missing_cases", "the job executed no test in the run with which this one is compared")
        elif cases.missing:
            missing = await comparison_store.find_texts(self._connection, self._org_id, cases.first_missing)
            listed = _list_cases(missing, cases.missing)
            text = (
                f"the job executed these tests in run {self._baseline and self._baseline.run_id}, but not now: {listed}"
            )
            self._refuse("missing_cases", text)


def _is_harmless(problem: Mapping[str, Any]) -> bool:
    """Return whether a problem can't hide a failure: a message or details of a known result were truncated."""
    is_text = problem["index"] is not None and problem["name"] in ("message", "details")
    return is_text and _HARMLESS.fullmatch(problem["reason"]) is not None


def _names_no_test(case: CaseTexts) -> bool:
    """Return whether a case has the name of a suite, a hook, or a file.

    A JUnit report states a failed class or file as a case whose name is empty, or equal to that of its suite.
    """
    return (
        case.name == SUITE_LEVEL_NAME
        or case.name == case.suite.split(SEPARATOR)[-1]
        or case.name == case.suite
        or _OUTSIDE_NAMES.fullmatch(case.name) is not None
        or _OUTSIDE_SUITES.fullmatch(case.suite) is not None
    )


def _list_cases(cases: Sequence[CaseTexts], total: int | None = None) -> str:
    return _list((full_name(case._asdict()) for case in cases[:_NAMED]), total or len(cases))


def _list(texts: Iterable[str], total: int | None = None) -> str:
    """Return the first texts, and the number of the others."""
    listed = [text if len(text) <= _MAX_QUOTED else f"{text[:_MAX_QUOTED]}…" for text in texts]
    more = (total or len(listed)) - len(listed[:_NAMED])
    return "; ".join(listed[:_NAMED]) + (f"; and {more:,} more" if more else "")
