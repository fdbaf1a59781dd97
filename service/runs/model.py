"""Runs: their fields and rows, their parts, and their state with the rules that merge the states of several events."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cached_property
from itertools import groupby, pairwise
from typing import Annotated, Any, Final, Literal, NamedTuple, get_origin, get_type_hints

from service.domain.errors import Rejected
from service.domain.ids import RunKey
from service.domain.statuses import RUN_STATUSES, SEVERITY, STATUS_CODES, STATUS_NAMES, Counts, RunStatus
from service.domain.texts import MAX_BRANCH, MAX_CONTEXT, MAX_TEXT

MAX_ATTEMPT: Final = 2**53
MAX_SHARD: Final = 10_000
MAX_ASSIGNED: Final = 5_000  # numbers per run
MAX_SPANS: Final = 100  # of a run, so that its row stays small
_MAX_RANGES: Final = 10  # of missing shards that are named
_MIN_RANGE: Final = 3  # shards that are named as a range
NO_STATUS_EVENT_S: Final = -(2**62)  # no event has stated the status of the complete run
UNTRUSTED_PREFIX: Final = "untrusted:"  # of the run IDs
# A colon can't be part of the name of a branch in Git. So a branch of a fork never equals a branch of the repository,
# and a promoted run never becomes part of the baseline of other runs.
_FORK_PREFIX: Final = "fork:"
UNTRUSTED_LIFETIME: Final = timedelta(days=14)  # of a run that isn't promoted, since its first upload
# The maximum age of its completion at the receipt of a report. Retention has the same margin.
MAX_UNTRUSTED_AGE: Final = timedelta(days=1)
# The same answer for each refused request of a public key, so that it doesn't tell what exists.
UNTRUSTED_REFUSAL: Final = (
    "the untrusted upload was refused. Its run ID must begin with 'untrusted:' (`report --untrusted`), its project must"
    " be that of the key and allow untrusted uploads, and its run must not be promoted"
)


class StatedField(NamedTuple):
    """A field of a run that producers state. Each value has the time of the event that states it.

    A longer text than `max_length` is truncated. `column` is the description of the column in exports if it differs.
    `excerpt` is the maximum length in documents for language models.
    """

    description: str
    type: Literal["text", "https_url", "labels"] = "text"
    max_length: int = MAX_CONTEXT
    column: str | None = None
    excerpt: int = 400


class RunRow(NamedTuple):
    """A run. `organization_id` is the slug of its organization.

    Each field that producers state is declared here. Versions, statements, events, export columns, descriptions, and
    the limits of documents are derived from the declaration. RunContext, RunIn, and ReportQuery name the field again,
    because they validate it.
    """

    run_key: RunKey
    organization_id: str
    run_id: str
    project_id: str
    environment: Annotated[
        str | None,
        StatedField("The producer's name for the system under test", max_length=MAX_TEXT, column="System under test"),
    ]
    branch: Annotated[
        str | None, StatedField("Branch of the run", max_length=MAX_BRANCH, column="Tested branch", excerpt=500)
    ]
    base_branch: Annotated[
        str | None, StatedField("Target branch of the pull request", max_length=MAX_BRANCH, excerpt=500)
    ]
    commit_sha: Annotated[
        str | None, StatedField("Commit of the run", max_length=MAX_TEXT, column="Tested commit", excerpt=100)
    ]
    pull_request: Annotated[str | None, StatedField("Number of the pull request", max_length=MAX_TEXT)]
    ci_url: Annotated[
        str | None, StatedField("URL of the CI job; https only", "https_url", column="Link to the CI job")
    ]
    # The context of the run. A new field follows the last one of these, so that its column in exports is the last one.
    pipeline: Annotated[
        str | None,
        StatedField(
            "ID of the execution of the CI pipeline, such as github-812",
            max_length=MAX_TEXT,
            column="Execution of the CI pipeline, such as github-812",
        ),
    ]
    title: Annotated[str | None, StatedField("Title of the pull request, or subject of the commit")]
    author: Annotated[str | None, StatedField("Author of the commit or pull request")]
    workflow: Annotated[str | None, StatedField("Name of the CI workflow")]
    job_url: Annotated[
        str | None, StatedField("URL of the CI job; https only", "https_url", column="Link to the CI job")
    ]
    repository_url: Annotated[
        str | None,
        StatedField(
            "URL of the repository on the code host; https only",
            "https_url",
            column="Link to the repository on the code host",
        ),
    ]
    labels: Annotated[Mapping[str, str], StatedField("Labels of the run", "labels", excerpt=800)]
    status: RunStatus
    failures_missing: bool
    complete: bool
    counts: Counts
    expected_results: int | None
    expected_shards: int | None
    revision: int
    started_ms: int | None
    completed_ms: int
    last_completed_ms: int
    duration_ms: int | None
    results_expired: bool
    pinned: bool
    trusted: bool = True


_HINTS: Final = get_type_hints(RunRow, include_extras=True)
STATED_FIELDS: Final[Mapping[str, StatedField]] = {
    name: _HINTS[name].__metadata__[0] for name in RunRow._fields if get_origin(_HINTS[name]) is Annotated
}
_NAMES: Final = tuple(STATED_FIELDS)
CONTEXT_FIELDS: Final = _NAMES[_NAMES.index("pipeline") : _NAMES.index("labels")]


class PartRow(NamedTuple):
    """A part of a run. `attempt` is the rank of its highest attempt."""

    part: str | None
    variant: Mapping[str, str]
    shard: int | None
    attempt: int | None


class RunDetailRow(NamedTuple):
    """A run with its parts."""

    run: RunRow
    parts: Sequence[PartRow]


class PullRequestSuggestion(NamedTuple):
    """A pull request of recent runs, with the newest title that they state."""

    number: str
    title: str | None


class FilterSuggestions(NamedTuple):
    """Values of recent runs for filters of the list of runs, newest first."""

    authors: Sequence[str]
    pull_requests: Sequence[PullRequestSuggestion]


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


Span = tuple[int, int]  # start and end in ms since 1970
Spans = tuple[Span, ...]  # sorted and disjoint
FieldVersions = dict[str, tuple[int, Any]]  # field -> (time of the event that set it, value)


class PartVersion(NamedTuple):
    """What a part states about the run. `status` is the code of the stated status.

    Without an attempt, the newest event of the part decides. With one, all events of this attempt count.
    """

    event_s: int
    failures_missing: bool = False
    status: str | None = None


PartVersions = Mapping[RunPart, PartVersion]


@dataclass(frozen=True)  # without slots, because of the cached property
class RunState:
    """The state of a run after one or more events. Times are in ms since 1970; event times are in s.

    `closed` is true after a final event, or after a client closed the run. `sent_at_once` is true after an event that
    states neither shards, nor results, nor whether it is final. `spans` are the times in which at least one part was
    executed, as far as events state a start. `awaited` are the receipts that the promotion of the run names and that
    aren't stored yet. `notify` applies to the events of this state only: whether the service emits events about them.
    """

    run_id: str
    project_id: str
    completed_ms: int
    last_completed_ms: int
    spans: Spans = ()
    field_versions: FieldVersions = field(default_factory=dict)
    stated_status: str | None = None
    status_event_s: int = NO_STATUS_EVENT_S
    expected_results: int | None = None
    expected_shards: int | None = None
    shards: frozenset[int] = frozenset()  # numbers of the shards that arrived
    closed: bool = False
    sent_at_once: bool = False
    part_versions: PartVersions = field(default_factory=dict)
    awaited: frozenset[str] = frozenset()
    notify: bool = field(default=True, compare=False)

    @property
    def started_ms(self) -> int | None:
        """The first start that an event states."""
        return self.spans[0][0] if self.spans else None

    @property
    def failures_missing(self) -> bool:
        """Whether the newest event of a part declares failures that it doesn't contain."""
        return any(version.failures_missing for version in self.newest_versions)

    @cached_property
    def newest_versions(self) -> list[PartVersion]:
        """The version of each part, from its highest attempt."""
        versions = self.part_versions
        return [*versions.values()] if len(versions) == 1 else [versions[part] for part in newest_attempts(versions)]


