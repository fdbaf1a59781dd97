"""The response models that several subjects share, such as pages and errors, and those of the state of the service."""

from typing import Annotated, Any, Final, Generic, Literal, NotRequired, TypeVar

from pydantic import ConfigDict, Field, StringConstraints, with_config
from typing_extensions import TypedDict

from service.domain.errors import ErrorCode

Time = Annotated[
    str,
    StringConstraints(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$"),
    Field(examples=["2026-05-20T12:00:00.000Z"], json_schema_extra={"format": "date-time"}),
]
Day = Annotated[str, StringConstraints(pattern=r"^\d{4}-\d\d-\d\d$"), Field(examples=["2026-05-20"])]
Sha256Hex = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Rate = Annotated[float, Field(ge=0, le=1)]
ActorId = Annotated[str, Field(description="ID of the API key, publisher of a CI job, or person, or `policy`")]
ActorName = Annotated[
    str | None,
    Field(
        description="Name of the API key or publisher, which isn't unique, or name of the person, else the email. Null"
        " if the ID has no name, for example because the person was erased"
    ),
]
PageItem = TypeVar("PageItem")

closed: Final = with_config(ConfigDict(extra="forbid"))  # tests find fields that a model lacks


@closed
class PagePosition(TypedDict):
    """The position of a page in its list."""

    has_more: bool
    next_cursor: Annotated[
        str | None, Field(description="Value of `starting_after` for the next page, with the same filters")
    ]


@closed
class Page(PagePosition, Generic[PageItem]):
    """A page of a list. A page can be short or empty while `has_more` is true; only `has_more: false` marks the end."""

    data: list[PageItem]


@closed
class ErrorDetail(TypedDict):
    """The code and message of an error."""

    code: ErrorCode
    message: str
    param: NotRequired[Annotated[str, Field(description="The wrong parameter, field, or header")]]


@closed
class Error(TypedDict):
    """The body of every error response."""

    error: ErrorDetail
    request_id: str


class Health(TypedDict):
    """The state and the version of the process."""

    status: Literal["ok"]
    version: Annotated[str, Field(description="Version of the service")]
    commit: NotRequired[Annotated[str, Field(description="Full SHA of the commit; absent if it's unknown")]]


class Readiness(TypedDict):
    """Whether the service is ready for queries, and the state of each component."""

    status: Literal["ready", "unavailable"]
    parts: dict[str, Any]
