"""The names of collections and the escape sequences of xUnit.net XML."""

import re
from typing import Final

from service.reports.paths import portable_name

# In version 3, the name of a collection ends with its ID, which depends on the machine.
_COLLECTION: Final = re.compile(r"(?:Test collection for )?(.*?)(?: \(id: [0-9a-f]+\))?", re.DOTALL)
_ESCAPE: Final = re.compile(r'\\([nrt"\\])')
_ESCAPED: Final = {"n": "\n", "r": "\r", "t": "\t"}


def name_of_collection(name: str) -> str:
    """Return the name of a collection, or the class that it was created for."""
    match = _COLLECTION.fullmatch(name)
    return portable_name(match[1]) if match else name


def unescaped(text: str) -> str:
    """Return a text without escape sequences. Most texts need no search for an escaped backslash."""
    if "\\" not in text:
        return text
    if "\\\\" in text:
        return _ESCAPE.sub(lambda match: _ESCAPED.get(match[1], match[1]), text)
    return text.replace('\\"', '"').replace("\\n", "\n").replace("\\r", "\r").replace("\\t", "\t")
