"""All commands of operators, except `webhooks encrypt-secrets`, which is in a group of users."""

from typing import Final

import click

from service.administration.keys import key_commands
from service.administration.members import member_commands
from service.administration.organizations import audit_commands, organization_commands, retention
from service.administration.producers import producer_commands
from service.administration.publishers import publisher_commands
from service.administration.running import run_with_connection
from service.administration.schema import schema
from service.command_line import print_line
from service.processes import MissingSetting, open_secret_cipher
from service.settings import read_settings

ADMINISTRATION_COMMANDS: Final[tuple[click.Command, ...]] = (
    schema, retention, organization_commands, key_commands, member_commands, publisher_commands,
    producer_commands, audit_commands,
)  # fmt: skip


@click.command("encrypt-secrets")
def encrypt_webhook_secrets() -> None:
    """Encrypt all stored secrets with the first key.

    Operators run this command: it uses the database instead of the API.

    The keys are in RESULTS_SECRET_KEYS or in the file RESULTS_SECRET_KEYS_FILE.

    To replace a key, put the new key after the old one in all processes, then before it, then run this command, and
    then remove the old key.
    """
    from service.webhooks.secrets import encrypt_secrets  # as in service/processes.py

    cipher = open_secret_cipher(read_settings())
    if not cipher.key_ids:
        raise MissingSetting("RESULTS_SECRET_KEYS or RESULTS_SECRET_KEYS_FILE: is required")
    count = run_with_connection(encrypt_secrets, cipher)
    print_line(f"encrypted the secrets of {count} webhooks with the key {cipher.key_ids[0]}", err=True)
