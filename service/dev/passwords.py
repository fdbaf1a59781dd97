"""Random passwords of private servers, stored in files that only their owner can read."""

import secrets
from pathlib import Path


def load_or_create_password(file: Path) -> str:
    """Return the password in `file`; create both if the file doesn't exist."""
    if not file.exists():
        file.touch(mode=0o600)
        file.write_text(secrets.token_urlsafe(24))
    return file.read_text()
