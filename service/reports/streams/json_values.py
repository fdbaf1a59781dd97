"""Values of JSON reports. A value of another type than expected counts as missing."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from service.ingest.contract import MAX_LINE, AttemptIn, ResultIn
from service.reports.conversion.attachments import Attachment
from service.reports.conversion.errors import malformed
from service.reports.conversion.metadata import ReportMetadata, UnreadableDurations
from service.reports.conversion.times import valid_milliseconds

_MAX_DIGITS: Final = 9  # of a count


def text_of(value: Mapping[str, Any], key: str) -> str | None:
    """Return the text of this key."""
    text = value.get(key)
    return text if isinstance(text, str) else None


def written_text(value: Any) -> str:
    """Return a text, or any other value as JSON. Raises ReportError if its nesting is too deep."""
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False)
    except RecursionError:
        raise malformed("a value is nested too deep") from None


def object_of(value: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """Return the object of this key."""
    found = value.get(key)
    return found if isinstance(found, dict) else {}


def texts_of(value: Mapping[str, Any], key: str) -> list[str]:
    """Return the texts in the list of this key."""
    items = value.get(key)
    return [item for item in items if isinstance(item, str)] if isinstance(items, list) else []


def objects_of(value: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    """Return the objects in the list of this key."""
    items = value.get(key)
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def count_of(value: Mapping[str, Any], key: str) -> int | None:
    """Return the count of this key, which some producers write as a text or with a fraction."""
    written = value.get(key)
    count = int(written[:_MAX_DIGITS]) if isinstance(written, str) and written.isdecimal() else written
    return int(count) if isinstance(count, int | float) and 0 <= count < 10**_MAX_DIGITS else None


def line_of(value: Mapping[str, Any]) -> int | None:
    """Return `line` if it is a positive number that can be stored."""
    line = value.get("line")
    return line if isinstance(line, int) and 0 < line <= MAX_LINE and line is not True else None


def attachments_of(value: Mapping[str, Any], attempt: int | None = None) -> Iterator[Attachment]:
    """Yield the files in `attachments`, which this attempt wrote."""
    for attachment in objects_of(value, "attachments"):
        if path := text_of(attachment, "path"):
            yield Attachment(path, text_of(attachment, "name"), text_of(attachment, "contentType"), attempt)


def annotations_of(value: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield type and description of each annotation of Playwright that has both."""
    for annotation in objects_of(value, "annotations"):
        kind, description = text_of(annotation, "type"), text_of(annotation, "description")
        if kind and description:
            yield kind, description


def add_duration(part: ResultIn | AttemptIn, value: Mapping[str, Any], unreadable: UnreadableDurations) -> None:
    """Add `duration`, a number of milliseconds."""
    written = value.get("duration")
    if written is not None:
        unreadable.set_duration(part, written, valid_milliseconds(written))


def declare_counts(metadata: ReportMetadata, value: Mapping[str, Any], names: Mapping[str, str]) -> None:
    """Add the counts of these keys, each with the name of the count."""
    for key, count_name in names.items():
        if (count := count_of(value, key)) is not None:
            metadata.declare(count_name, count)
