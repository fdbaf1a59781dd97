"""The public state of a case, which is the same in all objects that contain it."""

from typing import Annotated, cast

from pydantic import Field
from typing_extensions import TypedDict

from service.contracts.responses import Rate, closed
from service.domain.statuses import StateValue
from service.states.model import ShownState


@closed
class StateObject(TypedDict):
    """The shown state of a case: the worst one of its environments on the default branch.

    Among equal states, it is the one of the newest run. A healthy case has only nulls.
    """

    value: Annotated[StateValue, Field(description="Worst of the states in all environments")]
    environment: str | None
    since_run_id: Annotated[
        str | None,
        Field(
            description="Run in which a broken case failed first, or first run of the newest segment of a flaky case."
            " Null if this run isn't among the newest runs, from which states follow"
        ),
    ]
    last_passed_run_id: Annotated[str | None, Field(description="Newest run that isn't a final failure of the case")]
    first_commit: Annotated[str | None, Field(description="Commit of the run `since_run_id`")]
    last_good_commit: Annotated[str | None, Field(description="Commit of the run `last_passed_run_id`")]
    runs: Annotated[int | None, Field(description="Number of results in the newest segment")]
    failed: Annotated[int | None, Field(description="Number of these results that are final failures")]
    flaky: Annotated[int | None, Field(description="Number of these results that passed on a retry")]
    failure_rate: Annotated[Rate | None, Field(description="Estimated rate of bad results in the newest segment")]


def write_state(state: ShownState) -> StateObject:
    """Return the public object of a state."""
    rate = state.failure_rate
    rounded = state._replace(failure_rate=None if rate is None else round(rate, 4))
    return cast("StateObject", {name: getattr(rounded, name) for name in StateObject.__annotations__})
