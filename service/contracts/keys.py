"""API keys as requests make them and as answers show them."""

from datetime import datetime
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, field_validator
from typing_extensions import TypedDict

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
            raise ValueError("a time (RFC 3339) is expected")
        return value


class Key(TypedDict):
    """What may be seen of a key."""

    id: str
    name: str
    role: Role
    project_id: str | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


class KeyShownOnce(Key):
    """A key that was just made or given another secret; `key` is null where the answer is repeated."""

    key: str | None
