"""The header that makes a browser save a file instead of showing it on the origin that serves it."""

from typing import Final
from urllib.parse import quote

_REPLACEMENT: Final = "_"


def content_disposition(name: str, *, inline: bool = False) -> str:
    """Return the header value with an ASCII file name and the exact name in UTF-8 (RFC 6266).

    A browser saves the file, unless it is `inline`.
    """
    plain = "".join(letter if letter.isascii() and letter.isprintable() else _REPLACEMENT for letter in name)
    plain = plain.replace("\\", _REPLACEMENT).replace('"', _REPLACEMENT)
    return f"{'inline' if inline else 'attachment'}; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
