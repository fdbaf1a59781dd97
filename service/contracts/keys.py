"""API keys as requests make them."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from service.contracts.queries import Name, Timestamp
from service.domain.keys import KeyRole


class KeyRequest(BaseModel):
    """A key that is wanted."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[Name, Field(description="What it is for, in your words", examples=["CI of the shop"])]
    role: KeyRole
    project_id: Annotated[Name | None, Field(description="The one project that it sees")] = None
    expires_at: Annotated[Timestamp | None, Field(description="When it stops working")] = None
