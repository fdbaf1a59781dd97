"""The context of a test of mochawesome: values that the test adds, and files that it names."""

import json
from collections.abc import Iterator
from typing import Any, Final

from service.contracts.run_events import ResultIn
from service.domain.properties import PropertyCollector
from service.reports.attachments import Attachment, kind_of, references
from service.reports.json_values import text_of, written_text
from service.reports.metadata import ReportMetadata

_UNTITLED: Final = "context"  # the name of a value without a title
_MAX_PATH: Final = 4_096
_SHOWN: Final = ("screenshot", "video")  # kinds of files whose paths can contain spaces


def add_context(result: ResultIn, context: str, metadata: ReportMetadata) -> None:
    """Add the files as references, and the other values as properties. The context is JSON in a text."""
    properties = PropertyCollector()
    attachments: list[Attachment] = []
    for title, value in _values_of(context):
        if isinstance(value, str) and _is_file(value):
            attachments.append(Attachment(value, title))
        elif value not in (None, "", []):
            metadata.dropped_properties += not properties.add(title or _UNTITLED, written_text(value))
    if attachments:
        result["artifacts"] = references(attachments)
    if properties.pairs:
        result["properties"] = properties.pairs


def _values_of(context: str) -> Iterator[tuple[str | None, Any]]:
    """Yield title and value of each item. The context is one item or a list of them, and an item can have a title."""
    try:
        parsed = json.loads(context)
    except (ValueError, RecursionError):
        parsed = context
    for item in parsed if isinstance(parsed, list) else [parsed]:
        if not isinstance(item, dict) or "value" not in item:
            yield None, item
            continue
        title = text_of(item, "title") or None
        value = item["value"]
        if isinstance(value, list) and all(isinstance(path, str) and _is_file(path) for path in value):
            yield from ((title, path) for path in value)  # screenshots of cypress-mochawesome-reporter
        else:
            yield title, value


def _is_file(value: str) -> bool:
    """Return whether a text is the path or the address of a file. An image can also be a data URL, which is none."""
    if len(value) > _MAX_PATH or not value.isprintable() or value.startswith("data:"):
        return False
    kind = kind_of(Attachment(value))
    return kind in _SHOWN or (kind != "other" and " " not in value)