def merge(known: RunState, new: RunState) -> RunState:
    """Merge two states of a run. The order matters only for `completed_ms` and `awaited`: `known` decides."""
    stated = max(known, new, key=_status_precedence)
    return replace(
        known,
        last_completed_ms=max(known.last_completed_ms, new.last_completed_ms),
        spans=join_spans((*known.spans, *new.spans)),
        field_versions=_merge_fields(known.field_versions, new.field_versions),
        stated_status=stated.stated_status,
        status_event_s=stated.status_event_s,
        expected_results=_greatest(known.expected_results, new.expected_results),
        expected_shards=_greatest(known.expected_shards, new.expected_shards),
        shards=known.shards | new.shards,
        closed=known.closed or new.closed,
        sent_at_once=known.sent_at_once or new.sent_at_once,
        part_versions=_merge_parts(known.part_versions, new.part_versions),
        notify=known.notify or new.notify,
    )


def _status_precedence(state: RunState) -> tuple[int, int]:
    return state.status_event_s, _severity(state.stated_status)


def _merge_fields(known: FieldVersions, new: FieldVersions) -> FieldVersions:
    merged = dict(known)
    for name, version in new.items():
        merged[name] = max(merged.get(name, version), version, key=lambda pair: (pair[0], str(pair[1])))
    return merged


