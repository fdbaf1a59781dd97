"""The rules about which producers can send events of an organization or project over the broker."""

import shlex
from collections.abc import Collection, Mapping
from typing import Literal, NamedTuple

from service.domain.ids import OrgId

ProducerIdentity = Literal["optional", "required"]


class Registration(NamedTuple):
    """An organization whose events a producer can send. `project_id` is the only project, or None for all projects."""

    org_id: OrgId
    project_id: str | None


Registrations = Mapping[str, Collection[Registration]]  # by RabbitMQ user


class Sender(NamedTuple):
    """The RabbitMQ user that sent a message, or None if the message doesn't state it, and its registrations.

    If the identity isn't required, only users with a registration are checked.
    """

    user: str | None = None
    registrations: Collection[Registration] = ()
    is_required: bool = False

    def find_refusal(self, org_id: OrgId, slug: str, project_id: str | None) -> str | None:
        """Return why an event of this project isn't accepted, or None. An invalid event can lack the project."""
        projects = None, project_id
        if not self._is_checked or any(
            registered.org_id == org_id and (project_id is None or registered.project_id in projects)
            for registered in self.registrations
        ):
            return None
        project = f"project {project_id!r} of " if project_id else ""
        option = f" --project {shlex.quote(project_id)}" if project_id else ""
        return self._describe(f"{project}organization {slug!r}", slug, option)

    def find_refusal_of_data(self, org_id: OrgId, slug: str) -> str | None:
        """Return why an event whose data is in storage isn't accepted, or None. Its project isn't known yet."""
        if not self._is_checked or Registration(org_id, None) in self.registrations:
            return None
        return self._describe(f"all projects of organization {slug!r}, which an event with dataref needs", slug, "")

    @property
    def _is_checked(self) -> bool:
        return self.is_required or bool(self.registrations)

    def _describe(self, missing: str, slug: str, option: str) -> str:
        if self.user is None:
            return (
                "user_id: the message doesn't state its RabbitMQ user. Set this property to the user of the connection,"
                f" and run `zof-results producers add USER --organization {slug}{option}`"
            )
        command = f"zof-results producers add {shlex.quote(self.user)} --organization {slug}{option}"
        return f"user_id: {self.user!r} isn't registered for {missing}. To allow it, run `{command}`"
