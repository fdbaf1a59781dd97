"""Random passwords of the private servers, kept in a file that only their owner reads."""

import secrets
from pathlib import Path


def kept_password(file: Path) -> str:
    if not file.exists():
        file.touch(mode=0o600)
        file.write_text(secrets.token_urlsafe(24))
    return file.read_text()
