"""API keys as requests make them."""

from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, field_validator

from service.contracts.faults import TIME
from service.contracts.queries import Words
from service.domain.keys import Role


class KeyRequest(BaseModel):
    """A key that is wanted."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[Words, Field(description="What it is for, in your words", examples=["CI of the shop"])]
    role: Role
    project_id: Annotated[Words | None, Field(description="The one project that it sees")] = None
    expires_at: Annotated[AwareDatetime | None, Field(description="When it stops working", strict=False)] = None

    @field_validator("expires_at", mode="before")
    @classmethod
    def _as_text(cls, value: object) -> object:
        """RFC 3339 alone: a number could be seconds or milliseconds."""
        if value is not None and not isinstance(value, str):
            raise ValueError(TIME)
        return value
