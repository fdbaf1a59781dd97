"""Streaming reader of Cucumber JSON: of Cucumber for JavaScript, Java, and Ruby, Behave, pytest-bdd, and godog."""

import posixpath
import re
from collections.abc import Generator, Iterable, Iterator, Mapping
from typing import Any, BinaryIO, Final, NamedTuple

from service.domain.statuses import states_failure
from service.ingest.contract import Failure, ResultIn
from service.reports.conversion.attempts import estimate_size
from service.reports.conversion.errors import malformed
from service.reports.conversion.metadata import ReportMetadata
from service.reports.conversion.names import (
    MAX_LABEL,
    SUITE_LEVEL_NAME,
    Checkout,
    portable_name,
    portable_path,
    suite_label,
)
from service.reports.formats.cucumber.scenarios import has_failed, location_of, read_word, result_of, was_executed
from service.reports.streams.chunks import in_lists
from service.reports.streams.json import JsonStream
from service.reports.streams.json_values import text_of
from service.results.model import PropertyCollector

_MAX_TAGS: Final = 100
_FIELDS: Final = frozenset({"name", "uri", "location", "tags", "status", "language"})
_SCHEME: Final = re.compile(r"classpath:/*|file:(?://)?")
_BEHAVE_FOLDER: Final = re.compile(r"(?:.*/)?features/|\./")
_MAX_PENDING: Final = 8 * 2**20  # characters of the results of one feature, estimated
_PYTEST_BDD: Final = (
    "pytest-bdd: this report omits undefined steps and failures of fixtures, so that such scenarios seem to pass. "
    "Send the JUnit XML of pytest instead"
)


def read(source: BinaryIO, metadata: ReportMetadata) -> Iterator[list[ResultIn]]:
    """Yield the results in lists of bounded size. Raises ReportError if the file isn't valid JSON."""
    return in_lists(_CucumberReport(source, metadata).results())


class Feature(NamedTuple):
    """What a feature states about its scenarios. `word` is its status, which only Behave states."""

    suite: str
    file: str | None
    tags: tuple[str, ...]
    word: Any
    is_of_pytest_bdd: bool


class _Scenario(NamedTuple):
    """A scenario of a feature whose name can follow. `result` is any value if the report isn't valid."""

    line: int
    result: Any
    tags: list[str]


