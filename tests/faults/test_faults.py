"""The short form of `make faults`, and proof that its checker detects deliberate defects of the consumer."""

from pathlib import Path
from random import Random

import pytest

from tests.faults import checks
from tests.faults.checks import Findings
from tests.faults.injections import INJECTIONS
from tests.faults.mutations import MODULE, VARIABLE
from tests.faults.proxied_stack import CONSUMERS, proxied_stack
from tests.faults.rounds import format_findings, format_header, run_round, seed

pytestmark = pytest.mark.slow

SHORT_ROUND_S = 3.0
MUTATED_ROUND_S = 6.0
DETECTION_TIMEOUT_S = 5.0
BY_NAME = {injection.name: injection for injection in INJECTIONS}
MUTATED = (  # mutation, injection that reveals it, list of the findings that must not be empty
    ("acknowledge_before_commit", "consumers: SIGKILL without database", "lost"),
    ("skip_confirm", "consumer: SIGKILL", "lost"),
    ("skip_deduplication", "none", "duplicated"),
    ("keep_a_batch", "none", "stalled"),
    ("blame_events_for_outages", "PostgreSQL: disconnected", "wrongly_dead_lettered"),
)


async def test_no_failure_loses_duplicates_or_rejects_an_event(tmp_path: Path) -> None:
    random = Random(seed())
    found: dict[str, Findings] = {}
    print(f"\nseed {seed()}\n{format_header()}")
    async with proxied_stack(tmp_path) as stack:
        for injection in (injection for injection in INJECTIONS if injection.in_short_form):
            found[injection.name] = await run_round(stack, injection, random, SHORT_ROUND_S)
            print(format_findings(injection, found[injection.name]))
    assert {name: findings for name, findings in found.items() if not findings.is_clean} == {}
    assert all(findings.confirmed > 0 for findings in found.values())
    assert [findings.unexpected_exits for findings in found.values() if findings.unexpected_exits] == []


@pytest.mark.parametrize(("mutation", "injection", "expected"), MUTATED)
async def test_checker_detects_a_defect_of_the_consumer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mutation: str, injection: str, expected: str
) -> None:
    monkeypatch.setenv(VARIABLE, mutation)
    monkeypatch.setattr(checks, "_STALLED_S", 2.0)
    async with proxied_stack(tmp_path, (MODULE,)) as stack:
        findings = await run_round(stack, BY_NAME[injection], Random(seed()), MUTATED_ROUND_S, DETECTION_TIMEOUT_S)
        logs = [stack.programs[name].process.tail_of_log(5) for name in CONSUMERS]
    print(format_findings(BY_NAME[injection], findings))
    assert getattr(findings, expected), logs
