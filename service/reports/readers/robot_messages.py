"""The messages of Robot Framework: texts of HTML, the files that they show, and the executions of merged results."""

import re
from collections.abc import Iterator
from html import unescape
from typing import Final

from service.reports.attachments import Attachment

_HTML: Final = "*HTML*"
_ELEMENT: Final = re.compile(r"<[^<>]*>")
_END_OF_LINE: Final = re.compile(r"<(?:br|hr|/p|/div|/tr|/li|/h[1-6])\b[^<>]*>", re.IGNORECASE)
_LINK: Final = re.compile(r"<(?:img|a|source|video)\s(?:[^<>]*?\s)?(?:src|href)=\"([^\"<>]{1,4096})\"", re.IGNORECASE)
_FILE: Final = re.compile(r"(?!(?!file:)[a-z][a-z0-9+.-]+:|//)[^#?]+\.[A-Za-z]\w{0,9}", re.ASCII | re.IGNORECASE)
# What `rebot --merge` writes: the newest execution is the first one.
_MERGED: Final = re.compile(
    r'\*HTML\* <span class="merge">T(?:est|ask) has been re-executed and results merged\.</span>'
)
_EXECUTION: Final = re.compile(
    r'<hr><span class="(?:new|old)-status">(?:New|Old) status:</span> <span class="[a-z ]+">([A-Z ]+)</span><br>'
    r'(?:<span class="(?:new|old)-message">(?:New|Old) message:</span> )?'
)


def text_of_html(html: str) -> str:
    """Return the text of HTML, with the lines that its elements end."""
    return unescape(_ELEMENT.sub("", _END_OF_LINE.sub("\n", html))).strip()


def text_of_message(message: str) -> str:
    """Return a message, or its text if it states that it is HTML."""
    return text_of_html(message.removeprefix(_HTML)) if message.startswith(_HTML) else message


def files_of(html: str) -> Iterator[Attachment]:
    """Yield the files that HTML shows or links to, without files on other machines and without embedded images."""
    for link in _LINK.findall(html):
        path = unescape(link)
        if _FILE.fullmatch(path):
            yield Attachment(path)


def merged_executions(message: str) -> list[tuple[str, str]]:
    """Return status and message of each execution of a merged result, the oldest one first. Other messages have none.

    For example, a test that failed with `no stock`, and passed in the second execution, has `FAIL` with `no stock`, and
    `PASS` without a message.
    """
    start = _MERGED.match(message)
    before, *parts = _EXECUTION.split(message[start.end() :]) if start else ("",)
    if before:
        return []
    executions = zip(parts[::2], map(text_of_html, parts[1::2]), strict=True)
    return [*executions][::-1]
