"""Parts of suites and names that differ in each run or on each machine: hashes, addresses, and folders."""

import re
from collections.abc import Iterable
from typing import Any, Final

from service.reports.paths import without_folder, without_machine
from service.reports.suites import MAX_LABEL


def _object(digits: str) -> re.Pattern[str]:
    """Return the pattern of the text of a Java object without a method `toString`: its class, and a hash.

    The search starts only at the start of a name, because it would otherwise examine a long name for each character.
    """
    return re.compile(
        r"(?<![\w$.])((?<!\[)\[+[BCDFIJSZ]"
        r"|(?:(?<!\[)\[+L)?(?:(?:[^\W\d]|\$)[\w$]*\.)*[A-Z_$][\w$]*(?:/0x[0-9a-f]+|/\d+)?;?)"
        rf"@[0-9a-f]{{{digits}}}(?![\w.@])"
    )


_OBJECT: Final = _object("1,8")  # a complete parameter is the text of an object
_OBJECT_IN_TEXT: Final = _object("5,8")  # a name can contain `React@18`; a shorter hash is one in 2,000
_LAMBDA: Final = re.compile(r"\$\$Lambda[$\w]*/(?:0x)?[0-9a-f]+")  # is numbered in each run
_MOCK: Final = re.compile(r", hashCode: \d+")
# `<shop.Cart object at 0x7f2c>` and `<Mock name='cart' id='1402'>` of Python, `#<Cart:0x0055 @items=[]>` of Ruby,
# `<Cart: 0x6000>` of Objective-C, and pointers of Go
_ADDRESS: Final = re.compile(
    r" at 0x[0-9a-fA-F]{6,16}(?=>|, file )| id='\d{6,20}'(?=>)|(<[\w:.$]+?):\s?0x[0-9a-fA-F]{6,16}(?=[\s>;])"
    r"|\b(0x)c0[0-9a-f]{8}\b"
)


def portable_value(value: str) -> str:
    """Return the text of a parameter without the hash of an object and without an absolute path."""
    value = value[:MAX_LABEL]
    if "@" in value:
        value = _OBJECT.sub(r"\1", _LAMBDA.sub("$$Lambda", value))
    return without_folder(_MOCK.sub("", " ".join(value.split())))


def portable_text(text: str) -> str:
    """Return a suite or a name without hashes, addresses, and the folders of users and of temporary files.

    Only the part that can be stored is examined.
    """
    text, rest = text[:MAX_LABEL], text[MAX_LABEL:]
    if "@" in text:
        text = _OBJECT_IN_TEXT.sub(r"\1", _LAMBDA.sub("$$Lambda", text))
    if "0x" in text or "id='" in text:
        text = _ADDRESS.sub(r"\1\2", text)
    if "/" in text or "\\" in text:
        text = without_machine(text)
    return text + rest


def make_portable(results: Iterable[Any]) -> None:
    """Replace the suites and the names of results by portable ones. Adjacent results mostly have the same suite."""
    known = portable = ""
    for result in results:
        if not isinstance(result, dict):
            continue
        suite, name = result.get("suite"), result.get("name")
        if isinstance(name, str):
            result["name"] = portable_text(name)
        if isinstance(suite, str):
            if suite != known:
                known, portable = suite, portable_text(suite)
            result["suite"] = portable