def _merge_parts(known: PartVersions, new: PartVersions) -> PartVersions:
    """Merge the versions. The newer event of a part wins; if the times are equal, the worse one.

    Each event of an attempt counts, because a matrix has several jobs of one part and attempt.
    """
    merged = dict(known)
    for part, version in new.items():
        older = merged.get(part, version)
        merged[part] = _worst(older, version) if part.attempt else max(older, version, key=_version_precedence)
    return merged


def _worst(first: PartVersion, second: PartVersion) -> PartVersion:
    return PartVersion(
        max(first.event_s, second.event_s),
        first.failures_missing or second.failures_missing,
        max(first.status, second.status, key=_severity),
    )


def _version_precedence(version: PartVersion) -> tuple[int, bool, int]:
    return version.event_s, version.failures_missing, _severity(version.status)


def _greatest(first: int | None, second: int | None) -> int | None:
    return max((value for value in (first, second) if value is not None), default=None)


def set_failures_missing(state: RunState, is_missing: bool) -> RunState:
    """Return the state of one event with this declaration."""
    if all(version.failures_missing == is_missing for version in state.part_versions.values()):
        return state
    versions = {part: version._replace(failures_missing=is_missing) for part, version in state.part_versions.items()}
    return replace(state, part_versions=versions)


def drop_stated_status(state: RunState) -> RunState:
    """Return the state without the status that its event states for the complete run, so that the results count."""
    return replace(state, stated_status=None, status_event_s=NO_STATUS_EVENT_S)


def is_complete(state: RunState, counts: Counts) -> bool:
    """Return whether the run is closed, or everything that it expects has arrived.

    If a run expects shards, only they or closing the run complete it, in any order of events. Without a report that its
    promotion names, no run is complete: the results that are missing can be failures.
    """
    if state.awaited:
        return False
    if state.closed:
        return True
    if state.expected_shards is not None:
        return len(state.shards) >= state.expected_shards
    return state.sent_at_once or (state.expected_results is not None and counts.total >= state.expected_results)


def describe_incomplete(state: RunState, counts: Counts) -> str | None:
    """Return what an incomplete run still expects, or None if only a final event is missing."""
    if state.awaited:
        return f"{len(state.awaited)} reports that its promotion names aren't stored"
    return describe_expected(state.expected_shards, state.shards, state.expected_results, counts.total)


