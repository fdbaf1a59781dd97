"""Replacement of characters that XML doesn't permit, so that one of them, such as a color, doesn't reject a report."""

import codecs
import re
from typing import Final

_REPLACEMENT: Final = "\ufffd".encode()
_CONTROLS: Final = bytes(range(9)) + b"\x0b\x0c" + bytes(range(14, 32))
_NON_CHARACTER: Final = b"\xef\xbf"  # start of U+FFFE and U+FFFF, and of valid characters
_INVALID: Final = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]|\xef\xbf[\xbe\xbf]")
# References that can be invalid. Short ones to other characters are frequent, such as &#10; and &#39;.
_REFERENCE: Final = re.compile(
    rb"&#(?:0*(?:[0-8]|1[124-9]|2[0-9]|3[01]|[0-9]{5,})|x0*(?:[0-8bBcCeEfF]|1[0-9a-fA-F]|[0-9a-fA-F]{4,}));"
)
_MAX_DIGITS: Final = len("1114111")  # U+10FFFF
_PERMITTED: Final = (range(0x20, 0xD800), range(0xE000, 0xFFFE), range(0x10000, 0x110000), (9, 10, 13))
_CDATA_OR_REFERENCE: Final = re.compile(rb"<!\[CDATA\[|\]\]>|" + _REFERENCE.pattern)
_CDATA_START: Final = b"<![CDATA["
_CDATA_END: Final = b"]]>"
# The start of a reference or of a CDATA delimiter, which can continue in the next chunk.
_UNFINISHED: Final = re.compile(rb"(?:&(?:#[xX0-9a-fA-F]{0,20})?|<(?:!(?:\[[CDAT]{0,5}\[?)?)?|\]{1,2})\Z")
_MAX_UNFINISHED: Final = 32  # bytes
_UTF_8: Final = "utf-8"
_ASCII_COMPATIBLE: Final = frozenset({_UTF_8, "iso8859-1", "ascii"})


class XmlRepair:
    """Converts the chunks of an XML file to UTF-8, and replaces invalid characters and references by U+FFFD.

    References in a CDATA section are text. Declared entities aren't changed. `replaced` is the number of replacements.
    """

    def __init__(self, encoding: str) -> None:
        self.replaced = 0
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._is_utf_8 = encoding == _UTF_8
        self._is_ascii_compatible = encoding in _ASCII_COMPATIBLE
        self._rest = b""  # the start of a UTF-8 character
        self._unfinished = b""
        self._in_cdata = False

    def repair(self, chunk: bytes, *, final: bool = False) -> bytes:
        """Return the next chunk. Parts that the next chunk can continue are returned with the next chunk."""
        data = self._unfinished + self._to_utf_8(chunk, final)
        self._unfinished = b""
        if not final and (found := _UNFINISHED.search(data[-_MAX_UNFINISHED:])):
            self._unfinished = found[0]
            data = data[: -len(self._unfinished)]
        # 29 searches for one byte take less time than one search with a pattern, or than a translation.
        if any(control in data for control in _CONTROLS) or _NON_CHARACTER in data:
            data, count = _INVALID.subn(_REPLACEMENT, data)
            self.replaced += count
        return self._repair_references(data)

    def _to_utf_8(self, chunk: bytes, final: bool) -> bytes:
        if self._is_ascii_compatible and not self._rest and chunk.isascii():
            return chunk
        return self._valid_utf_8(self._rest + chunk, final) if self._is_utf_8 else self._decode(chunk, final)

    def _valid_utf_8(self, data: bytes, final: bool) -> bytes:
        try:
            size = codecs.utf_8_decode(data, "strict", final)[1]
            valid = data[:size]
        except UnicodeDecodeError:
            text, size = codecs.utf_8_decode(data, "replace", final)
            valid = text.encode()
            self.replaced += text.count("\ufffd") - data[:size].count(_REPLACEMENT)
        self._rest = data[size:]
        return valid

    def _decode(self, chunk: bytes, final: bool) -> bytes:
        state = self._decoder.getstate()
        try:
            text = self._decoder.decode(chunk, final)
        except UnicodeDecodeError:
            self._decoder.setstate(state)
            self._decoder.errors = "replace"
            text = self._decoder.decode(chunk, final)
            self._decoder.errors = "strict"
            self.replaced += text.count("\ufffd")
        return text.encode(errors="replace")

    def _repair_references(self, data: bytes) -> bytes:
        """Replace references outside of CDATA sections, and determine whether the data ends in a section.

        The start of a section in a comment counts as a section, so that expat rejects an invalid reference after it.
        """
        if b"&" in data and data.rfind(b"&#") >= 0 and _REFERENCE.search(data):
            return _CDATA_OR_REFERENCE.sub(self._repair_match, data)
        start, end = data.rfind(_CDATA_START), data.rfind(_CDATA_END)
        if start != end:  # otherwise, neither occurs
            self._in_cdata = start > end
        return data

    def _repair_match(self, found: re.Match[bytes]) -> bytes:
        matched = found[0]
        if matched in (_CDATA_START, _CDATA_END):
            self._in_cdata = matched == _CDATA_START
        elif not self._in_cdata and not _is_valid(matched[2:-1]):
            self.replaced += 1
            return _REPLACEMENT
        return matched


def _is_valid(reference: bytes) -> bool:
    """Return whether XML permits the character of a reference, such as `x1F` or `9`."""
    digits = reference.lstrip(b"x0")
    if len(digits) > _MAX_DIGITS:
        return False
    number = int(digits or b"0", 16 if reference.startswith(b"x") else 10)
    return any(number in numbers for numbers in _PERMITTED)
