"""The command `webhooks encrypt-secrets`."""

import click

from service.administration.running import run, with_connection
from service.commands import print_line
from service.resources import MissingSetting, open_secret_cipher
from service.settings import read_settings
from service.usecases.webhooks.encrypt_secrets import encrypt_secrets


@click.command("encrypt-secrets")
def encrypt_webhook_secrets() -> None:
    """Encrypt all stored secrets with the first key.

    Operators run this command: it uses the database instead of the API.

    The keys are in RESULTS_SECRET_KEYS or in the file RESULTS_SECRET_KEYS_FILE.

    To replace a key, put the new key after the old one in all processes, then before it, then run this command, and
    then remove the old key.
    """
    cipher = open_secret_cipher(read_settings())
    if not cipher.key_ids:
        raise MissingSetting("RESULTS_SECRET_KEYS or RESULTS_SECRET_KEYS_FILE: is required")
    count = run(with_connection(lambda connection: encrypt_secrets(connection, cipher)))
    print_line(f"encrypted the secrets of {count} webhooks with the key {cipher.key_ids[0]}", err=True)
