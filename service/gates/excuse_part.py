"""Excuses: whether all failures of a part of a run are quarantined, so that its job may pass. Doubt never passes."""

import re
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any, Final, NamedTuple

import orjson

from service.comparison import store as comparison_store
from service.comparison.compare_runs import ComparedRuns, find_compared
from service.comparison.model import MAX_COMPARED_RESULTS, MAX_LISTED_CASES, BaselineChoice, ComparedRun, full_name
from service.comparison.store import ComparedKeys
from service.database.database import Connection, Pool, as_organization
from service.domain.errors import InvalidRequest
from service.domain.ids import CaseKey, OrgId, new_id, result_id
from service.domain.object_kinds import ObjectKind
from service.domain.statuses import STATUS_CODES
from service.domain.variants import canonical_variant
from service.gates import store
from service.gates.contract import Excuse, ExcuseRequest
from service.gates.model import MAX_EXCUSED, ExcuseCondition
from service.gates.operations import check_trusted
from service.gates.store import (
    ExcusedUpload,
    NumberedPart,
    PartCases,
)
from service.identity.keys.model import Caller
from service.quarantines import store as quarantines_store
from service.quarantines.model import CaseTexts
from service.reports.conversion.names import SEPARATOR, SUITE_LEVEL_NAME
from service.runs.model import PartIdentity, RunRow
from service.runs.operations import check_run_of_job, select_run

