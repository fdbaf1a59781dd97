"""Rounds of fault injection, one per injection: producers, the nemesis, and the checker; and a table of findings."""

import asyncio
import os
import re
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Any, Final, Protocol, TypeVar

from service.stopping import end_tasks
from tests.faults.checks import Checker, Findings
from tests.faults.journals import Journal
from tests.faults.producers import Producers
from tests.faults.proxied_stack import ServiceStack

RECOVERY_TIMEOUT_S: Final = 300.0
_LISTED: Final = 5
_COLUMNS: Final = ("injection", "confirmed", "lost", "duplicated", "wrongly dead-lettered", "recovery p99", "exits")

Stack = TypeVar("Stack", bound=ServiceStack, contravariant=True)


class InjectedFailure(Protocol[Stack]):
    """A failure of a stack. `inject` causes it once and returns after the cause is removed."""

    @property
    def name(self) -> str: ...
    @property
    def inject(self) -> Callable[[Stack, Random], Awaitable[None]]: ...
    @property
    def is_repeated(self) -> bool: ...


def seed() -> int:
    return int(os.environ.get("RESULTS_TEST_SEED", "1"))


async def run_rounds(
    stack: Stack,
    injections: Sequence[InjectedFailure[Stack]],
    random: Random,
    duration_s: float,
    *,
    with_header: bool = True,
) -> bool:
    """Run a round of each injection and print a row of the table for it. Return whether all were clean."""
    all_clean = True
    if with_header:
        print(f"seed {seed()}\n{format_header()}", flush=True)
    for injection in injections:
        findings = await run_round(stack, injection, random, duration_s)
        print(format_findings(injection, findings), flush=True)
        for kind in ("lost", "duplicated", "wrongly_dead_lettered", "other_organization", "stalled"):
            if found := getattr(findings, kind):
                print(f"  {kind}: {', '.join(found[:_LISTED])}", flush=True)
        all_clean &= findings.is_clean
    return all_clean


async def run_round(
    stack: Stack,
    injection: InjectedFailure[Stack],
    random: Random,
    duration_s: float,
    timeout_s: float = RECOVERY_TIMEOUT_S,
) -> Findings:
    """Send events for `duration_s` and inject the failure, then wait until all are stored and compare."""
    label = f"{re.sub('[^A-Za-z]+', '-', injection.name)}-{random.getrandbits(32)}"
    journal = Journal(stack.directory / f"{label}.journal")
    checker = Checker(stack, journal, label)
    stack.unexpected_exits.clear()
    observing = asyncio.create_task(checker.observe())
    sending = asyncio.create_task(Producers(stack, journal, label).run(duration_s))
    try:
        await inject_repeatedly(stack, injection, random, sending)
        await sending
        findings = await checker.check(timeout_s)
    finally:
        await end_tasks([sending])  # aiormq can convert a cancellation to an error that the producers ignore
        await end_tasks([observing])
        journal.close()
    findings.unexpected_exits = list(stack.unexpected_exits)
    return findings


async def inject_repeatedly(
    stack: Stack, injection: InjectedFailure[Stack], random: Random, sending: "asyncio.Task[None]"
) -> None:
    """Inject the failure after a random pause, and repeat this until the producers finish."""
    while not sending.done():
        await asyncio.wait([sending], timeout=random.uniform(0.3, 2.0))
        if not sending.done():
            await injection.inject(stack, random)
        if not injection.is_repeated:
            return


def format_row(values: Sequence[object]) -> str:
    widths = (37, 10, 5, 11, 22, 13, 0)
    return " ".join(str(value).ljust(width) for value, width in zip(values, widths, strict=True)).rstrip()


def format_header() -> str:
    return format_row(_COLUMNS)


def format_findings(injection: InjectedFailure[Any], findings: Findings) -> str:
    counts = (len(findings.lost), len(findings.duplicated), len(findings.wrongly_dead_lettered))
    exits = ", ".join(sorted(set(findings.unexpected_exits)))
    return format_row((injection.name, findings.confirmed, *counts, f"{findings.recovery_p99_s:.1f} s", exits))
