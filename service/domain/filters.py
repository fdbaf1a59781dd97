"""What a list is narrowed to, and how far a walk through it has come."""

from dataclasses import dataclass, replace
from typing import Final, NamedTuple, TypeVar
from uuid import UUID

from service.domain.ids import CaseKey, RunKey, first_run_key

_LAST_RUN: Final = RunKey(UUID(int=2**128 - 1))
_LAST_CASE: Final = CaseKey(2**63 - 1)
_LAST_MS: Final = 2**48 - 1


class Position(NamedTuple):
    """A place in the list of results, which runs from the greatest key to the smallest."""

    run_key: RunKey
    case_key: CaseKey

    @classmethod
    def after_run(cls, key: RunKey) -> "Position":
        """The place behind every result of this run, so that the run itself is not looked at again."""
        return cls(RunKey(UUID(int=max(key.int - 1, 0))), _LAST_CASE)


START: Final = Position(_LAST_RUN, _LAST_CASE)


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which runs are asked for. Statuses are letters, none means all; times are ms since 1970, `to` is exclusive."""

    statuses: tuple[str, ...] = ()
    from_ms: int | None = None
    to_ms: int | None = None
    project_id: str | None = None
    environment: str | None = None
    branch: str | None = None

    @property
    def first_key(self) -> RunKey:
        """The smallest key of a run that `from` lets through."""
        return _key_of(self.from_ms or 0)

    def before(self, position: Position | None) -> Position:
        """Where the list goes on: behind the position and before `to`, whichever comes later in the list."""
        if self.to_ms is None:
            return position or START
        return min(position or START, Position.after_run(_key_of(self.to_ms)))


@dataclass(frozen=True, slots=True)
class ResultFilter(RunFilter):
    """Which results are asked for; statuses are those of results. `suite` comes with `run_id` only."""

    run_id: str | None = None
    case_key: CaseKey | None = None
    case_id: str | None = None
    suite: str | None = None

    @property
    def filters_runs(self) -> bool:
        """Whether a result's run decides too."""
        return any((self.run_id, self.project_id, self.environment, self.branch))

    @property
    def selects_case(self) -> bool:
        """Whether one case, or one producer's id of cases, is meant."""
        return self.case_key is not None or self.case_id is not None

    @property
    def excludes_passed(self) -> bool:
        """Whether only results are asked for that have details."""
        return bool(self.statuses) and "p" not in self.statuses


AnyFilter = TypeVar("AnyFilter", bound=RunFilter)


def restrict_to_project(filter_: AnyFilter, project_id: str | None) -> AnyFilter | None:
    """The filter as a key that is bound to this project may use it; None where nothing is left."""
    if project_id is None or filter_.project_id == project_id:
        return filter_
    return replace(filter_, project_id=project_id) if filter_.project_id is None else None


def _key_of(moment_ms: int) -> RunKey:
    return first_run_key(min(max(moment_ms, 0), _LAST_MS))
