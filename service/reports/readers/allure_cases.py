"""The case of an Allure result: its suite, its name, its file, and its properties."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Final, NamedTuple

from service.domain.properties import PropertyCollector
from service.domain.variants import MAX_TEXT
from service.reports.json_values import object_of, objects_of, text_of, texts_of, written_text
from service.reports.metadata import ReportMetadata
from service.reports.parameters import portable_value
from service.reports.paths import portable_name, portable_path
from service.reports.report_sets import Document
from service.reports.suites import suite_label

MASKED: Final = "******"  # instead of a secret value
_SECRET: Final = ("masked", "hidden")
_SUITES: Final = ("parentSuite", "suite", "subSuite")
_NO_PROPERTIES: Final = frozenset(
    (*_SUITES, "host", "thread", "framework", "language", "package", "testClass", "testMethod", "titlePath")
)
_FLAGS: Final = ("known", "muted", "flaky")
_PYTEST: Final = re.compile(r"([^#]+)#([^#]+)")
# The path of a JavaScript test, optionally after the name of its package, such as `shop:test/cart.js#cart adds items`.
_FILE: Final = re.compile(r"(?:@?[\w./-]+:)?([^:#]+?\.\w+)(?:#|: | › )(.+)", re.DOTALL)
_SEPARATORS: Final = (" › ", " > ", " ")
_PROJECT: Final = "Project"  # the parameter with the project of Playwright, which is the variant in its other reports
_PYTEST_SUITE: Final = "pytest"  # of all cases in the JUnit XML of pytest
_QUOTES: Final = "'\""
_ADDRESS: Final = re.compile(r" at 0x[0-9A-Fa-f]+")  # of an object of Python, which is different in each run


class AllureCase(NamedTuple):
    """The identity of a result. It doesn't depend on titles that a test sets while it runs, if `fullName` is known."""

    suite: str
    name: str
    file: str | None = None
    project: str = ""


def labels_of(document: Document) -> list[tuple[str, str]]:
    """Return the names and the values of the labels. A name can occur several times."""
    return [
        (name, value)
        for label in objects_of(document, "labels")
        if isinstance(name := label.get("name"), str) and isinstance(value := label.get("value"), str)
    ]


def case_of(document: Document, labels: Mapping[str, str]) -> AllureCase:
    """Return the case of a result: the case in other reports of pytest, Vitest, Playwright, and classes of Java."""
    name, full_name = _without_secrets(text_of(document, "name") or "", document), text_of(document, "fullName") or ""
    framework = labels.get("framework")
    if framework == "pytest" and (found := _PYTEST.fullmatch(full_name)):
        return _pytest_case(found[1], found[2], name, document)
    path = texts_of(document, "titlePath")
    if (found := _FILE.fullmatch(full_name)) and (base := found[1].rpartition("/")[2]) in path:
        return _javascript_case(found[1], path[path.index(base) + 1 :], found[2], framework, document)
    suffix = _suffix(_shown_parameters(document))
    if suite := labels.get("testClass"):
        method = labels.get("testMethod") or ""
        name = method if method and (suffix or name == f"{method}()") else name
        return AllureCase(portable_name(suite), portable_name(name) + suffix)
    suites = [portable_name(labels[label]) for label in _SUITES if labels.get(label)]
    return AllureCase(suite_label(suites or [labels.get("package", "")]), portable_name(name or full_name) + suffix)


def framework_of(labels: Mapping[str, str]) -> str:
    """Return the name of the test framework in lower case. Version 2 of allure-playwright writes `Playwright`."""
    return labels.get("framework", "").lower()


def _javascript_case(
    path: str, describes: Sequence[str], full_title: str, framework: str | None, document: Document
) -> AllureCase:
    """Return the case of a test by its file, the titles around it, and its title."""
    file, parameters = portable_path(path), list(_shown_parameters(document))
    project = dict(parameters).get(_PROJECT, "") if framework == "playwright" else ""
    title = _title(full_title, describes) + _suffix(each for each in parameters if each != (_PROJECT, project))
    if framework == "vitest":
        return AllureCase(file, " > ".join([*describes, title]), file)
    variant = "".join(filter(str.isprintable, project))[:MAX_TEXT]
    return AllureCase(suite_label(describes, file=file), portable_name(title), file, variant)


