"""How hard one endpoint may be pressed: how many attempts at once, and how many wait at hand."""

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Final, Generic, NamedTuple, TypeVar

from service.domain.deliveries import Endpoint

T = TypeVar("T")

FIRST_WINDOW: Final = 4
LARGEST_WINDOW: Final = 50
_AHEAD: Final = 2  # windows that wait at hand; with the one under way they end well within a claim's lease


class Next(NamedTuple, Generic[T]):
    """What is to be attempted now, and what is to be given back to the store."""

    attempt: list[T]
    give_back: list[T]


class Paces(Generic[T]):
    """The paces of all endpoints that this process sends to.

    An endpoint gets few attempts at once until it has proved itself, so that one that hangs never holds more than a
    few of our connections, whatever waits for it. From one that answers well, more is kept at hand.
    """

    def __init__(self, largest: int = LARGEST_WINDOW) -> None:
        self._largest = largest
        self._paces: dict[Endpoint, _Pace[T]] = {}

    def add(self, endpoint: Endpoint, claimed: Iterable[T]) -> list[T]:
        """Takes what was claimed; returns what is to be attempted at once."""
        pace = self._paces.setdefault(endpoint, _Pace())
        pace.waiting.extend(claimed)
        return pace.begin()

    def finish(self, endpoint: Endpoint, *, succeeded: bool) -> Next[T]:
        """Counts an attempt that has ended. After a failure nothing is kept at hand."""
        pace = self._paces[endpoint]
        pace.in_flight -= 1
        pace.window = min(self._largest, pace.window + 1) if succeeded else max(1, pace.window // 2)
        give_back = [] if succeeded else pace.let_go()
        attempt = pace.begin()
        if not pace.in_flight and pace.window == FIRST_WINDOW:
            del self._paces[endpoint]
        return Next(attempt, give_back)

    def let_go(self) -> list[T]:
        """Everything that waits at hand: it is to be given back."""
        return [one for pace in self._paces.values() for one in pace.let_go()]

    def has_room(self, endpoint: Endpoint) -> bool:
        """Whether it may be given more."""
        return endpoint not in self._paces or self._paces[endpoint].room > 0

    def rooms(self) -> Mapping[Endpoint, int]:
        """How many more each endpoint may be given, where that is not `FIRST_WINDOW`."""
        return {endpoint: pace.room for endpoint, pace in self._paces.items()}


class _Pace(Generic[T]):
    def __init__(self) -> None:
        self.window = FIRST_WINDOW
        self.in_flight = 0
        self.waiting: deque[T] = deque()

    @property
    def room(self) -> int:
        """None until half of it is free: many small claims cost the store more than a few larger ones."""
        capacity = self.window if self.window <= FIRST_WINDOW else self.window * (1 + _AHEAD)
        room = max(0, capacity - self.in_flight - len(self.waiting))
        return room if room * 2 >= capacity else 0

    def begin(self) -> list[T]:
        begun = []
        while self.waiting and self.in_flight < self.window:
            begun.append(self.waiting.popleft())
            self.in_flight += 1
        return begun

    def let_go(self) -> list[T]:
        gone = list(self.waiting)
        self.waiting.clear()
        return gone
