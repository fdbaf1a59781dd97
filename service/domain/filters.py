"""The filters of the lists of runs and results, of the history of a case, and of exports.

Each filter is declared once, as a field of RunFilter or ResultFilter. Query parameters, the filters of an export
request, stored exports, OpenAPI, command-line options, SQL parameters, and cursors are derived from that field.
This module and its imports run on Python 3.10 without third-party packages because the client uses them.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any, Final, Literal, NamedTuple, TypeVar, get_args, get_type_hints
from uuid import UUID

from service.domain.filter_types import (
    BooleanType,
    CaseType,
    ChoiceType,
    CommitType,
    FilterType,
    FingerprintType,
    IntegerType,
    PairType,
    StatusType,
    TextType,
    TimeType,
    TrustType,
    WordsType,
)
from service.domain.ids import CaseKey, Fingerprint, RunKey, first_run_key
from service.domain.report_fields import LABEL_PATTERN, check_label
from service.domain.statuses import RESULT_STATUSES, RUN_STATUSES, STATE_VALUES
from service.domain.timestamps import MAX_DURATION_MS
from service.domain.variants import check_pair

FilteredList = Literal["runs", "results", "history", "exports", "failures"]

_ALL: Final[tuple[FilteredList, ...]] = get_args(FilteredList)
_EVERY_LIST: Final[tuple[FilteredList, ...]] = ("runs", "results", "history", "exports")
_OF_RESULTS: Final[tuple[FilteredList, ...]] = ("results", "history", "exports")
_WITHOUT_HISTORY: Final[tuple[FilteredList, ...]] = ("runs", "results", "exports")
_RESULTS_AND_EXPORTS: Final[tuple[FilteredList, ...]] = ("results", "exports")

# Fields that the counts of runs don't cover.
_OF_ROWS: Final = frozenset({"min_duration_ms", "fingerprint"})
_OF_CASES: Final = frozenset({"case_key", "case_id", "suite", "variants", "words", "states", "owner"})
# Fields that limit the range of keys or are compared with rows of results and cases. All others are compared with runs.
_OF_KEYS_AND_ROWS: Final = frozenset({"statuses", "from_ms", "to_ms", "flaky", *_OF_ROWS, *_OF_CASES})
_LAST_RUN: Final = RunKey(UUID(int=2**128 - 1))
_LAST_CASE: Final = CaseKey(2**63 - 1)
_LAST_MS: Final = 2**48 - 1


class Position(NamedTuple):
    """A position in the list of results, which is sorted by descending key."""

    run_key: RunKey
    case_key: CaseKey

    @classmethod
    def after_run(cls, key: RunKey) -> "Position":
        """Return the position after every result of this run, so that the query doesn't examine the run again."""
        return cls(RunKey(UUID(int=max(key.int - 1, 0))), _LAST_CASE)


START: Final = Position(_LAST_RUN, _LAST_CASE)


class FilterParameter(NamedTuple):
    """The public side of a filter.

    A repeatable filter has several values. `requires` names a filter that must also be set, and `at_least` one whose
    value must not be larger. `option_name` is the command-line option if it differs from the name.
    """

    name: str
    type: FilterType
    description: str
    lists: Collection[FilteredList]
    repeatable: bool = False
    requires: str | None = None
    option_name: str | None = None
    at_least: str | None = None

    @property
    def option(self) -> str:
        """The command-line option."""
        return f"--{(self.option_name or self.name).replace('_', '-')}"

    def convert(self, value: Any) -> Any:
        """Return the value of the filter's field for a parsed value, or for a list of them if it is repeatable."""
        if not self.repeatable:
            return self.type.convert(value)
        values = [value] if isinstance(value, str) else value
        converted = tuple(sorted({self.type.convert(item) for item in values}))  # their order doesn't matter
        matches_all = isinstance(self.type, StatusType) and self.type.converts_to_no_filter(converted)
        return () if matches_all else converted


_REPEAT: Final = "Status; if repeated, any of them"
_LABEL_TYPE: Final = PairType(check_label, pattern=LABEL_PATTERN, examples=["team:web"])
VARIANT_TYPE: Final = PairType(check_pair, examples=["os:linux"])
CASE_STATE: Final = FilterParameter(
    "state", ChoiceType(*STATE_VALUES),
    "Shown state of the case on the default branch; if repeated, any of them", (), repeatable=True,
)  # fmt: skip
CASE_OWNER: Final = FilterParameter("owner", TextType(100), "Owner of the case", ("results", "exports", "failures"))
_VARIANT: Final = "Pair of the variant; if repeated, all of them (requires run_id)"
_WORDS: Final = "Up to 5 words, each of which the suite or name contains in any case (requires run_id)"
_SORT: Final = "Order of the results of one run: longest first, or by file, suite, and name (requires run_id)"
_COMMIT: Final = "Commit of the run, by its first digits (at least 7)"
_LABELS: Final = "Label of the run; if repeated, all of them"
_MIN_DURATION: Final = "Shortest duration; excludes results without a duration"
_TRUSTED: Final = (
    "Whether the run is trusted (default: `true`), or `any`: runs that forks sent with a public key are not, until"
    " they are promoted"
)
_FLAKY: Final = "Whether the result, or any result of the run, passed after a failing attempt"


