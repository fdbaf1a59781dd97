"""The parts of a run: each upload or event belongs to one part, and to an attempt of its CI job.

A part is identified by the name of the job, the variant of the upload, and the shard. The results of a run refer to a
part and its attempt by a number, because a row of results has 72 bytes.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Final, NamedTuple

from service.domain.errors import Rejected

MAX_ATTEMPT: Final = 2**53
MAX_SHARD: Final = 10_000
MAX_ASSIGNED: Final = 5_000  # numbers per run

PartIdentity = tuple[str, str, int]  # name, variant, shard


class RunPart(NamedTuple):
    """A part of a run with one attempt of its job. The defaults mean that the upload or event states none.

    `variant` is in its canonical form.
    """

    name: str = ""
    variant: str = ""
    shard: int = 0
    attempt: int = 0

    @property
    def identity(self) -> PartIdentity:
        """The part without the attempt."""
        return self[:3]

    @property
    def needs_number(self) -> bool:
        """Whether the part gets a number. The number of any other part is its shard."""
        return bool(self.name or self.variant or self.attempt)


NO_PART: Final = RunPart()


class PartNumbers:
    """The numbers of the parts of one run."""

    def __init__(self, assigned: Mapping[int, RunPart] | None = None) -> None:
        self._parts = dict(assigned or {})
        self._numbers = {part: number for number, part in self._parts.items()}
        self._groups: dict[frozenset[int], list[list[int]]] = {}

    def find(self, part: RunPart) -> int:
        """Return the number of a part, which gets the next number if it is new. Raises Rejected above the limit."""
        if not part.needs_number:
            return part.shard
        number = self._numbers.get(part)
        if number is None:
            if len(self._numbers) >= MAX_ASSIGNED:
                raise Rejected(
                    "invalid",
                    f"part: a run has at most {MAX_ASSIGNED} parts, variants, and attempts; send further ones with"
                    " another run_id",
                )
            number = max(self._parts, default=MAX_SHARD) + 1
            self._numbers[part], self._parts[number] = number, part
        return number

    def part(self, number: int) -> RunPart:
        """Return the part with this number."""
        return self._parts.get(number) or RunPart(shard=number)

    def group(self, numbers: Iterable[int]) -> list[list[int]]:
        """Return the numbers of each part, in the order of its attempts. The parts are sorted."""
        key = frozenset(numbers)
        if key not in self._groups:
            ordered = sorted(key, key=self.part)
            self._groups[key] = [
                list(group) for _, group in groupby(ordered, lambda number: self.part(number).identity)
            ]
        return self._groups[key]


def is_assigned(number: int) -> bool:
    """Return whether the number was assigned, so that it isn't the shard of its part."""
    return number > MAX_SHARD


def newest_attempts(parts: Iterable[RunPart]) -> Iterator[RunPart]:
    """Yield each part with the highest of its attempts."""
    newest: dict[PartIdentity, RunPart] = {}
    for part in parts:
        newest[part.identity] = max(newest.get(part.identity, part), part)
    yield from newest.values()
