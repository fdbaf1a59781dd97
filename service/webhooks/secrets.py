"""Secrets of webhooks: their encryption with a new key, and the keys that a process lacks.

The command line imports this module without the HTTP client of deliveries, which takes a tenth of a second to load.
"""

from typing import Final

from service.database.database import Connection
from service.database.encryption import SecretCipher
from service.webhooks import store

_STEP: Final = 500  # webhooks


async def encrypt_secrets(connection: Connection, cipher: SecretCipher) -> int:
    """Encrypt every secret with the first key, and return the number of changed webhooks.

    Requires a key. Raises UnknownSecretKey, after which the finished steps remain.
    """
    count = 0
    while changed := await _encrypt_step(connection, cipher):
        count += changed
    return count


async def find_unknown_keys(connection: Connection, cipher: SecretCipher) -> list[str]:
    """Return the IDs of the keys that encrypt stored secrets and that the cipher doesn't have."""
    return sorted(set(await store.find_key_ids(connection)) - set(cipher.key_ids))


async def _encrypt_step(connection: Connection, cipher: SecretCipher) -> int:
    async with connection.transaction():
        stored = await store.lock_secrets(connection, cipher.prefix, _STEP)
        for one in stored:
            previous = one.previous_secret and cipher.encrypt(cipher.decrypt(one.previous_secret))
            secret = cipher.encrypt(cipher.decrypt(one.secret))
            await store.replace_secrets(connection, one._replace(secret=secret, previous_secret=previous))
    return len(stored)
