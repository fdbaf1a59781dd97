"""Webhook secrets are encrypted at rest, and keys can be replaced without a failed signature."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from standardwebhooks.webhooks import Webhook

from service.database.encryption import SecretCipher, UnknownSecretKey
from service.domain.ids import OrgId
from service.processes import MissingSetting, open_secret_cipher
from service.settings import Settings
from service.webhooks.operations import NewWebhook, WebhookRef, rotate_secret
from service.webhooks.secrets import encrypt_secrets
from tests.receivers import receiving
from tests.run_events import run_event
from tests.stored import Store
from tests.webhooks.dispatching import PLAIN, add_webhook, attempted, dispatching

OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()


async def stored_secrets(store: Store) -> list[str]:
    rows = await store.pool.fetch("SELECT unnest(ARRAY[secret, previous_secret]) AS secret FROM webhooks")
    return [row["secret"] for row in rows if row["secret"]]


async def verify_delivery(store: Store, cipher: SecretCipher, webhook: NewWebhook, url: str, *secrets: str) -> None:
    """Deliver an event with this cipher, and verify its signature with each of the secrets."""
    async with receiving() as receiver, dispatching(store, cipher=cipher):
        await store.pool.execute("UPDATE webhooks SET url = $1", receiver.url)
        await store.pool.execute("DELETE FROM deliveries")
        await store.ingest(run_event(f"run_{url}"))
        await attempted(store, webhook)
    [posted] = receiver.received
    for secret in secrets:
        assert Webhook(secret).verify(posted.body, dict(posted.headers)) == posted.event


async def test_secrets_are_stored_encrypted_and_sign_deliveries(store: Store) -> None:
    cipher = SecretCipher([NEW])
    webhook = await add_webhook(store, "http://127.0.0.1:9/hook", cipher=cipher)
    async with store.pool.acquire() as connection:
        secret = await rotate_secret(connection, cipher, WebhookRef(OrgId(1), webhook.webhook_id))
    stored = await stored_secrets(store)
    assert len(stored) == 2
    assert not any("whsec_" in text or text in (webhook.secret, secret) for text in stored)
    await verify_delivery(store, cipher, webhook, "1", webhook.secret, secret)


async def test_plain_secret_from_before_the_first_key_still_signs(store: Store) -> None:
    webhook = await add_webhook(store, "http://127.0.0.1:9/hook", cipher=PLAIN)
    assert await stored_secrets(store) == [webhook.secret]
    await verify_delivery(store, SecretCipher([NEW]), webhook, "1", webhook.secret)


async def test_key_is_replaced_in_steps_without_a_failed_signature(store: Store) -> None:
    plain = await add_webhook(store, "http://127.0.0.1:9/hook", ("export.completed",), cipher=PLAIN)
    webhook = await add_webhook(store, "http://127.0.0.1:9/hook", cipher=SecretCipher([OLD]))
    await verify_delivery(store, SecretCipher([OLD, NEW]), webhook, "1", webhook.secret)
    both = SecretCipher([NEW, OLD])
    await verify_delivery(store, both, webhook, "2", webhook.secret)
    async with store.pool.acquire() as connection:
        assert await encrypt_secrets(connection, both) == 2
        assert await encrypt_secrets(connection, both) == 0
    only_new = SecretCipher([NEW])
    await verify_delivery(store, only_new, webhook, "3", webhook.secret)
    assert sorted(map(only_new.decrypt, await stored_secrets(store))) == sorted([plain.secret, webhook.secret])


async def test_command_encrypts_all_secrets_with_the_first_key(store: Store, database_url: str) -> None:
    await add_webhook(store, "http://127.0.0.1:9/hook", cipher=PLAIN)
    finished = run_command(database_url, "service", "webhooks", "encrypt-secrets", RESULTS_SECRET_KEYS=NEW)
    assert (finished.returncode, "1 webhooks" in finished.stderr) == (0, True), finished.stderr
    assert all(text.startswith("fernet:") for text in await stored_secrets(store))


async def test_consumer_without_a_required_key_does_not_start(store: Store, database_url: str) -> None:
    await add_webhook(store, "http://127.0.0.1:9/hook", cipher=SecretCipher([OLD]))
    finished = run_command(database_url, "consumers", "webhooks", RESULTS_SECRET_KEYS=NEW)
    assert finished.returncode == 1
    assert f"RESULTS_SECRET_KEYS: stored webhook secrets need the keys with the IDs {key_id(OLD)}" in finished.stderr
    assert NEW not in finished.stderr


def run_command(database_url: str, module: str, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "RESULTS_DATABASE_URL": database_url, **settings}
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=20)


def key_id(key: str) -> str:
    return SecretCipher([key]).key_ids[0]


def settings(**values: Any) -> Settings:
    return Settings(**values)


def test_keys_are_read_from_a_variable_or_a_file(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"# newest first\n{NEW}\n\n{OLD}\n")
    from_file = open_secret_cipher(settings(secret_keys_file=file))
    from_variable = open_secret_cipher(settings(secret_keys=f"{NEW}, {OLD}"))
    assert from_file.key_ids == from_variable.key_ids == (key_id(NEW), key_id(OLD))
    assert from_variable.decrypt(from_file.encrypt("whsec_1")) == "whsec_1"


@pytest.mark.parametrize("keys", ["short", f"{NEW},{NEW[:-4]}", "\u00e9" * 44], ids=["short", "truncated", "text"])
def test_invalid_key_is_rejected_without_being_shown(keys: str) -> None:
    with pytest.raises(MissingSetting, match="RESULTS_SECRET_KEYS: key") as raised:
        open_secret_cipher(settings(secret_keys=keys))
    assert keys not in str(raised.value)
    assert keys not in repr(settings(secret_keys=keys))


def test_missing_or_empty_key_file_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    for name in ("missing", "empty"):
        with pytest.raises(MissingSetting, match="RESULTS_SECRET_KEYS_FILE"):
            open_secret_cipher(settings(secret_keys_file=tmp_path / name))


def test_start_without_a_key_logs_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    open_secret_cipher(settings())
    assert "webhook_secrets_not_encrypted" in "".join(capsys.readouterr())


def test_secret_of_an_unknown_key_is_not_decrypted() -> None:
    stored = SecretCipher([OLD]).encrypt("whsec_1")
    for cipher in (PLAIN, SecretCipher([NEW])):
        with pytest.raises(UnknownSecretKey):
            cipher.decrypt(stored)
