"""All commands of operators, except `webhooks encrypt-secrets`, which is in a group of users."""

from typing import Final

import click

from service.administration.audit import audit_commands
from service.administration.keys import key_commands
from service.administration.members import member_commands
from service.administration.organizations import organization_commands
from service.administration.producers import producer_commands
from service.administration.publishers import publisher_commands
from service.administration.retention import retention
from service.administration.schema import schema

ADMINISTRATION_COMMANDS: Final[tuple[click.Command, ...]] = (
    schema, retention, organization_commands, key_commands, member_commands, publisher_commands,
    producer_commands, audit_commands,
)  # fmt: skip