def describe_expected(
    expected_shards: int | None, arrived_shards: Collection[int], expected_results: int | None, results: int
) -> str | None:
    """Return which of the shards or results that complete a run are missing, or None if the run states neither."""
    if expected_shards is None:
        return None if expected_results is None else f"{results:,} of {expected_results:,} results arrived"
    missing = find_missing_shards(expected_shards, arrived_shards)
    count = sum(map(len, missing))
    arrived = f"{expected_shards - count:,} of {expected_shards:,} shards arrived"
    if count < 2:
        return f"{arrived}. Shard {missing[0][0]} is missing" if missing else arrived
    named: list[str] = []
    for numbers in missing[:_MAX_RANGES]:
        named += map(str, numbers) if len(numbers) < _MIN_RANGE else [f"{numbers[0]} to {numbers[-1]}"]
    if others := sum(map(len, missing[_MAX_RANGES:])):
        named.append(f"{others:,} others")
    *first, last = named
    listed = f"{', '.join(first)}{',' * (len(first) > 1)} and {last}" if first else last
    return f"{arrived}. Shards {listed} are missing"


def find_missing_shards(expected: int, arrived: Collection[int]) -> list[range]:
    """Return the numbers from 1 to `expected` that haven't arrived, as ranges in ascending order."""
    edges = [0, *sorted(number for number in set(arrived) if number <= expected), expected + 1]
    return [range(before + 1, after) for before, after in pairwise(edges) if after - before > 1]


def run_status(state: RunState, counts: Counts) -> str:
    """Return the status code of a run: the status that the newest event states for the complete run, or else the
    worst status of the parts and of the results (error > failed > canceled > passed).

    A run whose declared failures are missing has the status error, because its results don't show its outcome. For the
    same reason, a complete run without results has the status error, unless an event states its status, and so does a
    promoted run before all of its reports are stored.
    """
    if state.failures_missing or state.awaited:
        return STATUS_CODES["error"]
    if state.stated_status is not None and _is_stated_last(state):
        return state.stated_status
    of_parts = [version.status for version in state.newest_versions if version.status is not None]
    if not of_parts and _lacks_results(state, counts):
        return STATUS_CODES["error"]
    return max([_status_by_results(counts), *of_parts], key=_severity)


def _is_stated_last(state: RunState) -> bool:
    """Return whether the event that stated the status is newer than the other events of the parts."""
    return all(
        version.event_s < state.status_event_s
        or (part == NO_PART and version.event_s == state.status_event_s and version.status == state.stated_status)
        for part, version in state.part_versions.items()
    )


def _lacks_results(state: RunState, counts: Counts) -> bool:
    """Return whether a complete run has no results, although results are expected."""
    return not counts.total and state.expected_results != 0 and is_complete(state, counts)


def _status_by_results(counts: Counts) -> str:
    present = [status for status in RUN_STATUSES if getattr(counts, status)]
    return STATUS_CODES[max(present, key=SEVERITY.__getitem__, default="passed")]


def _severity(code: str | None) -> int:
    return SEVERITY[STATUS_NAMES[code]] if code else 0


def join_spans(spans: Iterable[tuple[int, int]], pause_ms: int = 0) -> Spans:
    """Return the sorted spans, joined if they overlap or if the pause between them isn't longer than `pause_ms`.

    Of more than MAX_SPANS, those with the shortest pauses are joined.
    """
    joined: list[Span] = []
    for start, end in sorted(spans):
        if joined and start - joined[-1][1] <= pause_ms:
            joined[-1] = joined[-1][0], max(joined[-1][1], end)
        else:
            joined.append((start, max(start, end)))
    if len(joined) <= MAX_SPANS:
        return tuple(joined)
    return join_spans(joined, sorted(start - end for (_, end), (start, _) in pairwise(joined))[-MAX_SPANS])


def duration_ms(spans: Spans) -> int | None:
    """Return the time in which at least one part was executed, or None if no event states a start.

    A pause doesn't count: a job of 3 s and its rerun of 3 s an hour later lead to 6 s. Two jobs of 60 s at the same
    time lead to 60 s. Durations aren't summed, because in GitLab each job has its own attempt number.
    """
    return sum(end - start for start, end in spans) if spans else None


def is_untrusted_id(run_id: str) -> bool:
    """Return whether only public keys can create a run with this ID."""
    return run_id.startswith(UNTRUSTED_PREFIX)


def branch_of_fork(branch: str) -> str:
    """Return the name of a branch as an untrusted run stores it."""
    return branch if branch.startswith(_FORK_PREFIX) else _FORK_PREFIX + branch
