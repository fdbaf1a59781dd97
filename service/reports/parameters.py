"""Parameters of cases, which are part of their names."""

import re
from typing import Final

from service.reports.paths import without_folder
from service.reports.suites import MAX_LABEL

# The text of an object without a method `toString`: its class, and a hash that is different in each run.
# The search starts only at the start of a name, because it would otherwise examine a long name for each character.
_OBJECT: Final = re.compile(
    r"(?<![\w$.])(\[+[BCDFIJSZ]|(?:\[+L)?(?:(?:[^\W\d]|\$)[\w$]*\.)*[A-Z_$][\w$]*(?:/0x[0-9a-f]+|/\d+)?;?)"
    r"@[0-9a-f]{1,8}(?![\w.@])"
)
_LAMBDA: Final = re.compile(r"\$\$Lambda[$\w]*/(?:0x)?[0-9a-f]+")  # is numbered in each run
_MOCK: Final = re.compile(r", hashCode: \d+")


def portable_value(value: str) -> str:
    """Return the text of a parameter without the hash of an object and without an absolute path."""
    value = value[:MAX_LABEL]
    if "@" in value:
        value = _OBJECT.sub(r"\1", _LAMBDA.sub("$$Lambda", value))
    return without_folder(_MOCK.sub("", " ".join(value.split())))
