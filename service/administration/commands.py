"""All commands of operators."""

from typing import Final

import click

from service.administration.audit import audit_commands
from service.administration.keys import key_commands
from service.administration.organizations import organization_commands
from service.administration.retention import retention
from service.administration.schema import schema
from service.administration.webhooks import webhook_commands

ADMINISTRATION_COMMANDS: Final[tuple[click.Command, ...]] = (
    schema, retention, organization_commands, key_commands, webhook_commands, audit_commands,
)  # fmt: skip
