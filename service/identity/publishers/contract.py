"""The request bodies, queries, and responses of trusted publishers."""

from typing import Annotated, Any, Final, Literal, NotRequired

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, WithJsonSchema
from typing_extensions import TypedDict

from service.contracts.queries import Name, Patch, Query
from service.contracts.responses import ActorName, Time, closed
from service.contracts.validation import PRINTABLE
from service.identity.publishers.model import DEFAULT_ROLE, MAX_CLAIM_CHARS, MAX_CLAIMS, ProviderName, PublisherRole
from service.identity.publishers.token_exchanges import GRANT_TYPE, ExchangeError

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


class TokenExchangeForm(Query):
    """The request to exchange the ID token of a CI job for a key."""

    grant_type: Annotated[str, Field(description="The exchange of tokens", json_schema_extra={"const": GRANT_TYPE})]
    subject_token: Annotated[
        str, StringConstraints(min_length=1), Field(description="ID token, whose audience is RESULTS_PUBLIC_URL")
    ]
    subject_token_type: Annotated[
        Literal["urn:ietf:params:oauth:token-type:jwt", "urn:ietf:params:oauth:token-type:id_token"],
        Field(description="Type of the token; both values mean the same"),
    ]
    scope: Annotated[
        str | None,
        Field(
            description="`project:` and the ID of the project of the key. Required if publishers of several projects"
            " accept the token",
            examples=["project:shop"],
        ),
    ] = None
    organization: Annotated[
        str | None,
        Field(
            description="Slug of the organization. Required if publishers of several organizations have the IDs of the"
            " token",
            examples=["acme"],
        ),
    ] = None


@closed
class IssuedToken(TypedDict):
    """The key of a CI job."""

    access_token: Annotated[str, Field(description="The API key")]
    issued_token_type: Annotated[
        Literal["urn:ietf:params:oauth:token-type:access_token"], Field(description="Type of `access_token`")
    ]
    token_type: Annotated[Literal["Bearer"], Field(description="Scheme of the header `Authorization`")]
    expires_in: Annotated[int, Field(description="Number of seconds until the key expires")]
    scope: Annotated[str, Field(description="Project of the key", examples=["project:shop"])]


@closed
class TokenError(TypedDict):
    """The reason why a token isn't exchanged (RFC 6749, section 5.2)."""

    error: Annotated[ExchangeError, Field(description="The error code")]
    error_description: Annotated[str, Field(description="What to check")]
    projects: NotRequired[
        Annotated[list[str], Field(description="With `invalid_scope`: the projects that the scope can name")]
    ]
