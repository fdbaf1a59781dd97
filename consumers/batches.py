"""The batches that one consumer handles concurrently, and their acknowledgments."""

import asyncio
import math
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from consumers.deliveries import ReceivedMessage
from consumers.losses import ConsumerLost
from service.stopping import has_failed

_ACK_WAIT_S: Final = 0.02  # for earlier batches, because one acknowledgment for all messages of a batch takes less time


class Acknowledgment(NamedTuple):
    """The acknowledgment of a message and, if `multiple` is set, of all earlier ones of the channel."""

    message: ReceivedMessage
    multiple: bool


@dataclass(slots=True, eq=False)
class _StartedBatch:
    messages: Sequence[ReceivedMessage]
    task: asyncio.Task[None]
    finished_s: float = math.inf


class StartedBatches:
    """The batches that are handled or not acknowledged yet, in the order of their messages."""

    def __init__(self, limit: int, changed: asyncio.Event) -> None:
        self._limit = limit
        self._changed = changed  # set when a batch has finished
        self._batches: list[_StartedBatch] = []

    def __len__(self) -> int:
        return len(self._batches)

    @property
    def is_full(self) -> bool:
        """Whether no further batch can start."""
        return len(self._batches) >= self._limit

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """The tasks that handle the batches."""
        return [batch.task for batch in self._batches]

    def start(self, messages: Sequence[ReceivedMessage], handle: Coroutine[Any, Any, None]) -> None:
        """Start to handle the next batch."""
        batch = _StartedBatch(messages, asyncio.create_task(handle))
        batch.task.add_done_callback(lambda _: self._finish(batch))
        self._batches.append(batch)

    def _finish(self, batch: _StartedBatch) -> None:
        has_failed(batch.task)  # if several fail, one error is raised
        batch.finished_s = asyncio.get_running_loop().time()
        self._changed.set()

    def take_finished(self) -> list[Acknowledgment]:
        """Remove the batches that can be acknowledged. Raises the error of a failed one.

        Those at the start get one acknowledgment. A later one waits a short time for them, and then its messages are
        acknowledged separately.
        """
        for batch in self._batches:
            _raise_error(batch.task)
        acknowledgments: list[Acknowledgment] = []
        while self._batches and self._batches[0].task.done():
            acknowledgments = [Acknowledgment(self._batches.pop(0).messages[-1], multiple=True)]
        for batch in self._overdue():
            acknowledgments += [Acknowledgment(message, multiple=False) for message in batch.messages]
            self._batches.remove(batch)
        return acknowledgments

    def _overdue(self) -> list[_StartedBatch]:
        now_s = asyncio.get_running_loop().time()
        return [batch for batch in self._batches if batch.finished_s + _ACK_WAIT_S <= now_s]

    def remaining_s(self) -> float:
        """Return the time after which `take_finished` returns a batch that has already finished."""
        first_s = min((batch.finished_s for batch in self._batches), default=math.inf)
        return max(0.0, first_s + _ACK_WAIT_S - asyncio.get_running_loop().time())


def _raise_error(task: asyncio.Task[None]) -> None:
    if task.cancelled():
        raise ConsumerLost("a call was canceled, because the connection is closed")
    if task.done():
        task.result()
