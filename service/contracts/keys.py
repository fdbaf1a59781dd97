"""The request models of API keys."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from service.contracts.queries import Name, Timestamp
from service.domain.keys import KeyRole


class KeyRequest(BaseModel):
    """The request to create an API key."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[Name, Field(description="Purpose of the key", examples=["CI of the shop"])]
    role: KeyRole
    project_id: Annotated[
        Name | None, Field(description="The only project that the key can access; required for the role public")
    ] = None
    expires_at: Annotated[Timestamp | None, Field(description="Expiry time of the key")] = None
