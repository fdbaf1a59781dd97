"""The request bodies and responses of members."""

from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints
from typing_extensions import TypedDict

from service.contracts.queries import Name, Patch
from service.contracts.responses import ActorName, Time, closed
from service.contracts.validation import PRINTABLE
from service.domain.errors import InvalidRequest
from service.identity.members.model import MAX_EMAIL, MAX_GROUP, MemberRole, NewMember, normalize_email

_EMAIL_SCHEMA: Final = {"pattern": "^[^@ ]+@[^@ ]+$", "maxLength": MAX_EMAIL, "examples": ["ada@example.org"]}
_PROJECT: Final = "The only project that the member can access; null if the member can access all projects"
_BY_EMAIL_OR_GROUP: Final = "Null if the member is a group"

Email = Annotated[str, AfterValidator(normalize_email), Field(json_schema_extra=dict(_EMAIL_SCHEMA))]
Group = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_GROUP, pattern=PRINTABLE)
]  # fmt: skip


class MemberIn(BaseModel):
    """A member to add: the person with an email, or the people in a group."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    email: Annotated[
        Email | None, Field(description="Email that the identity provider has verified. Excludes group")
    ] = None
    group: Annotated[Group | None, Field(description="Group that the identity provider states. Excludes email")] = None
    role: MemberRole
    project_id: Annotated[Name | None, Field(description=_PROJECT)] = None

    def to_domain(self) -> NewMember:
        """Return the member. Raises InvalidRequest unless either the email or the group is set."""
        if (self.email is None) == (self.group is None):
            raise InvalidRequest("email: exactly one of email and group is required", "email")
        return NewMember(self.email, self.group, self.role, self.project_id)


class MemberPatch(Patch):
    """The fields of a member to change. Absent fields keep their values."""

    role: MemberRole = Field(default_factory=lambda: "viewer")
    project_id: Annotated[Name | None, Field(description=_PROJECT)] = None


@closed
class Member(TypedDict):
    """A person or group that can sign in to the console."""

    id: Annotated[str, StringConstraints(pattern=r"^mem_[0-9a-f]{32}$")]
    email: Annotated[str | None, Field(description=f"Email in lower case. {_BY_EMAIL_OR_GROUP}")]
    group: Annotated[str | None, Field(description="Group of the identity provider. Null if the member has an email")]
    role: MemberRole
    project_id: Annotated[str | None, Field(description=_PROJECT)]
    name: Annotated[
        str | None,
        Field(
            description="Name of the person who signed in with the email first. Nobody else with the same email can"
            " use the membership. Null before that, and for a group"
        ),
    ]
    last_seen_at: Annotated[
        Time | None, Field(description="Time of a recent request of the member; null if nobody has signed in yet")
    ]
    created_by: Annotated[str, Field(description="ID of the API key or person, or `command line`")]
    created_by_name: ActorName
    created_at: Time
