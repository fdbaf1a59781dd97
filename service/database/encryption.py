"""Encryption of the secrets that the database must store in a reversible form: the signing secrets of webhooks."""

from collections.abc import Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from service.domain.errors import ServiceError

if TYPE_CHECKING:
    from cryptography.fernet import MultiFernet  # imported only if keys are set: the library uses 6 MiB


_MARK: Final = "fernet:"  # a stored secret is fernet:<key ID>:<token>, or plain text
_PLAIN_MARK: Final = "plain:"  # of a plain text that starts with a mark
_KEY_ID_CHARS: Final = 8


class InvalidSecretKey(ValueError):
    """An encryption key isn't the URL-safe base64 of 32 bytes; the message contains its position."""


class UnknownSecretKey(ServiceError):
    """A stored secret is encrypted with a key that this process doesn't have."""


class SecretCipher:
    """Encrypts with the first of its keys, and decrypts with all of them. Without keys, it stores plain text.

    It always reads plain text, so that secrets from before the first key stay valid.
    """

    def __init__(self, keys: Sequence[str] = ()) -> None:
        """Use Fernet keys. Raises InvalidSecretKey."""
        self._fernet = _multi_fernet(keys) if keys else None
        self.key_ids: Final = tuple(_key_id(key) for key in keys)

    @property
    def prefix(self) -> str:
        """The start of the secrets that the first key encrypts; empty without keys."""
        return f"{_MARK}{self.key_ids[0]}:" if self.key_ids else ""

    def encrypt(self, secret: str) -> str:
        """Return the text to store."""
        if self._fernet is None:
            return _PLAIN_MARK + secret if secret.startswith((_MARK, _PLAIN_MARK)) else secret
        return self.prefix + self._fernet.encrypt(secret.encode()).decode()

    def decrypt(self, stored: str) -> str:
        """Return the secret of a stored text. Raises UnknownSecretKey."""
        if not stored.startswith(_MARK):
            return stored.removeprefix(_PLAIN_MARK)
        key_id, _, token = stored.removeprefix(_MARK).partition(":")
        if self._fernet is None or key_id not in self.key_ids:
            raise UnknownSecretKey(f"RESULTS_SECRET_KEYS: no key has the ID {key_id}")
        from cryptography.fernet import InvalidToken

        try:
            return self._fernet.decrypt(token).decode()
        except InvalidToken:
            raise UnknownSecretKey(f"RESULTS_SECRET_KEYS: the key {key_id} doesn't decrypt a secret") from None


def _multi_fernet(keys: Sequence[str]) -> "MultiFernet":
    from cryptography.fernet import Fernet, MultiFernet

    fernets = []
    for position, key in enumerate(keys, 1):
        try:
            fernets.append(Fernet(key))
        except ValueError:
            raise InvalidSecretKey(f"key {position} must be 32 bytes in URL-safe base64") from None
    return MultiFernet(fernets)


def _key_id(key: str) -> str:
    """Return an ID that doesn't reveal the key, because the key is random."""
    return sha256(key.encode()).hexdigest()[:_KEY_ID_CHARS]
