"""The short form of `make ha`: one failover of the RabbitMQ cluster and one of PostgreSQL."""

from pathlib import Path
from random import Random

import pytest

from tests.faults.rounds import format_findings, format_header, run_round, seed
from tests.ha.failover_stack import FAILOVERS, failover_stack

pytestmark = pytest.mark.slow

SHORT_ROUND_S = 3.0


async def test_no_failover_loses_duplicates_or_rejects_an_event(tmp_path: Path) -> None:
    random = Random(seed())
    kills = [failover for failover in FAILOVERS if "SIGKILL" in failover.name]
    print(f"\nseed {seed()}\n{format_header()}")
    async with failover_stack(tmp_path) as stack:
        found = {failover.name: await run_round(stack, failover, random, SHORT_ROUND_S) for failover in kills}
        assert stack.failovers >= len(kills)
    print(*(format_findings(failover, found[failover.name]) for failover in kills), sep="\n")
    assert {name: findings for name, findings in found.items() if not findings.is_clean} == {}
    assert all(findings.confirmed > 0 for findings in found.values())
    assert [findings.unexpected_exits for findings in found.values() if findings.unexpected_exits] == []
