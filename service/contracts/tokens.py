"""The form and the responses of the exchange of ID tokens, in the terms of RFC 8693 and RFC 6749."""

from typing import Annotated, Literal, NotRequired

from pydantic import Field, StringConstraints
from typing_extensions import TypedDict

from service.contracts.queries import Query
from service.contracts.responses import closed
from service.domain.token_exchanges import GRANT_TYPE, ExchangeError


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
