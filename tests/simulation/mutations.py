"""Deliberate defects of the consumers, which the simulation must detect. The first ones existed in a version."""

import math
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final
from uuid import uuid4

import pytest

from consumers import consume_loop, inbox, messages
from consumers.broker import BrokerConnection
from consumers.consume_loop import ConsumeLoop
from consumers.inbox import Acknowledgment, StartedBatches
from service import stopping
from service.ingest.batch_items import EventMessage, EventOutcome
from service.ingest.ingest_runs import RunIngest
from service.stopping import Stopped
from service.tasks.store import CrashSuspects
from tests.simulation import store

Patch = pytest.MonkeyPatch


def cancel_once(patch: Patch) -> None:
    """Cancel a task once, and then wait without a limit."""
    patch.setattr(stopping, "_CANCEL_INTERVAL_S", None)


def call_the_broker_without_limit(patch: Patch) -> None:
    async def call(_: Any, work: Awaitable[Any]) -> Any:
        return await work

    patch.setattr(BrokerConnection, "call", call)


def execute_statements_without_limit(patch: Patch) -> None:
    """Wait for a server that never responds, such as for a COPY on a paused connection."""
    patch.setattr(store, "STATEMENT_LIMIT_S", None)


def withdraw_attempts_only_on_stop(patch: Patch) -> None:
    """Count each attempt of a crash suspect, unless a stop of the process has interrupted it."""
    start_attempt, withdraw = CrashSuspects.start_attempt, CrashSuspects.withdraw

    async def start_as_another_process(self: Any, queue: str, body_sha256: bytes) -> int:
        self._process = uuid4().hex
        return await start_attempt(self, queue, body_sha256)

    async def withdraw_on_stop(self: Any, queue: str, body_sha256: bytes) -> None:
        if isinstance(sys.exception(), Stopped):
            await withdraw(self, queue, body_sha256)

    patch.setattr(CrashSuspects, "start_attempt", start_as_another_process)
    patch.setattr(CrashSuspects, "withdraw", withdraw_on_stop)


def acknowledge_before_the_commit(patch: Patch) -> None:
    start = StartedBatches.start

    def start_and_acknowledge(self: Any, batch: Sequence[Any], handle: Any) -> None:
        start(self, batch, handle)
        for message in batch:
            message.channel.session.acknowledge(message.delivery_tag, multiple=False)

    patch.setattr(StartedBatches, "start", start_and_acknowledge)


def acknowledge_earlier_batches(patch: Patch) -> None:
    """Acknowledge all earlier messages with those of a finished batch, although their batches haven't finished."""
    take_finished = StartedBatches.take_finished

    def take_with_earlier(self: StartedBatches) -> list[Acknowledgment]:
        return [Acknowledgment(message, multiple=True) for message, _ in take_finished(self)]

    patch.setattr(StartedBatches, "take_finished", take_with_earlier)


def ignore_failed_batches(patch: Patch) -> None:
    """Acknowledge the messages of a failed batch."""
    patch.setattr(inbox, "_raise_error", lambda _task: None)


def blame_events_for_outages(patch: Patch) -> None:
    ingest = RunIngest._ingest

    async def ingest_or_reject(self: RunIngest, events: Sequence[EventMessage]) -> list[EventOutcome]:
        try:
            return await ingest(self, events)
        except Exception as error:
            return [EventOutcome("rejected", "internal_error", repr(error)) for _ in events]

    patch.setattr(RunIngest, "_ingest", ingest_or_reject)


def keep_idle_subscriptions(patch: Patch) -> None:
    """Rely on notifications of lost subscriptions."""
    patch.setattr(consume_loop, "_RENEW_S", math.inf)


def ignore_cancellations(patch: Patch) -> None:
    """Rely on the renewal of idle subscriptions."""
    patch.setattr(ConsumeLoop, "_lose_subscription", lambda _self, _frame: None)


def handle_suspects_with_others(patch: Patch) -> None:
    """Never handle a crash suspect alone, so that a message that crashes its process does so indefinitely."""
    patch.setattr(messages, "is_suspect", lambda _message: False)


MUTATIONS: Final[Mapping[str, Callable[[Patch], None]]] = {
    mutate.__name__: mutate
    for mutate in (
        cancel_once,
        call_the_broker_without_limit,
        execute_statements_without_limit,
        withdraw_attempts_only_on_stop,
        acknowledge_before_the_commit,
        acknowledge_earlier_batches,
        ignore_failed_batches,
        blame_events_for_outages,
        keep_idle_subscriptions,
        ignore_cancellations,
        handle_suspects_with_others,
    )
}
