"""Proof that named tests detect deliberate defects of the service. Each test also succeeds without the defect."""

import os
import subprocess
import sys
from itertools import chain
from pathlib import Path
from typing import Final

import pytest

from tests.faults.mutated_tests import PLUGIN
from tests.faults.mutations import VARIABLE

pytestmark = pytest.mark.slow

_ROOT: Final = Path(__file__).parents[2]
_TESTS_FAILED: Final = 1  # other codes of pytest mean that no test ran
CHECKS: Final = {  # mutation: tests that must fail
    "ignore_fencing_tokens": (
        "tests/exports/test_attempts.py::test_worker_with_an_expired_lease_does_not_finish_the_job_of_another",
        "tests/reports/uploads/test_tasks.py::test_worker_with_an_expired_lease_stores_nothing",
        "tests/webhooks/test_dispatcher.py::test_expired_lease_writes_nothing",
    ),
    "disable_row_level_security": ("tests/database/test_isolation.py::test_an_organization_sees_only_its_own_rows",),
    "delete_files_before_commit": (
        "tests/retention/test_delete_run.py::test_failed_deletion_keeps_the_run_and_its_files",
    ),
}


@pytest.fixture
def environment(postgres_url: str, amqp_url: str) -> dict[str, str]:
    """The environment of a test process that uses the servers of this session."""
    return {**os.environ, "RESULTS_TEST_DATABASE_URL": postgres_url, "RESULTS_TEST_AMQP_URL": amqp_url}


def run_tests(environment: dict[str, str], *tests: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", PLUGIN, "-p", "no:cacheprovider", *tests]
    return subprocess.run(command, cwd=_ROOT, env=environment, check=False, capture_output=True, text=True)


@pytest.mark.parametrize("mutation", CHECKS)
def test_checks_detect_the_mutation(environment: dict[str, str], mutation: str) -> None:
    finished = run_tests({**environment, VARIABLE: mutation}, *CHECKS[mutation])
    assert finished.returncode == _TESTS_FAILED, finished.stdout
    assert [check for check in CHECKS[mutation] if f"FAILED {check}" not in finished.stdout] == []


def test_checks_succeed_without_a_mutation(environment: dict[str, str]) -> None:
    finished = run_tests(environment, *chain.from_iterable(CHECKS.values()))
    assert finished.returncode == 0, finished.stdout
