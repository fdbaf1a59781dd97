"""The features in Cucumber JSON: their names, files, and tags, which their scenarios share."""

import posixpath
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from service.reports.json_stream import JsonStream
from service.reports.json_values import text_of
from service.reports.paths import Checkout, portable_name, portable_path
from service.reports.readers.cucumber_scenarios import location_of
from service.reports.suites import MAX_LABEL, suite_label

_MAX_TAGS: Final = 100
_FIELDS: Final = frozenset({"name", "uri", "location", "tags", "status", "language"})
_SCHEME: Final = re.compile(r"classpath:/*|file:(?://)?")
_BEHAVE_FOLDER: Final = re.compile(r"(?:.*/)?features/|\./")


class Feature(NamedTuple):
    """What a feature states about its scenarios. `word` is its status, which only Behave states."""

    suite: str
    file: str | None
    tags: tuple[str, ...]
    word: Any
    is_of_pytest_bdd: bool


def read_features(stream: JsonStream, checkout: Checkout) -> Iterator[Feature]:
    """Yield the features without their scenarios."""
    for _ in stream.elements():
        fields: dict[str, Any] = {}
        for key in stream.members():
            if key == "elements" and stream.peek() == "[":
                for _ in stream.items():
                    pass
            else:
                add_field(fields, key, stream.value())
        yield feature_of(fields, checkout)


def add_field(fields: dict[str, Any], key: str, value: Any) -> None:
    if key in _FIELDS:
        fields[key] = value


def feature_of(fields: Mapping[str, Any], checkout: Checkout) -> Feature:
    """Return the feature. The suite is the class in the JUnit XML of the tool: Behave puts the path before the name."""
    path = _SCHEME.sub("", text_of(fields, "uri") or location_of(fields)[0] or "", count=1)
    file = _normalize(portable_path(path, checkout.root))
    name = portable_name(text_of(fields, "name") or "")
    if file and "uri" not in fields:
        classes = file[found.end() :] if (found := _BEHAVE_FOLDER.match(file)) else file
        name = f"{classes.removesuffix('.feature').replace('/', '.')}.{name}"
    suite, tags = suite_label((name or file or "",)), tuple(tags_of(fields))
    return Feature(suite, _normalize(checkout.file_of(path)), tags, fields.get("status"), "language" in fields)


def _normalize(path: str) -> str | None:
    return posixpath.normpath(path.replace("\\", "/")) if path else None


def tags_of(value: Mapping[str, Any]) -> list[str]:
    """Return the tags: objects of Cucumber, or texts of Behave."""
    listed = value.get("tags")
    if not listed or not isinstance(listed, list):
        return []
    names = [tag.get("name") if isinstance(tag, dict) else tag for tag in listed[:_MAX_TAGS]]
    return [name[:MAX_LABEL] for name in names if isinstance(name, str)]