@dataclass(frozen=True)
class RunFilter:
    """Filters of runs. Statuses are letters, and none means all. Times are ms since 1970.

    `trusted` is also None for `true`, the default. Cursors from before this filter existed therefore stay valid.
    """

    statuses: Annotated[
        tuple[str, ...], FilterParameter("status", StatusType(RUN_STATUSES), _REPEAT, ("runs",), repeatable=True)
    ] = ()
    from_ms: Annotated[
        int | None, FilterParameter("from", TimeType(), "Earliest completion time of the run (inclusive)", _ALL)
    ] = None
    to_ms: Annotated[
        int | None,
        FilterParameter("to", TimeType(), "Latest completion time of the run (exclusive)", _ALL, at_least="from"),
    ] = None
    project_id: Annotated[
        str | None,
        FilterParameter("project_id", TextType(), "Project", (*_WITHOUT_HISTORY, "failures"), option_name="project"),
    ] = None
    environment: Annotated[str | None, FilterParameter("environment", TextType(), "Environment", _EVERY_LIST)] = None
    branch: Annotated[str | None, FilterParameter("branch", TextType(400), "Branch", _ALL)] = None
    commit_sha: Annotated[
        str | None, FilterParameter("commit_sha", CommitType(), _COMMIT, _WITHOUT_HISTORY, option_name="commit")
    ] = None
    pull_request: Annotated[
        str | None, FilterParameter("pull_request", TextType(), "Number of the pull request", ("runs",))
    ] = None
    pipeline: Annotated[
        str | None,
        FilterParameter("pipeline", TextType(), "Execution of the CI pipeline, such as github-812", ("runs",)),
    ] = None
    author: Annotated[
        str | None, FilterParameter("author", TextType(), "Author of the commit or pull request", ("runs",))
    ] = None
    labels: Annotated[
        tuple[str, ...], FilterParameter("label", _LABEL_TYPE, _LABELS, _WITHOUT_HISTORY, repeatable=True)
    ] = ()
    flaky: Annotated[bool | None, FilterParameter("flaky", BooleanType(), _FLAKY, _EVERY_LIST)] = None
    trusted: Annotated[str | None, FilterParameter("trusted", TrustType(), _TRUSTED, _WITHOUT_HISTORY)] = None

    @property
    def is_trusted(self) -> bool | None:
        """Whether a run that matches is trusted, or None if any run matches. Only trusted runs match by default."""
        return {None: True, "false": False}.get(self.trusted)

    @property
    def first_key(self) -> RunKey:
        """The smallest key of a run that matches `from`."""
        return _first_key(self.from_ms or 0)

    def before(self, position: Position | None) -> Position:
        """Return the position after which the list continues.

        It is `position`, or START without one, unless the range (`to`) begins further down in the list.
        """
        if self.to_ms is None:
            return position or START
        return min(position or START, Position.after_run(_first_key(self.to_ms)))

    def set_fields(self) -> dict[str, Any]:
        """Return the fields that are set, which identify the filter even after fields were added to this class."""
        return {name: value for name, value in vars(self).items() if value not in (None, ())}


