"""The messages that a consumer has received and not acknowledged: their memory, their batches, and their progress."""

import asyncio
import math
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from tempfile import TemporaryFile
from typing import IO, Any, Final, NamedTuple

from consumers import messages
from consumers.broker import ConsumerLost
from consumers.deliveries import ReceivedMessage
from consumers.isolation import Isolation
from service.log import log
from service.progress import observing_progress
from service.stopping import has_failed

BATCH: Final = 50  # messages
BATCH_BYTES: Final = 2**20  # of bodies; reached only by events with more than about 130 results
INBOX_BYTES: Final = 16 * 2**20  # bodies in memory for each batch that the consumer handles concurrently
_ACK_WAIT_S: Final = 0.02  # for earlier batches, because one acknowledgment for all messages of a batch takes less time


class ConsumerProgress:
    """When the batches and the waiting messages of one consumer last made progress.

    A retry, which is logged, is progress, and so is a statement that the database has executed: a batch has many, and
    each has its own timeout. Messages that wait for a batch make progress if any batch does.
    """

    def __init__(self, clock_s: Callable[[], float]) -> None:
        self._clock_s = clock_s
        self._batches: dict[object, float] = {}  # by the task that handles the batch
        self._waiting_since_s = math.inf
        self._last_s = 0.0

    @contextmanager
    def handling(self) -> Iterator[None]:
        """Handle a batch during the block, in the current task."""
        task = asyncio.current_task()
        self._batches[task] = self._last_s = self._clock_s()
        try:
            with observing_progress(partial(self._record, task)):
                yield
        finally:
            self._batches.pop(task, None)
            self._last_s = self._clock_s()

    def _record(self, task: object) -> None:
        if task in self._batches:
            self._batches[task] = self._last_s = self._clock_s()

    def set_waiting(self, *, waiting: bool) -> None:
        """Record whether messages wait for a batch."""
        if not waiting:
            self._waiting_since_s = math.inf
        elif self._waiting_since_s == math.inf:
            self._waiting_since_s = self._clock_s()

    def unchanged_s(self) -> float:
        """Return how long the oldest batch, or the waiting messages, have made no progress; 0 if there are none."""
        oldest_s = min([*self._batches.values(), max(self._waiting_since_s, self._last_s)])
        return 0.0 if oldest_s == math.inf else self._clock_s() - oldest_s


@dataclass(slots=True, eq=False)
class _Arrival:
    """A message whose body is in memory, or in a file until the message is handled."""

    message: ReceivedMessage
    file: IO[bytes] | None = None

    def move_to_file(self) -> None:
        """Move the body to a temporary file. Raises OSError."""
        with ExitStack() as closed_after_error:
            file = closed_after_error.enter_context(TemporaryFile())
            file.write(self.message.body)
            file.flush()
            closed_after_error.pop_all()
        self.message.body, self.file = b"", file


class Inbox:
    """The messages that were delivered to a consumer and aren't handled yet.

    The broker limits the number of delivered messages, not their size, so that large messages that follow small ones
    could need hundreds of MiB. The bodies beyond a limit are in temporary files until the messages are handled.
    """

    def __init__(self, isolation: Isolation, concurrency: int, progress: ConsumerProgress) -> None:
        self._isolation = isolation
        self._progress = progress
        self._max_bytes = concurrency * INBOX_BYTES
        self._arrivals: deque[_Arrival] = deque()
        self._bytes_in_memory = 0

    def __len__(self) -> int:
        return len(self._arrivals)

    def add(self, message: ReceivedMessage) -> None:
        """Add a delivered message."""
        self._isolation.observe(message.body_size, suspect=messages.is_suspect(message))
        arrival = _Arrival(message)
        if self._bytes_in_memory + message.body_size > self._max_bytes:
            self._try_to_move(arrival)
        if arrival.file is None:
            self._bytes_in_memory += message.body_size
        self._arrivals.append(arrival)
        self._progress.set_waiting(waiting=True)

    def _try_to_move(self, arrival: _Arrival) -> None:
        try:
            arrival.move_to_file()
        except OSError as error:  # such as a full disk; the body stays in memory
            log.warning("message_body_not_moved_to_file", size=arrival.message.body_size, error=repr(error))

    def take_batch(self) -> list[ReceivedMessage]:
        """Remove and return the oldest messages, up to the limits of a batch. A suspect is a batch of its own."""
        batch: list[ReceivedMessage] = []
        size = 0
        while self._arrivals and len(batch) < BATCH and size < BATCH_BYTES:
            suspect = messages.is_suspect(self._arrivals[0].message)
            if batch and suspect:
                break
            message = self._load(self._arrivals.popleft())
            batch.append(message)
            size += message.body_size
            if suspect:
                break
        self._progress.set_waiting(waiting=bool(self._arrivals))
        return batch

    def discard_suspects(self) -> list[ReceivedMessage]:
        """Remove and return the crash suspects without their bodies, because they return to the queue."""
        suspects = [arrival for arrival in self._arrivals if messages.is_suspect(arrival.message)]
        self._arrivals = deque(arrival for arrival in self._arrivals if arrival not in suspects)
        self._progress.set_waiting(waiting=bool(self._arrivals))
        for arrival in suspects:
            self._discard_body(arrival)
        return [arrival.message for arrival in suspects]

    def close(self) -> None:
        """Close the files of the messages that weren't handled, because the connection is lost."""
        while self._arrivals:
            self._discard_body(self._arrivals.popleft())
        self._progress.set_waiting(waiting=False)

    def _discard_body(self, arrival: _Arrival) -> None:
        if arrival.file is None:
            self._bytes_in_memory -= arrival.message.body_size
        else:
            arrival.file.close()

    def _load(self, arrival: _Arrival) -> ReceivedMessage:
        if arrival.file is None:
            self._bytes_in_memory -= arrival.message.body_size
            return arrival.message
        with arrival.file as file:
            file.seek(0)
            arrival.message.body = file.read()
        return arrival.message


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

        Finished batches before the first unfinished one share an acknowledgment. A finished batch after it waits a
        short time for it, and then its messages are acknowledged separately.
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
        """Return how long the first finished batch still waits for unfinished ones. Infinite if none has finished."""
        first_s = min((batch.finished_s for batch in self._batches), default=math.inf)
        return max(0.0, first_s + _ACK_WAIT_S - asyncio.get_running_loop().time())


def _raise_error(task: asyncio.Task[None]) -> None:
    if task.cancelled():
        raise ConsumerLost("a call was canceled, because the connection is closed")
    if task.done():
        task.result()
