"""The case of an Allure result: its suite, its name, its file, and its properties."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from service.domain.statuses import states_failure
from service.domain.variants import MAX_TEXT
from service.failures.model import strip_escapes
from service.ingest.contract import Failure
from service.reports.conversion.attachments import Attachment
from service.reports.conversion.attempts import make_failure
from service.reports.conversion.names import SEPARATOR, portable_name, portable_path, portable_value, suite_label
from service.reports.conversion.output import BoundedText
from service.reports.conversion.report_sets import Document
from service.reports.streams.json_values import object_of, objects_of, text_of, texts_of, written_text

_MASKED: Final = "******"  # instead of a secret value
_SECRET: Final = ("masked", "hidden")
_SUITES: Final = ("parentSuite", "suite", "subSuite")
_NO_PROPERTIES: Final = frozenset(
    (*_SUITES, "host", "thread", "framework", "language", "package", "testClass", "testMethod", "titlePath")
)
_FLAGS: Final = ("known", "muted", "flaky")
_TOPICS: Final = ("feature", "story")
_PYTEST: Final = re.compile(r"(.+)#([^#]+)", re.DOTALL)
# The path of a JavaScript test, optionally after the name of its package, such as `shop:test/cart.js#cart adds items`.
_FILE: Final = re.compile(r"(?:@?[\w./-]+:)?([^:#]+?\.\w+)(?:#|: | › )(.+)", re.DOTALL)
_SEPARATORS: Final = (" › ", " > ", " ")
# The parameter that is the variant, as the project of Playwright in its other reports.
_VARIANTS: Final = {"playwright": ("Project",), "wdio": ("browser", "device")}
_BROWSER_VERSION: Final = re.compile(r"-\d[\w.]*\Z")  # of `chrome-130.0.6723.59`, which changes with each update
_PYTEST_SUITE: Final = "pytest"  # of all cases in the JUnit XML of pytest
_QUOTES: Final = "'\""
_ADDRESS: Final = re.compile(r" at 0x[0-9A-Fa-f]+")  # of an object of Python, which is different in each run
_AFTER_LAST_NAME: Final = re.compile(r"[#:.][^#:.]*\Z")  # of `shop.CartTest.adds` or `cart.feature:12`
_BETWEEN_NAMES: Final = " #:.>›/"
_MAX_DEPTH: Final = 50  # of nested steps
_AllurePart = Mapping[str, Any]  # a result, a fixture, or a step


class AllureCase(NamedTuple):
    """The identity of a result. It doesn't depend on titles that a test sets while it runs, if `fullName` is known."""

    suite: str
    name: str
    file: str | None = None
    variant: tuple[str, str] | None = None


def case_of(document: Document, labels: Mapping[str, str]) -> AllureCase:
    """Return the case of a result: the case in other reports of pytest, Vitest, Playwright, and classes of Java."""
    name, full_name = _without_secrets(text_of(document, "name") or "", document), text_of(document, "fullName") or ""
    framework = framework_of(labels)
    if framework == "pytest" and (found := _PYTEST.fullmatch(full_name)):
        return _pytest_case(found[1], found[2], name, document)
    parameters = list(_shown_parameters(document))
    shown_as_variant = next((pair for pair in parameters if pair[0] in _VARIANTS.get(framework, ())), None)
    suffix = _suffix(pair for pair in parameters if pair != shown_as_variant)
    variant = _variant(*shown_as_variant) if shown_as_variant else None
    if (found := _FILE.fullmatch(full_name)) and (describes := _titles_around(found[1], document, labels)) is not None:
        file, title = portable_path(found[1]), _title(found[2], describes) + suffix
        if framework == "vitest":
            return AllureCase(file, " > ".join([*describes, title]), file)
        return AllureCase(suite_label(describes, file=file), portable_name(title), file, variant)
    if suite := labels.get("testClass"):
        method = labels.get("testMethod") or ""
        name = method if method and (suffix or name == f"{method}()") else name
        return AllureCase(portable_name(suite), portable_name(name) + suffix, variant=variant)
    full_name = _without_secrets(full_name, document)
    suites = [portable_name(suite) for suite in _suites(labels, name or full_name, full_name)]
    return AllureCase(suite_label(suites), portable_name(name or full_name) + suffix, variant=variant)


def _without_secrets(name: str, document: Document) -> str:
    for parameter in objects_of(document, "parameters"):
        if is_secret(parameter) and (value := (text_of(parameter, "value") or "").strip(_QUOTES)):
            name = name.replace(value, _MASKED)
    return name


def is_secret(parameter: Document) -> bool:
    """Return whether the value of a parameter is secret."""
    return parameter.get("mode") in _SECRET