def _suffix(parameters: Iterable[tuple[str, str]]) -> str:
    text = ", ".join(f"{name}={portable_value(value)}" for name, value in parameters)
    return f"[{text}]" if text else ""


def _pytest_case(suite: str, function: str, name: str, document: Document) -> AllureCase:
    """Return the class and the name of the function, to which pytest adds the parameters.

    The ID of pytest is unknown if `allure.title` replaces it. Then, it's composed like pytest does for simple values.
    """
    file = _python_file(texts_of(document, "titlePath"))
    if name != function and not name.startswith(f"{function}["):
        values = [value.strip(_QUOTES).encode("unicode_escape").decode() for _, value in _shown_parameters(document)]
        name = f"{function}[{'-'.join(values)}]" if values else function
    return AllureCase(suite_label([_PYTEST_SUITE], suite), portable_name(name), file)


def _python_file(path: Sequence[str]) -> str | None:
    index = next((index for index, part in enumerate(path) if part.endswith(".py")), None)
    return None if index is None else portable_path("/".join(path[: index + 1]))


def _title(full_title: str, describes: Sequence[str]) -> str:
    """Return the title in the test, without the titles around it."""
    for separator in _SEPARATORS:
        prefix = "".join(f"{title}{separator}" for title in describes)
        if full_title.startswith(prefix):
            return full_title[len(prefix) :]
    return full_title


def identifying(document: Document) -> list[tuple[str, str]]:
    """Return the names and values of the parameters that identify a test, as in its `historyId`."""
    return sorted(
        (text_of(parameter, "name") or "", text_of_value(parameter))
        for parameter in objects_of(document, "parameters")
        if parameter.get("excluded") is not True
    )


def is_secret(parameter: Document) -> bool:
    """Return whether the value of a parameter is secret."""
    return parameter.get("mode") in _SECRET


def text_of_value(parameter: Document) -> str:
    """Return the value of a parameter, which is a text in the files of all known adapters."""
    return written_text(parameter.get("value"))


def _shown_parameters(document: Document) -> Iterator[tuple[str, str]]:
    """Yield the parameters that identify the test, without secret values: even a digest of one can be guessed."""
    secret = {text_of(each, "name") for each in objects_of(document, "parameters") if is_secret(each)}
    for name, value in identifying(document):
        yield name, MASKED if name in secret else _ADDRESS.sub("", value)


def _without_secrets(name: str, document: Document) -> str:
    for parameter in objects_of(document, "parameters"):
        if is_secret(parameter) and (value := (text_of(parameter, "value") or "").strip(_QUOTES)):
            name = name.replace(value, MASKED)
    return name


def properties_of(
    document: Document, case: AllureCase, labels: Iterable[tuple[str, str]], metadata: ReportMetadata
) -> dict[str, str]:
    """Return the labels, links, and flags of a result, its title, and parameters that its name doesn't show."""
    properties = PropertyCollector()
    for name, value in chain(_labels_to_store(labels), _named_values(document, case)):
        metadata.dropped_properties += not properties.add(name, value)
    return properties.pairs


def _is_shown(value: str, case: AllureCase) -> bool:
    """Return whether the name contains the value of a parameter. pytest escapes characters that aren't ASCII."""
    text, shown = value.strip(_QUOTES), f"{case.name.partition('[')[2]} {case.project}"
    return text in shown or text.encode("unicode_escape").decode() in shown


def _labels_to_store(labels: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    for name, value in labels:
        if name not in _NO_PROPERTIES and value and not name.startswith("_"):
            yield ("tags" if name == "tag" else name), value


def _named_values(document: Document, case: AllureCase) -> Iterator[tuple[str, str]]:
    for link in objects_of(document, "links"):
        if target := text_of(link, "url") or text_of(link, "name"):
            yield text_of(link, "type") or "link", target
    for parameter in objects_of(document, "parameters"):
        name, value = text_of(parameter, "name"), text_of_value(parameter)
        if name and not is_secret(parameter) and not _is_shown(value, case):
            yield name, value
    details = object_of(document, "statusDetails")
    yield from ((flag, "true") for flag in _FLAGS if details.get(flag) is True)
    title = text_of(document, "name") or ""
    if (
        not case.name.startswith(title.removesuffix("()"))
        and (shown := _without_secrets(title, document)) not in case.name
    ):
        yield "title", shown