_RECEIPT: Final = ObjectKind("receipt", "rcp")
_EXCUSE: Final = ObjectKind("excuse", "exc")
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
# The start of the type or the message of such a failure, also for PostgreSQL, which ignores the case of letters.
_OUTSIDE_TEXTS: Final = (
    r"^(?:collection (?:failure|error)|internal error|failed on teardown with|test teardown failure)"  # pytest
    r"|\yworker '.{1,100}' crashed while running"  # pytest-xdist
    r"|Test suite failed to run|jest worker (?:process|encountered)"
    r"|(?:forked VM|The VM) terminated|Test run failed to complete"  # Surefire, and Android
    r"|(?:build|setup) failed\y|unhandled (?:error|rejection|exception)"
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
    check_trusted(runs.run)
    await check_run_of_job(connection, caller, run_id)
    uploads = await _find_uploads(connection, org_id, runs.run, list(dict.fromkeys(requested.receipts)))
    evaluation = _Evaluation(connection, org_id, runs, uploads, requested)
    await evaluation.evaluate()
    document, run = evaluation.document(), runs.run
    inputs = [document, str(run.run_key), run.created_at]  # distinguishes a run from a deleted one with the same key
    digest = sha256(orjson.dumps(inputs, option=orjson.OPT_SORT_KEYS)).digest()
    stored = await store.find_excuse(connection, org_id, digest)
    if stored is None:
        ref = org_id, new_id("exc"), run.project_id, run.run_id
        await store.insert_excuse(connection, ref, document, digest, caller.actor_id)
    return Excused(stored or await _read(connection, org_id, digest), is_new=stored is None)


async def _read(connection: Connection, org_id: OrgId, digest: bytes) -> Excuse:
    return _EXCUSE.require(await store.find_excuse(connection, org_id, digest), "exc_")


async def list_excuses_of_run(pool: Pool, caller: Caller, run: RunRow) -> Sequence[Excuse]:
    """Return the newest excuses of a run that the caller has read, newest first."""
    async with as_organization(pool, caller.org_id) as connection:
        return await store.list_excuses(connection, caller.org_id, run.project_id, run.run_id, _LISTED)


async def _find_uploads(
    connection: Connection, org_id: OrgId, run: ComparedRun, receipt_ids: Sequence[str]
) -> list[ExcusedUpload]:
    """Return the receipts, which must be of one part of the run. Raises NotFound and InvalidRequest."""
    found = await store.find_uploads(connection, org_id, run.project_id, run.run_id, receipt_ids)
    uploads = [_RECEIPT.require(found.get(receipt_id), receipt_id) for receipt_id in receipt_ids]
    if len({upload.identity if upload.name else "" for upload in uploads}) > 1:
        raise InvalidRequest(
            "receipts: must be of one job with one variant and shard; request one excuse each", "receipts"
        )
    return uploads


class _Evaluation:
    """The evaluation of one part. All statements must read one snapshot."""

    def __init__(
        self, connection: Connection, org_id: OrgId, runs: ComparedRuns, uploads: Sequence[ExcusedUpload],
        requested: ExcuseRequest,
    ) -> None:  # fmt: skip
        self._connection = connection
        self._org_id = org_id
        self._run, self._baseline = runs.run, runs.window.baseline
        self._uploads = uploads
        self._requested = requested
        self._reasons: list[tuple[ExcuseCondition, str]] = []
        self._excused: dict[CaseKey, str] = {}

    def document(self) -> dict[str, Any]:
        """Return the fields to store, with the reasons in the order of the conditions."""
        first, run = self._uploads[0], self._run
        excused = sorted(self._excused.items())
        return {
            "run_id": run.run_id,
            "revision": run.revision,
            "part": first.name or None,
            "variant": dict(first.variant) if first.name else {},
            "shard": (first.shard if first.name else 0) or None,
            "receipts": sorted(upload.receipt_id for upload in self._uploads),
            "failures": self._requested.failures,
            "allow_missing_cases": self._requested.allow_missing_cases,
            "baseline_run_id": self._baseline.run_id if self._baseline else None,
            "excused": not self._reasons,
            "results": [{"id": result_id(run.run_key, case), "quarantine_id": found} for case, found in excused],
            "reasons": [{"condition": condition, "text": text} for condition, text in self._reasons],
        }

    async def evaluate(self) -> None:
        """Find the reasons against an excuse."""
        self._check_receipts()
        parts = await store.find_numbers(self._connection, self._org_id, self._run.run_key, self._uploads[0].name)
        parts = [part for part in parts if self._is_of_part(("", canonical_variant(part.variant), part.shard))]
        newest = _find_newest(parts)
        await self._check_parts(parts, newest)
        of_baseline = () if self._requested.allow_missing_cases else await self._find_expected_part()
        baseline = self._baseline or self._run  # without numbers of a part, no case of it counts
        keys = ComparedKeys(self._org_id, self._run.run_key, baseline.run_key)
        numbers = [part.number for part in parts], [part.number for part in newest.values()], of_baseline
        part = await store.read_part(self._connection, keys, numbers, (MAX_EXCUSED + 1, MAX_LISTED_CASES))
        self._check_overlap(part, newest.values())
        await self._check_failing(part)
        if of_baseline:
            await self._check_missing(part)
        self._check_count(part)

    def _refuse(self, condition: ExcuseCondition, text: str) -> None:
        self._reasons.append((condition, text))

    def _is_of_part(self, identity: PartIdentity) -> bool:
        """Return whether a part of the same name is the one of the uploads. Uploads without a name are one part."""
        first = self._uploads[0]
        return not first.name or identity[1:] == first.identity[1:]

    def _check_receipts(self) -> None:
        for upload in self._uploads:
            problems = [problem for problem in upload.problems if not _is_harmless(problem)]
            if upload.status in ("queued", "processing"):
                self._refuse("reports", f"the report {upload.receipt_id} isn't processed yet; wait for its receipt")
            elif upload.status != "stored" or problems:
                listed = _list(problem["reason"] for problem in problems) or "no reason is stated"
                self._refuse(
                    "reports", f"the report {upload.receipt_id} wasn't stored completely or unchanged: {listed}"
                )

    async def _check_parts(self, parts: Sequence[NumberedPart], newest: Mapping[PartIdentity, NumberedPart]) -> None:
        """Check what the part states, and that no other upload can have replaced failures of these ones."""
        for upload in self._uploads:
            part = newest.get(("", *upload.identity[1:]))
            attempts = {each.attempt for each in parts if _identity(each)[1:] == upload.identity[1:]}
            if part is None:
                self._refuse("reports", f"the run has no part for the report {upload.receipt_id}")
            elif upload.attempt != part.attempt and (upload.attempt is not None or len(attempts) > 1):
                of_attempt = f"attempt {upload.attempt}" if upload.attempt else "an unknown attempt"
                text = (
                    f"the report {upload.receipt_id} is of {of_attempt}, but attempt {part.attempt} is the newest one"
                )
                self._refuse("reports", text)
        if any(part.failures_missing for part in newest.values()):
            self._refuse("reports", "a report of the job can't be read, or declares failures that it doesn't contain")
        if any(part.status in _NO_TEST_STATUSES for part in newest.values()):
            self._refuse("reports", "a report of the job states an error or a cancellation that isn't a result")
        if all(part.attempt for part in newest.values()):
            return  # the uploads of an attempt replace no failures of each other
        since = self._uploads[0].received_at if len(self._uploads) == 1 else None
        other = await store.find_other_upload(self._connection, self._org_id, self._run.run_id, self._uploads, since)
        if other:
            text = f"another upload of the same job, {other}, can have replaced failures; name each job (--part)"
            self._refuse("reports", text)

    def _check_overlap(self, part: PartCases, newest: Iterable[NumberedPart]) -> None:
        """Check that only these uploads have results of the part, so that they executed what the part executed."""
        results = sum(upload.results for upload in self._uploads)
        if part.results < results and not all(each.attempt for each in newest):
            self._refuse(
                "reports", "several of the reports contain the same tests, so that later results replaced others"
            )
        elif part.results > results and not self._requested.allow_missing_cases:
            text = (
                f"the job has {part.results:,} results, but these reports have only {results:,}; other uploads"
                " can have executed the other tests, so give each command a job name of its own (--part)"
            )
            self._refuse("missing_cases", text)

    async def _check_failing(self, part: PartCases) -> None:
        """Check that each failing result is that of a test, and that a quarantine names it exactly."""
        cases = list(part.first_failing)
        texts = await comparison_store.find_texts(self._connection, self._org_id, cases) if cases else []
        stated = await store.find_outside(self._connection, self._org_id, self._run.run_key, cases, _OUTSIDE_TEXTS)
        if outside := [each for each in texts if each.case_key in stated or _names_no_test(each)]:
            self._refuse("outside_tests", f"failures outside of a test: {_list_cases(outside)}")
        if part.failing > MAX_EXCUSED:
            self._refuse("quarantines", f"{part.failing:,} results fail; at most {MAX_EXCUSED:,} can be excused")
        active = await quarantines_store.active_quarantines(self._connection, self._org_id, self._run.project_id)
        found = {each.case_key: active.find_exact(each) for each in texts}
        self._excused = {case: quarantine for case in cases[:MAX_EXCUSED] if (quarantine := found.get(case))}
        if others := [each for each in texts if not found[each.case_key]]:
            self._refuse(
                "quarantines", f"no active quarantine names these failing tests exactly: {_list_cases(others)}"
            )
        if len(texts) != len(cases):
            self._refuse("quarantines", "a failing result has no case")

    async def _find_expected_part(self) -> Sequence[int]:
        """Return the numbers of the part in the baseline. Without them, it's unknown which cases are missing."""
        baseline, name = self._baseline, self._uploads[0].name
        if baseline is None:
            self._refuse("missing_cases", "there is no earlier complete run on the base branch to compare with")
            return ()
        largest = max(self._run.counts.total, baseline.counts.total)
        if largest > MAX_COMPARED_RESULTS:
            text = f"the run or its baseline has {largest:,} results; at most {MAX_COMPARED_RESULTS:,} are compared"
            self._refuse("missing_cases", text)
            return ()
        keys = ComparedKeys(self._org_id, self._run.run_key, baseline.run_key)
        parts = await comparison_store.find_parts(self._connection, keys, [baseline.run_key])
        same = [part for part in parts if part.identity[0] == name and self._is_of_part(part.identity)]
        numbers = [number for part in same for number in part.numbers]
        if not numbers:
            text = f"the run {baseline.run_id}, with which this one is compared, has no results of the job {name!r}"
            self._refuse("missing_cases", text)
        return numbers

    async def _check_missing(self, part: PartCases) -> None:
        """Check that each case that the part executed in the baseline is executed now."""
        if not part.expected:
            self._refuse("missing_cases", "the job executed no test in the run with which this one is compared")
        if part.missing:
            texts = await comparison_store.find_texts(self._connection, self._org_id, part.first_missing)
            of_run = f"in run {self._baseline and self._baseline.run_id}, but not now"
            self._refuse("missing_cases", f"the job executed these tests {of_run}: {_list_cases(texts, part.missing)}")

    def _check_count(self, part: PartCases) -> None:
        stated = self._requested.failures
        if not part.failing:
            self._refuse("failures", "the job has no failing result, so that something else failed")
        elif stated not in (None, part.failing):
            self._refuse("failures", f"the tool states {stated:,} failed tests, but {part.failing:,} results fail")


def _identity(part: NumberedPart) -> PartIdentity:
    return "", canonical_variant(part.variant), part.shard


def _find_newest(parts: Iterable[NumberedPart]) -> dict[PartIdentity, NumberedPart]:
    """Return the newest attempt of each part, by variant and shard."""
    return {_identity(part): part for part in sorted(parts, key=lambda part: part.attempt)}


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
