"""The request models of API keys."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from service.contracts.queries import Name, Timestamp
from service.contracts.responses import Time, closed
from service.identity.keys.model import KeyRole


class KeyRequest(BaseModel):
    """The request to create an API key."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[Name, Field(description="Purpose of the key", examples=["CI of the shop"])]
    role: KeyRole
    project_id: Annotated[
        Name | None, Field(description="The only project that the key can access; required for the role public")
    ] = None
    expires_at: Annotated[Timestamp | None, Field(description="Expiry time of the key")] = None


@closed
class ApiKey(TypedDict):
    """An API key without its secret."""

    id: str
    name: str
    role: KeyRole
    project_id: str | None
    created_at: Time
    expires_at: Time | None
    revoked_at: Time | None
    last_used_at: Time | None


@closed
class ApiKeyWithSecret(ApiKey):
    """A new or rotated API key. `key` is null in a replayed response."""

    key: str | None