def framework_of(labels: Mapping[str, str]) -> str:
    """Return the name of the test framework in lower case. Version 2 of allure-playwright writes `Playwright`."""
    return labels.get("framework", "").lower()


def _pytest_case(suite: str, function: str, name: str, document: Document) -> AllureCase:
    """Return the class and the name of the function, to which pytest adds the parameters.

    The ID of pytest is unknown if `allure.title` replaces it. Then, it's composed like pytest does for simple values.
    """
    file = _python_file(texts_of(document, "titlePath"))
    suite = suite.partition(f".{function}[")[0]  # allure-pytest reads `test_a[x::y]` as a class `test_a[x` with a test
    if name != function and not name.startswith(f"{function}["):
        values = [value.strip(_QUOTES).encode("unicode_escape").decode() for _, value in _shown_parameters(document)]
        name = f"{function}[{'-'.join(values)}]" if values else function
    return AllureCase(suite_label([_PYTEST_SUITE], suite), portable_name(name), file)


def _python_file(path: Sequence[str]) -> str | None:
    index = next((index for index, part in enumerate(path) if part.endswith(".py")), None)
    return None if index is None else portable_path("/".join(path[: index + 1]))


def _shown_parameters(document: Document) -> Iterator[tuple[str, str]]:
    """Yield the parameters that identify the test, without secret values: even a digest of one can be guessed."""
    secret = {text_of(each, "name") for each in objects_of(document, "parameters") if is_secret(each)}
    for name, value in identifying(document):
        yield name, _MASKED if name in secret else _ADDRESS.sub("", value)


def identifying(document: Document) -> list[tuple[str, str]]:
    """Return the names and values of the parameters that identify a test, as in its `historyId`."""
    return sorted(
        (text_of(parameter, "name") or "", text_of_value(parameter))
        for parameter in objects_of(document, "parameters")
        if parameter.get("excluded") is not True
    )


def text_of_value(parameter: Document) -> str:
    """Return the value of a parameter, which is a text in the files of all known adapters."""
    return written_text(parameter.get("value"))


def _suffix(parameters: Iterable[tuple[str, str]]) -> str:
    text = ", ".join(f"{name}={portable_value(value)}" for name, value in parameters)
    return f"[{text}]" if text else ""


def _variant(name: str, value: str) -> tuple[str, str]:
    value = value if name == "Project" else _BROWSER_VERSION.sub("", value)
    return name.lower(), "".join(filter(str.isprintable, value))[:MAX_TEXT]


def _titles_around(file: str, document: Document, labels: Mapping[str, str]) -> list[str] | None:
    """Return the titles between a file and its test, or None if the result doesn't state them."""
    path = texts_of(document, "titlePath") or labels.get("titlePath", "").split(SEPARATOR)
    names = [part.rpartition("/")[2] for part in path]
    base = file.rpartition("/")[2]
    return path[names.index(base) + 1 :] if base in names else None


def _title(full_title: str, describes: Sequence[str]) -> str:
    """Return the title in the test, without the titles around it."""
    for separator in _SEPARATORS:
        prefix = "".join(f"{title}{separator}" for title in describes)
        if full_title.startswith(prefix):
            return full_title[len(prefix) :]
    return full_title


def _suites(labels: Mapping[str, str], name: str, full_name: str) -> list[str]:
    """Return the suites that the labels state, or else the package, the start of `fullName`, or the topics.

    Without them, the scenarios `login` of the features `Cart` and `Shop` would be occurrences of one case. A test can
    set its topics while it runs, so that `fullName` decides if it's known to end with the name.
    """
    for known in (_SUITES, ("package",)):
        if suites := [value for label in known if (value := labels.get(label))]:
            return suites
    if full_name.endswith(name) and (start := full_name.removesuffix(name).rstrip(_BETWEEN_NAMES)):
        return [start]
    if topics := [value for label in _TOPICS if (value := labels.get(label))]:
        return topics
    found = _AFTER_LAST_NAME.search(full_name) if full_name != name else None
    return [full_name[: found.start()]] if found else []


