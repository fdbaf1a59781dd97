"""Removal of secrets from text that is written to logs."""

import re
from typing import Final

_REDACTED: Final = "[redacted]"

# The group before each secret stays, so that a reader can see which credential it was.
_SECRETS: Final = tuple(
    re.compile(pattern)
    for pattern in (
        r"(\bzof_[0-9a-f]{20}_)\w+",  # an API key: its ID stays
        r"(\bwhsec_)[A-Za-z0-9+/=_-]+",  # a signing secret
        r"(://[^\s/:@\"']*:)[^\s/\"']+(?=@)",  # the password of a URL
        r"(\b(?i:password|x-amz-signature|x-amz-security-token)=)[^\s&\"']+",
        # a key of the storage or of the encryption
        r"(\b(?i:\w*(?:secret_access_key|session_token|secret_keys))(?:=[\"']?|[\"']\s*:\s*[\"']))[^\s\"'&]+",
        r"((?i:\b(?:bearer|basic))\s+)[A-Za-z0-9._~+/=-]{16,}",  # an Authorization header
    )
)


def redact_secrets(text: str) -> str:
    """Return the text without API keys, webhook secrets, keys of storage and encryption, passwords, and headers."""
    for pattern in _SECRETS:
        text = pattern.sub(rf"\g<1>{_REDACTED}", text)
    return text