class _CucumberReport:
    """Reads the features of one report.

    Cucumber for JavaScript and Java write the name of a feature after its scenarios. Therefore, the results of a
    feature stay in memory until its end. If they are too large, all features are read in advance.
    """

    def __init__(self, source: BinaryIO, metadata: ReportMetadata) -> None:
        self._source = source
        self._metadata = metadata
        self._in_advance: list[Feature] = []
        self._invalid_files = 0
        self._last_tags: tuple[str, ...] = ()
        self._last_properties: dict[str, str] = {}
        self._dropped_tags = 0

    def results(self) -> Iterator[ResultIn]:
        """Yield the results of all features."""
        stream = JsonStream(self._source)
        is_of_pytest_bdd = False
        for index, _ in enumerate(stream.elements()):
            feature = yield from self._feature(stream, index)
            is_of_pytest_bdd |= feature.is_of_pytest_bdd
        stream.expect_end()
        if is_of_pytest_bdd:
            self._metadata.notes.append(_PYTEST_BDD)
        if self._invalid_files:
            self._metadata.notes.append(f"embedded files: {self._invalid_files} aren't valid Base64")

    def _feature(self, stream: JsonStream, index: int) -> Generator[ResultIn, None, Feature]:
        """Yield the results of the feature that is the next value in the stream, and return the feature."""
        fields: dict[str, Any] = {}
        pending: list[_Scenario] = []
        size, failing = 0, self._failing
        for key in stream.members():
            if key != "elements" or stream.peek() == "n":
                _add_field(fields, key, stream.value())
                continue
            if stream.peek() != "[":
                raise malformed("elements: must be a list")
            for scenario in self._scenarios(stream.items()):
                pending.append(scenario)
                size += estimate_size(scenario.result if isinstance(scenario.result, dict) else {})
                if size > _MAX_PENDING:
                    yield from self._finish(pending, self._read_in_advance(index))
                    pending, size = [], 0
        feature = _feature_of(fields, self._metadata.checkout)
        yield from self._finish(pending, feature)
        if feature.word is not None and states_failure(read_word(feature.word)) and self._failing == failing:
            yield self._failure_of(feature)
        return feature

    def _scenarios(self, elements: Iterable[Any]) -> Iterator[_Scenario]:
        """Yield the scenarios, each with the steps of the background in front of it, unless they weren't executed.

        A background without a scenario is one too if it failed: Cucumber for Ruby omits scenarios without own steps.
        """
        background: Mapping[str, Any] = {}
        for element in elements:
            if not isinstance(element, dict):
                yield _Scenario(0, element, [])  # ingest rejects it with its index
                continue
            is_background = element.get("type", element.get("keyword")) in ("background", "Background")
            if is_background and has_failed(background):
                yield self._scenario({"name": SUITE_LEVEL_NAME}, background)
            elif not is_background:
                yield self._scenario(element, background)
            background = element if is_background and was_executed(element) else {}
        if has_failed(background):
            yield self._scenario({"name": SUITE_LEVEL_NAME}, background)

    def _scenario(self, element: Mapping[str, Any], background: Mapping[str, Any]) -> _Scenario:
        result, invalid_files = result_of(element, background, self._metadata)
        self._invalid_files += invalid_files
        return _Scenario(result.get("line") or 0, result, _tags_of(element))

    def _finish(self, scenarios: Iterable[_Scenario], feature: Feature) -> Iterator[ResultIn]:
        """Yield the results of a feature in the order of its file: parallel executions end in any order."""
        for scenario in sorted(scenarios, key=lambda each: each.line):
            result = scenario.result
            if isinstance(result, dict):
                result["suite"] = feature.suite
                if feature.file:
                    result["file"] = feature.file
                if tags := (*feature.tags, *scenario.tags):
                    result["properties"] = self._properties(tags)
            yield result

    def _properties(self, tags: tuple[str, ...]) -> dict[str, str]:
        """Return the tags as one property. Adjacent scenarios often have the same tags."""
        if tags != self._last_tags:
            properties = PropertyCollector()
            self._dropped_tags = sum(not properties.add("tags", tag) for tag in tags)
            self._last_tags, self._last_properties = tags, properties.pairs
        self._metadata.dropped_properties += self._dropped_tags
        return self._last_properties

    def _failure_of(self, feature: Feature) -> ResultIn:
        """Return a failure that belongs to no scenario, such as a failed hook of Behave, so that it isn't lost."""
        self._metadata.contains_failures = True
        failure: Failure = {"message": f"The feature has the status {feature.word}. The report contains no reason."}
        status = read_word(feature.word)
        return {"suite": feature.suite, "name": SUITE_LEVEL_NAME, "status": status, "failure": failure}

    @property
    def _failing(self) -> int:
        return self._metadata.counted["failures"] + self._metadata.counted["errors"]

    def _read_in_advance(self, index: int) -> Feature:
        """Return a feature whose name and path can be after its scenarios."""
        if not self._in_advance:
            position = self._source.tell()
            self._source.seek(0)
            self._in_advance = list(_read_features(JsonStream(self._source), self._metadata.checkout))
            self._source.seek(position)
        return self._in_advance[index]


def _add_field(fields: dict[str, Any], key: str, value: Any) -> None:
    if key in _FIELDS:
        fields[key] = value


def _feature_of(fields: Mapping[str, Any], checkout: Checkout) -> Feature:
    """Return the feature. The suite is the class in the JUnit XML of the tool: Behave puts the path before the name."""
    path = _SCHEME.sub("", text_of(fields, "uri") or location_of(fields)[0] or "", count=1)
    file = _normalize(portable_path(path, checkout.root))
    name = portable_name(text_of(fields, "name") or "")
    if file and "uri" not in fields:
        classes = file[found.end() :] if (found := _BEHAVE_FOLDER.match(file)) else file
        name = f"{classes.removesuffix('.feature').replace('/', '.')}.{name}"
    suite, tags = suite_label((name or file or "",)), tuple(_tags_of(fields))
    return Feature(suite, _normalize(checkout.file_of(path)), tags, fields.get("status"), "language" in fields)


def _normalize(path: str) -> str | None:
    return posixpath.normpath(path.replace("\\", "/")) if path else None


def _tags_of(value: Mapping[str, Any]) -> list[str]:
    """Return the tags: objects of Cucumber, or texts of Behave."""
    listed = value.get("tags")
    if not listed or not isinstance(listed, list):
        return []
    names = [tag.get("name") if isinstance(tag, dict) else tag for tag in listed[:_MAX_TAGS]]
    return [name[:MAX_LABEL] for name in names if isinstance(name, str)]


def _read_features(stream: JsonStream, checkout: Checkout) -> Iterator[Feature]:
    """Yield the features without their scenarios."""
    for _ in stream.elements():
        fields: dict[str, Any] = {}
        for key in stream.members():
            if key == "elements" and stream.peek() == "[":
                for _ in stream.items():
                    pass
            else:
                _add_field(fields, key, stream.value())
        yield _feature_of(fields, checkout)
