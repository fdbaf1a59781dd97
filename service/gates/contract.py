"""Requests and responses of gates and decisions."""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator
from typing_extensions import TypedDict

from service.comparison.contract import MissingCaseOut, MissingPart
from service.comparison.model import MAX_ALLOWED_PARTS
from service.contracts.queries import Name, PageQuery
from service.contracts.responses import ActorId, ActorName, Rate, Time, closed
from service.contracts.validation import NO_NUL, RECEIPT_ID
from service.domain.errors import InvalidRequest
from service.gates.model import (
    MAX_EXCUSED,
    MAX_EXCUSED_RECEIPTS,
    MAX_GATE_NAME,
    MAX_LIMIT_OF_RULE,
    DecisionOutcome,
    ExcuseCondition,
    Policy,
    RuleName,
)
from service.quarantines.contract import Glob
from service.splits.contract import MissingItemOut

_Limit = Annotated[int, Field(strict=True, ge=0, le=MAX_LIMIT_OF_RULE)]
GateName = Annotated[str, StringConstraints(min_length=1, max_length=MAX_GATE_NAME, pattern=NO_NUL)]
WaiverReason = Annotated[str, StringConstraints(min_length=1, max_length=1_000, pattern=NO_NUL, strip_whitespace=True)]


class _ClosedModel(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PolicyIn(_ClosedModel):
    """The limits of a gate. At least one limit is required. `min_results` is always checked."""

    min_results: Annotated[
        int, Field(strict=True, ge=1, le=MAX_LIMIT_OF_RULE, description="Minimum number of executed results")
    ] = 1
    max_failures: Annotated[
        _Limit | None, Field(description="Maximum number of failed and error results, without quarantined ones")
    ] = None
    max_new_failures: Annotated[_Limit | None, Field(description="Maximum number of new failures")] = None
    max_flaky: Annotated[_Limit | None, Field(description="Maximum number of flaky results")] = None
    min_pass_rate: Annotated[
        Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)] | None,
        Field(description="Minimum share of executed results that passed, without quarantined ones"),
    ] = None
    max_missing_parts: Annotated[
        _Limit | None, Field(description="Maximum number of parts, such as CI jobs, that sent no results")
    ] = None
    max_missing_cases: Annotated[
        _Limit | None,
        Field(description="Maximum number of cases that the baseline executed and the other parts lack"),
    ] = None
    max_missing_items: _Limit | None = None

    @model_validator(mode="after")
    def _require_a_limit(self) -> Self:
        if all(getattr(self, name) is None for name in self.model_fields_set):
            raise ValueError("must contain at least one limit")
        return self

    def to_domain(self) -> Policy:
        """Return the policy."""
        return Policy(**self.model_dump())


class GatePolicyIn(PolicyIn):
    """The limits of a gate. Unless the policy states another limit, no part can be missing."""

    max_missing_parts: Annotated[
        _Limit | None,
        Field(description="Maximum number of parts, such as CI jobs, that sent no results. Null: any number"),
    ] = 0


class GateIn(_ClosedModel):
    """A gate to create or to change."""

    policy: GatePolicyIn


class DecisionRequest(_ClosedModel):
    """The gate or the policy to apply. Exactly one of them is required."""

    gate: GateName | None = None
    policy: PolicyIn | None = None
    record: Annotated[
        bool,
        Field(
            strict=True,
            description="Stores the decision of the policy, without events, if the key can store decisions. Otherwise,"
            " the policy is a dry run. Not for a gate, whose decision is stored without it",
        ),
    ] = False
    allow_missing_parts: Annotated[
        list[Glob],
        Field(
            max_length=MAX_ALLOWED_PARTS,
            description="Globs of the names of parts that can be missing, such as skipped jobs",
        ),
    ] = []

    def rules(self) -> str | Policy:
        """Return the name of the gate, or the policy. Raises InvalidRequest unless exactly one of them is stated."""
        if self.gate is not None and self.record:
            raise InvalidRequest(
                "record: is only for a policy, because the decision of a gate is stored without it", "record"
            )
        if self.gate is not None and self.policy is None:
            return self.gate
        if self.policy is not None and self.gate is None:
            return self.policy.to_domain()
        raise InvalidRequest("gate: either gate or policy is required, but not both", "gate")


class WaiverIn(_ClosedModel):
    """A waiver of a blocked decision."""

    reason: WaiverReason


class ExcuseRequest(_ClosedModel):
    """The uploads of one job whose failures are to be excused."""

    receipts: Annotated[
        list[Annotated[str, StringConstraints(pattern=RECEIPT_ID)]],
        Field(
            min_length=1,
            max_length=MAX_EXCUSED_RECEIPTS,
            description="Receipts of the uploads, all of one part: the same job name, variant, and shard",
        ),
    ]
    failures: Annotated[_Limit | None, Field(description="Number of failed tests that the tool states")] = None
    allow_missing_cases: Annotated[
        bool, Field(strict=True, description="Skips the condition missing_cases, for example for a selection of tests")
    ] = False


