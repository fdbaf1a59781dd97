"""The request bodies, queries, and responses of trusted publishers."""

from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, WithJsonSchema
from typing_extensions import TypedDict

from service.contracts.patches import Patch
from service.contracts.queries import Name, Query
from service.contracts.responses import ActorName, Time, closed
from service.contracts.validation import PRINTABLE
from service.domain.publishers import DEFAULT_ROLE, MAX_CLAIM_CHARS, MAX_CLAIMS, ProviderName, PublisherRole

_ISSUER: Final = (
    "URL of the issuer, exactly as in the claim `iss` of the tokens. By default, that of the provider; required for"
    " `circleci` and `oidc`"
)
_CLAIMS_EXAMPLE: Final = {"repository_id": "1296269", "repository_owner_id": "583231", "ref": "refs/heads/main"}


def _as_text(value: object) -> str:
    """Return the text of a claim. A token can have a number where an admin enters text, and vice versa."""
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise ValueError("must be text or an integer; a claim of another type never matches")


ClaimValue = Annotated[
    str,
    BeforeValidator(_as_text),
    WithJsonSchema({"anyOf": [{"type": "string", "minLength": 1, "maxLength": MAX_CLAIM_CHARS}, {"type": "integer"}]}),
]
PublisherId = Annotated[str, StringConstraints(pattern=r"^pub_[0-9a-f]{32}$")]
PublisherName = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=PRINTABLE)]
RequiredClaims = Annotated[
    dict[str, ClaimValue],
    Field(
        description=f"Claims that a token must have, with text of at most {MAX_CLAIM_CHARS} characters or integers. The"
        " guide of trusted publishers lists those of each provider",
        examples=[_CLAIMS_EXAMPLE],
        json_schema_extra={"maxProperties": MAX_CLAIMS},
    ),
]
Enabled = Annotated[bool, Field(description="Whether tokens are accepted")]
Role = Annotated[PublisherRole, Field(description="Role of the keys of the jobs")]


class PublisherIn(BaseModel):
    """A trusted publisher to create: CI jobs that can exchange their ID tokens for keys of a project."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    provider: Annotated[ProviderName, Field(description="The CI system, or `oidc` for another issuer")]
    issuer: Annotated[str | None, Field(description=_ISSUER)] = None
    claims: RequiredClaims
    project_id: Annotated[
        Name | None, Field(description="Project of the keys. Required, unless the key of the request is bound to one")
    ] = None
    role: Role = DEFAULT_ROLE
    name: Annotated[
        PublisherName | None,
        Field(description="Display name; by default, the provider and the repository that the first token states"),
    ] = None
    enabled: Enabled = True


class PublisherPatch(Patch):
    """The fields of a publisher to change. Absent fields keep their values; `claims` replaces all claims."""

    name: Annotated[PublisherName, Field(description="Display name")] = Field(default_factory=str)
    claims: RequiredClaims = Field(default_factory=dict)
    role: Role = Field(default_factory=lambda: DEFAULT_ROLE)
    enabled: Enabled = Field(default_factory=bool)


class TokenExchangeQuery(Query):
    """A filter of the newest exchanges."""

    publisher_id: Annotated[Name | None, Field(description="Only the exchanges of this publisher")] = None


@closed
class TrustedPublisher(TypedDict):
    """CI jobs that can exchange their ID tokens for keys of a project."""

    id: PublisherId
    name: Annotated[str, Field(description="Display name")]
    provider: Annotated[ProviderName, Field(description="The CI system, or `oidc` for another issuer")]
    issuer: Annotated[str, Field(description="URL of the issuer, as in the claim `iss` of the tokens")]
    claims: Annotated[dict[str, str], Field(description="Claims that a token must have")]
    project_id: Annotated[str, Field(description="Project of the keys")]
    role: Role
    enabled: Enabled
    created_by: Annotated[str, Field(description="ID of the API key or person, or `command line`")]
    created_by_name: ActorName
    created_at: Time
    last_used_at: Annotated[
        Time | None, Field(description="Time of a recent exchange, at most a minute before the last one")
    ]


@closed
class TokenExchange(TypedDict):
    """An attempt to exchange an authentic ID token of a repository that a publisher names."""

    at: Annotated[Time, Field(description="Time of the exchange")]
    publisher_id: Annotated[
        str | None, Field(description="The publisher that accepted the token, or the one that it would have needed")
    ]
    publisher_name: Annotated[str | None, Field(description="Name of the publisher, also of a deleted one")]
    issuer: Annotated[str, Field(description="URL of the issuer, as in the claim `iss` of the tokens")]
    project_id: Annotated[str | None, Field(description="Project of the publisher")]
    job: Annotated[str, Field(description="The CI job, as a URL if the token contains one")]
    key_id: Annotated[
        str | None,
        Field(description="The key of the job, with which the keys of its token can be revoked; null if refused"),
    ]
    claims: Annotated[dict[str, Any], Field(description="Claims of the token")]
    refusal: Annotated[str | None, Field(description="Reason of the refusal; null if the job received a key")]


@closed
class TokenExchanges(TypedDict):
    """The newest exchanges, newest first."""

    data: Annotated[list[TokenExchange], Field(description="At most 100")]
