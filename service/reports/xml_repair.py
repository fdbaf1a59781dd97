"""Replacement of characters that XML doesn't permit, so that one of them, such as a color, doesn't reject a report."""

import codecs
import re
from typing import Final

_REPLACEMENT: Final = "\ufffd"
_PERMITTED: Final = (range(0x20, 0xD800), range(0xE000, 0xFFFE), range(0x10000, 0x110000), (9, 10, 13))
_INVALID: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_CDATA_START: Final = "<![CDATA["
_CDATA_END: Final = "]]>"
_CDATA_OR_REFERENCE: Final = re.compile(r"<!\[CDATA\[|\]\]>|&#(?:[0-9]+|x[0-9a-fA-F]+);")
_MAX_DIGITS: Final = len("1114111")  # U+10FFFF
# The start of a reference or of a CDATA delimiter, which can continue in the next chunk.
_UNFINISHED: Final = re.compile(r"(?:&(?:#[xX0-9a-fA-F]{0,20})?|<(?:!(?:\[[CDAT]{0,5})?)?|\]{1,2})\Z")
_MAX_UNFINISHED: Final = 32  # characters


class XmlRepair:
    """Converts the chunks of an XML file to UTF-8, and replaces invalid characters and references by U+FFFD.

    References in a CDATA section are text. Declared entities aren't changed. `replaced` is the number of replacements.
    """

    def __init__(self, encoding: str) -> None:
        self.replaced = 0
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._unfinished = ""
        self._in_cdata = False

    def repair(self, chunk: bytes, *, final: bool = False) -> bytes:
        """Return the next chunk. Parts that the next chunk can continue are returned with the next chunk."""
        text = self._unfinished + self._decode(chunk, final)
        self._unfinished = ""
        if not final and (found := _UNFINISHED.search(text[-_MAX_UNFINISHED:])):
            self._unfinished = found[0]
            text = text[: -len(self._unfinished)]
        text, count = _INVALID.subn(_REPLACEMENT, text)
        self.replaced += count
        return _CDATA_OR_REFERENCE.sub(self._repair_match, text).encode()

    def _decode(self, chunk: bytes, final: bool) -> str:
        state = self._decoder.getstate()
        try:
            return self._decoder.decode(chunk, final)
        except UnicodeDecodeError:
            self._decoder.setstate(state)
        self._decoder.errors = "replace"
        text = self._decoder.decode(chunk, final)
        self._decoder.errors = "strict"
        self.replaced += text.count(_REPLACEMENT)
        return text

    def _repair_match(self, found: re.Match[str]) -> str:
        """Return a delimiter or a valid reference unchanged, and U+FFFD for an invalid reference outside of CDATA.

        The start of a section in a comment counts as a section, so that expat rejects an invalid reference after it.
        """
        matched = found[0]
        if matched in (_CDATA_START, _CDATA_END):
            self._in_cdata = matched == _CDATA_START
        elif not self._in_cdata and not _is_valid(matched[2:-1]):
            self.replaced += 1
            return _REPLACEMENT
        return matched


def _is_valid(reference: str) -> bool:
    """Return whether XML permits the character of a reference, such as `x1F` or `9`."""
    digits = reference.lstrip("x0")
    if len(digits) > _MAX_DIGITS:
        return False
    number = int(digits or "0", 16 if reference.startswith("x") else 10)
    return any(number in numbers for numbers in _PERMITTED)