class DecisionQuery(PageQuery):
    """A page of the list of decisions."""

    run_id: Name | None = None
    gate: GateName | None = None
    decision: DecisionOutcome | None = None


@closed
class GatePolicy(TypedDict, total=False):
    """The limits of a gate that are checked."""

    min_results: int
    max_failures: int
    max_new_failures: int
    max_flaky: int
    min_pass_rate: Rate
    max_missing_parts: Annotated[int | None, Field(description="Null: any number of parts can be missing")]
    max_missing_cases: int
    max_missing_items: int


@closed
class GateOut(TypedDict):
    """A policy that decides whether a run passes."""

    name: str
    version: Annotated[int, Field(description="Incremented by each change of the policy; never restarts")]
    policy: GatePolicy
    updated_at: Time


@closed
class RuleEvaluation(TypedDict):
    """The evaluation of one rule of a policy."""

    rule: RuleName
    limit: Annotated[float | None, Field(description="Null for the rule run_status")]
    value: Annotated[
        float | str | None,
        Field(description="Null if unknown, which blocks. For run_status: the status, or failures_missing"),
    ]
    passed: bool


@closed
class DecisionFailures(TypedDict):
    """The number of failing results by change. See the comparison of a run."""

    new: int
    known: int
    flaky: int
    quarantined: int


@closed
class MissingDecisionPart(MissingPart):
    """A missing part of a run that was decided about."""

    allowed: Annotated[bool, Field(description="The request allowed the part to be missing")]


@closed
class Waiver(TypedDict):
    """The statement that lets a blocked decision pass."""

    reason: str
    created_by: ActorId
    created_by_name: ActorName
    created_at: Time


@closed
class Decision(TypedDict):
    """The result of applying a policy to a run. A stored decision never changes, except for the waiver of a gate."""

    id: Annotated[str | None, Field(description="Null for a dry run, which isn't stored")]
    organization_id: str
    run_id: str
    revision: Annotated[int, Field(description="Revision of the run")]
    gate: str | None
    gate_version: int | None
    policy: GatePolicy
    baseline_run_id: str | None
    decision: DecisionOutcome
    rules: Annotated[list[RuleEvaluation], Field(description="Every rule that was evaluated")]
    failures: DecisionFailures
    missing_parts: Annotated[
        list[MissingDecisionPart] | None,
        Field(description="Parts that sent no results. Null in decisions of earlier versions, which didn't check them"),
    ]
    missing_cases: Annotated[
        int | None,
        Field(
            description="Number of cases that the baseline executed and the other parts lack. Null if the run or its"
            " baseline has more than 50,000 results, and in decisions of earlier versions"
        ),
    ]
    missing_cases_sample: Annotated[list[MissingCaseOut] | None, Field(description="The first missing cases")]
    missing_items: int | None
    missing_items_sample: list[MissingItemOut] | None
    truncated: Annotated[
        bool | None,
        Field(
            description="More than 1,000 cases fail. Only the first ones were searched in the complete window, so some"
            " of the new failures can be known or flaky. Null in decisions of earlier versions"
        ),
    ]
    waiver: Waiver | None
    created_by: Annotated[
        ActorId | None,
        Field(
            description="ID of the API key, of the trusted publisher of the CI job, or of the person that requested the"
            " decision first. Null for a dry run, and in decisions of earlier versions"
        ),
    ]
    created_by_name: ActorName
    created_at: Time


@closed
class ExcusedResult(TypedDict):
    """A failing result, and the active quarantine that names its case exactly."""

    id: str
    quarantine_id: Annotated[str, Field(description="The oldest such quarantine")]


@closed
class ExcuseReason(TypedDict):
    """Why the failures aren't excused."""

    condition: Annotated[ExcuseCondition, Field(description="The condition that doesn't hold; versions can add some")]
    text: Annotated[str, Field(description="What is wrong, with the first tests or reports")]


@closed
class Excuse(MissingPart):
    """The statement whether all failures of a part of a run are quarantined, so that its job may pass."""

    id: str
    run_id: str
    revision: Annotated[int, Field(description="Revision of the run")]
    receipts: Annotated[list[str], Field(description="Receipts of the uploads")]
    failures: Annotated[int | None, Field(description="Number of failed tests that the request stated")]
    allow_missing_cases: Annotated[bool, Field(description="Whether the request skipped the condition missing_cases")]
    baseline_run_id: Annotated[str | None, Field(description="Run whose part executed the expected cases")]
    excused: Annotated[bool, Field(description="True if there are no reasons against it")]
    results: Annotated[
        list[ExcusedResult],
        Field(description=f"The first {MAX_EXCUSED:,} failing results of the part that a quarantine excuses"),
    ]
    reasons: Annotated[
        list[ExcuseReason], Field(description="Why the failures aren't excused, in the order of conditions")
    ]
    created_by: ActorId
    created_by_name: ActorName
    created_at: Time