def properties_of(document: Document, case: AllureCase, labels: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Yield the labels, links, and flags of a result, its title, and parameters that its name doesn't show."""
    for name, value in labels:
        if name not in _NO_PROPERTIES and value and not name.startswith("_"):
            yield ("tags" if name == "tag" else name), value
    for link in objects_of(document, "links"):
        if target := text_of(link, "url") or text_of(link, "name"):
            yield text_of(link, "type") or "link", target
    for parameter in objects_of(document, "parameters"):
        parameter_name, value = text_of(parameter, "name"), text_of_value(parameter)
        if parameter_name and not is_secret(parameter) and not _is_shown(value, case):
            yield parameter_name, value
    details = object_of(document, "statusDetails")
    yield from ((flag, "true") for flag in _FLAGS if details.get(flag) is True)
    title = text_of(document, "name") or ""
    if (
        not case.name.startswith(title.removesuffix("()"))
        and (shown := _without_secrets(title, document)) not in case.name
    ):
        yield "title", shown


def _is_shown(value: str, case: AllureCase) -> bool:
    """Return whether the name contains the value of a parameter. pytest escapes characters that aren't ASCII."""
    variant = case.variant[1] if case.variant else ""
    text, shown = value.strip(_QUOTES), f"{case.name.partition('[')[2]} {variant}"
    return text in shown or text.encode("unicode_escape").decode() in shown


def labels_of(document: Document) -> list[tuple[str, str]]:
    """Return the names and the values of the labels. A name can occur several times."""
    return [
        (name, value)
        for label in objects_of(document, "labels")
        if isinstance(name := label.get("name"), str) and isinstance(value := label.get("value"), str)
    ]


def failure_of(part: _AllurePart) -> Failure:
    """Return the message and the trace, without the escape sequences of colors."""
    return failure_in(object_of(part, "statusDetails"))


def failure_in(details: Mapping[str, Any]) -> Failure:
    """Return the failure in the details of a status, or of an error of the run."""
    message = strip_escapes(text_of(details, "message") or "").strip()
    trace = strip_escapes(text_of(details, "trace") or "").rstrip()
    return make_failure(message=message, details=BoundedText(trace).details())


def files_of(part: _AllurePart, depth: int = 0) -> Iterator[Attachment]:
    """Yield the files of a part and of its steps."""
    for attachment in objects_of(part, "attachments") if "attachments" in part else ():
        if source := text_of(attachment, "source"):
            yield Attachment(source, text_of(attachment, "name"), text_of(attachment, "type"))
    for step in objects_of(part, "steps") if "steps" in part and depth < _MAX_DEPTH else ():
        yield from files_of(step, depth + 1)


def has_failed(fixture: _AllurePart) -> bool:
    """Return whether a fixture states a failure. Adapters omit the status of a fixture that they don't observe."""
    return fixture.get("status") is not None and states_failure(fixture["status"])


def fixtures_of(container: _AllurePart) -> list[_AllurePart]:
    """Return the fixtures of a container in the order of their execution."""
    return [*objects_of(container, "befores"), *objects_of(container, "afters")]


def steps_text(result: _AllurePart, containers: Sequence[_AllurePart]) -> str:
    """Return the steps of a result between its fixtures, which are listed if they failed or have steps."""
    befores = [fixture for container in containers for fixture in objects_of(container, "befores")]
    afters = [fixture for container in containers for fixture in objects_of(container, "afters")]
    lines = [
        *_step_lines([fixture for fixture in befores if _is_listed(fixture)]),
        *_step_lines(objects_of(result, "steps")),
        *_step_lines([fixture for fixture in afters if _is_listed(fixture)]),
    ]
    return "\n".join(lines)


def _step_lines(steps: Sequence[_AllurePart], depth: int = 0) -> Iterator[str]:
    """Yield lines such as `failed: add the book (price=-1) 12 ms`. Nested steps and messages are indented."""
    for step in steps if depth < _MAX_DEPTH else ():
        indentation = "  " * depth
        nested = objects_of(step, "steps")
        status = text_of(step, "status")  # an attachment is a step without a status
        yield f"{indentation}{f'{status}: ' if status else ''}{text_of(step, 'name')}{_details_of(step)}"
        yield from _step_lines(nested, depth + 1)
        message = failure_of(step).get("message")
        if message and not any(failure_of(each).get("message") == message for each in nested):
            yield from (f"{indentation}  {line}" for line in message.splitlines())


def _details_of(step: _AllurePart) -> str:
    """Return the parameters, without hidden ones, and the duration."""
    parameters = ", ".join(
        f"{text_of(each, 'name')}={_MASKED if each.get('mode') == 'masked' else text_of_value(each)}"
        for each in objects_of(step, "parameters")
        if each.get("mode") != "hidden"
    )
    start, stop = step.get("start"), step.get("stop")
    duration = f" {stop - start} ms" if isinstance(start, int) and isinstance(stop, int) and stop > start else ""
    return (f" ({parameters})" if parameters else "") + duration


def _is_listed(fixture: _AllurePart) -> bool:
    return has_failed(fixture) or bool(objects_of(fixture, "steps"))