@dataclass(frozen=True)
class ResultFilter(RunFilter):
    """Filters of results."""

    statuses: Annotated[
        tuple[str, ...], FilterParameter("status", StatusType(RESULT_STATUSES), _REPEAT, _OF_RESULTS, repeatable=True)
    ] = ()
    run_id: Annotated[str | None, FilterParameter("run_id", TextType(), "Run", (*_RESULTS_AND_EXPORTS, "failures"))] = (
        None
    )
    case_key: Annotated[
        CaseKey | None, FilterParameter("case", CaseType(), "Case, by its ID case_…", _RESULTS_AND_EXPORTS)
    ] = None
    case_id: Annotated[
        str | None,
        FilterParameter(
            "case_id",
            TextType(),
            "The producer's ID of a case, in every project unless project_id is set",
            _RESULTS_AND_EXPORTS,
        ),
    ] = None
    suite: Annotated[
        str | None,
        FilterParameter(
            "suite", TextType(1_000, 0), "Suite (requires run_id)", _RESULTS_AND_EXPORTS, requires="run_id"
        ),
    ] = None
    variants: Annotated[
        tuple[str, ...],
        FilterParameter("variant", VARIANT_TYPE, _VARIANT, _RESULTS_AND_EXPORTS, repeatable=True, requires="run_id"),
    ] = ()
    words: Annotated[
        tuple[str, ...], FilterParameter("q", WordsType(), _WORDS, _RESULTS_AND_EXPORTS, requires="run_id")
    ] = ()
    states: Annotated[tuple[str, ...], CASE_STATE] = ()
    owner: Annotated[str | None, CASE_OWNER] = None
    min_duration_ms: Annotated[
        int | None,
        FilterParameter("min_duration_ms", IntegerType(0, MAX_DURATION_MS), _MIN_DURATION, _RESULTS_AND_EXPORTS),
    ] = None
    fingerprint: Annotated[
        Fingerprint | None,
        FilterParameter("fingerprint", FingerprintType(), "Failure group, by its ID fp1_…", _RESULTS_AND_EXPORTS),
    ] = None

    sort: Annotated[
        str | None,
        FilterParameter("sort", ChoiceType("-duration_ms", "suite"), _SORT, _RESULTS_AND_EXPORTS, requires="run_id"),
    ] = None

    @property
    def filters_runs(self) -> bool:
        """Whether any filter is compared with the run of a result."""
        return not self.set_fields().keys() <= _OF_KEYS_AND_ROWS

    @property
    def is_countable(self) -> bool:
        """Whether the counts of the runs state how many results match."""
        return self.set_fields().keys().isdisjoint(_OF_ROWS | _OF_CASES)

    @property
    def selects_case(self) -> bool:
        """Whether the filter selects one case, or the cases with one ID of the producer."""
        return self.case_key is not None or self.case_id is not None

    @property
    def excludes_passed(self) -> bool:
        """Whether only results that didn't pass match: statuses are set, and passed isn't one of them."""
        return bool(self.statuses) and "p" not in self.statuses

    @property
    def excludes_all(self) -> bool:
        """Whether no result can match: every flaky result passed, and only failing results have a fingerprint."""
        if self.fingerprint is not None and (self.flaky or (self.statuses and not {"f", "e"} & set(self.statuses))):
            return True
        return self.flaky is True and self.excludes_passed


AnyFilter = TypeVar("AnyFilter", bound=RunFilter)


def _declared_on(filter_type: type[RunFilter]) -> Mapping[str, FilterParameter]:
    hints = get_type_hints(filter_type, include_extras=True)
    return {declared.name: hints[declared.name].__metadata__[0] for declared in fields(filter_type)}


# By field. The filter that another one requires is first.
_PARAMETERS: Final[Mapping[type[RunFilter], Mapping[str, FilterParameter]]] = {
    filter_type: _declared_on(filter_type) for filter_type in (RunFilter, ResultFilter)
}


def filter_parameters(list_name: FilteredList) -> tuple[FilterParameter, ...]:
    """Return the filters of a list."""
    declared = _PARAMETERS[RunFilter if list_name == "runs" else ResultFilter].values()
    return tuple(parameter for parameter in declared if list_name in parameter.lists)


def build_filter(filter_type: type[AnyFilter], values: Mapping[str, Any]) -> AnyFilter:
    """Return the filter for parsed values by parameter name. Other names are ignored."""
    converted = {
        name: parameter.convert(value)
        for name, parameter in _PARAMETERS[filter_type].items()
        if (value := values.get(parameter.name)) is not None
    }
    return filter_type(**converted)


def read_stored_filter(document: Mapping[str, Any]) -> ResultFilter:
    """Return the filter of a stored export. Raises ValueError for a filter or value that this version doesn't know.

    It doesn't validate values, so a stored export stays readable if a later version accepts fewer values.
    """
    unknown = document.keys() - {parameter.name for parameter in filter_parameters("exports")}
    if unknown:
        raise ValueError(f"unknown filters: {', '.join(sorted(unknown))}")
    try:
        return build_filter(ResultFilter, document)
    except (LookupError, TypeError) as error:
        raise ValueError(f"unknown value {error}") from error


def restrict_to_project(filter_: AnyFilter, project_id: str | None) -> AnyFilter | None:
    """Return the filter for a key that is bound to this project, or None if nothing can match."""
    if project_id is None or filter_.project_id == project_id:
        return filter_
    return replace(filter_, project_id=project_id) if filter_.project_id is None else None


def _first_key(timestamp_ms: int) -> RunKey:
    return first_run_key(min(max(timestamp_ms, 0), _LAST_MS))
