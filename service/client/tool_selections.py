"""Selections of tests in the forms that test tools accept.

If a tool can't select a test exactly, the selection contains its file, class, or package. The selection lacks a test
only if the service has removed a generated part of its name without a trace. Names and paths are texts of a producer,
so they can't become options or leave the folder.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, chain, product
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

from service.client.checkout import is_file
from service.command_line import escape_line
from service.domain.errors import ServiceError
from service.domain.texts import MAX_TEXT, REPLACEMENT

_SEPARATOR: Final = " > "  # between the titles of a suite
_SUITE_LEVEL: Final = "(suite)"  # the name of a failure outside of the tests
_MAX_ARGUMENT: Final = 100_000  # bytes; Linux accepts 131,072
_MAX_LISTED: Final = 1_000  # lines of Playwright, and of a file of pytest, that are compared with many tests
_MAX_TITLES: Final = 5  # around a test of Playwright; twice as many lines for each
# What the service writes instead of folders of a machine and of addresses in memory. The original text is unknown.
_MODIFIED: Final = re.compile(r"~/|/tmp/|\b0x(?![0-9a-fA-F])|<[\w.:$]+ [^<>]*>")
_REGEX: Final = re.compile(r"[\\.+*?()|\[\]{}^$/]")
_PYTHON: Final = ".py"
_FUNCTION: Final = re.compile(r"[\w.]+")  # the names of doctests contain dots
_JEST_FAILURE: Final = re.compile(r" ?Test (?:suite failed to run|execution failure)")
_GO_TEST: Final = re.compile(r"(?:Test|Example|Fuzz)(?![a-z])\w*")
_GO_MAIN: Final = "TestMain"  # a failure outside of the tests in reports of gotestsum
_GO_BENCHMARK: Final = "Benchmark"
_GO_PACKAGE: Final = re.compile(r"\w[^\s@]*")
_JAVA_CLASS: Final = re.compile(r"[^\W\d][\w$]*(?:\.[^\W\d][\w$]*)+")
_JAVA_METHOD: Final = re.compile(r"([^\W\d][\w$]*)\(.*\)(?:\[\d+\])?")


class SelectedTest(NamedTuple):
    """A test, or a file if `name` is empty; `suite` is its path as the tool states it. Playwright has projects."""

    suite: str
    name: str
    file: str = ""
    project: str = ""

    @property
    def label(self) -> str:
        """The name with its suite, or the path of a file."""
        return self.file if not self.name else _SEPARATOR.join(filter(None, (self.suite, self.name)))

    @property
    def path(self) -> str:
        """The file below the working directory, or an empty text if it is unknown or elsewhere."""
        path = PurePosixPath(self.file)
        return "" if path.is_absolute() or ".." in path.parts or not _is_exact(self.file) else self.file


class ToolSelection(NamedTuple):
    """The lines to print, and the tests instead of which more is selected, each with the reason."""

    lines: Sequence[str]
    widened: Sequence[str] = ()


def select_plain(tests: Sequence[SelectedTest]) -> ToolSelection:
    """Return each test with its suite."""
    return ToolSelection(sorted({test.label for test in tests}))


def select_pytest(tests: Sequence[SelectedTest]) -> ToolSelection:
    """Return node IDs. pytest compares each of them with all tests of its file."""
    exact = {test: _find_node(test) for test in tests}
    widened = [f"{test.label}: {node}" for test, (node, is_exact) in exact.items() if not is_exact]
    nodes = {node for node, _ in exact.values()}
    counts = Counter(node.partition("::")[0] for node in nodes)
    large = {path for path, count in counts.items() if count > _MAX_LISTED}
    nodes |= large
    lines = ["."] if "." in nodes else [node for node in nodes if nodes.isdisjoint(_owners_of(node))]
    return ToolSelection(
        sorted(lines), [f"more than {_MAX_LISTED:,} tests: {path}" for path in sorted(large)] + widened
    )


def _find_node(test: SelectedTest) -> tuple[str, bool]:
    """Return the node ID of a test, and whether it is exact: that of its function or file, or `.`, isn't."""
    _, separator, dotted = test.suite.rpartition(_SEPARATOR)
    path, classes = _find_module(dotted if separator else test.name, test.path) if test.name else (test.path, None)
    if not path or "[" in path or "::" in path:
        return ".", False
    path = f"./{path}" if path[0] in "-@" else path
    if classes is None or not separator or test.name == _SUITE_LEVEL:
        return path, not test.name or (not separator and classes == [])
    function, bracket, parameters = test.name.partition("[")
    if path.endswith(_PYTHON) and not _FUNCTION.fullmatch(function):
        return path, False
    node = "::".join((path, *classes))
    if _is_exact(test.name) and (not bracket or parameters.endswith("]")):
        return f"{node}::{test.name}", True
    return (f"{node}::{function}" if bracket and _is_exact(function) else path), False


def _find_module(dotted: str, file: str) -> tuple[str, list[str] | None]:
    """Return the file of a module and the classes that follow its name. Both can be unknown.

    Only some reports state the file, which begins at the root of the repository. The module begins at that of pytest.
    """
    parts = PurePosixPath(file).parts
    for suffix in ("/".join(parts[number:]) for number in range(len(parts))):
        module = suffix.removesuffix(_PYTHON).replace("/", ".")
        if dotted == module or dotted.startswith(f"{module}."):
            path = file if is_file(Path(file)) or not is_file(Path(suffix)) else suffix
            return path, [name for name in dotted[len(module) + 1 :].split(".") if name]
    if file:
        return file, None
    names = dotted.split(".")
    for number in range(len(names), 0, -1):
        path = "/".join(names[:number]) + _PYTHON
        if is_file(Path(path)) and SelectedTest("", "", path).path:
            return path, names[number:]
    return "", None


def _owners_of(node: str) -> list[str]:
    """Return the function, the classes, and the file around a node."""
    address, bracket, _ = node.partition("[")
    owners = list(accumulate(address.split("::"), "{}::{}".format))
    return owners if bracket else owners[:-1]


def select_playwright(tests: Sequence[SelectedTest]) -> ToolSelection:
    """Return the lines of a file for --test-list. Raises ServiceError if a failure isn't one of a file of tests."""
    lines: set[str] = set()
    widened: list[str] = []
    for test in tests:
        file, *titles = test.suite.split(_SEPARATOR)
        project = f"[{test.project}] › " if _is_title(test.project) else ""
        line = f"{project}{file}"
        if not _is_title(file) or not f"/{test.file}".endswith(f"/{file}") or line[0] == "#":
            raise ServiceError(f"run all tests, because a test list can't select the file of {test.label}")
        is_exact = (
            all(map(_is_title, (*titles, test.name))) and len(test.suite) < MAX_TEXT and len(titles) <= _MAX_TITLES
        )
        lines |= {f"{line} › {path}" for path in _title_paths(titles, test.name)} if is_exact else {line}
        widened += [] if is_exact or not test.name else [f"{test.label}: {file}"]
    if len(lines) > _MAX_LISTED:
        lines = {" › ".join(line.split(" › ")[: 1 + line.startswith("[")]) for line in lines}
        widened = [f"more than {_MAX_LISTED:,} lines: their files"]
    return ToolSelection(sorted(lines), widened)


def _is_title(text: str) -> bool:
    """Return whether a line of a test list can contain a title."""
    return _is_exact(text) and text == text.strip() and "›" not in text and text not in ("", _SUITE_LEVEL)


def _title_paths(titles: Sequence[str], name: str) -> Iterator[str]:
    """Yield the paths that a suite can consist of, because a title can contain the separator of the titles, too."""
    for separators in product((" › ", _SEPARATOR), repeat=max(0, len(titles) - 1)):
        yield "".join(chain.from_iterable(zip(titles, (*separators, " › "), strict=False))) + name


def select_jest(tests: Sequence[SelectedTest]) -> ToolSelection:
    """Return the pattern of names, and patterns of files. A pattern of names applies to all files."""
    files = {f"(^|/){_to_regex(test.path)}$" if test.path else "." for test in tests}
    lines = ["."] if "." in files else sorted(files)
    names = f"--testNamePattern={'|'.join(sorted(set(map(_name_pattern, tests))))}"
    no_test = next((test for test in tests if _is_outside_of_jest(test)), None)
    if "." not in files and not any(test.name for test in tests):
        return ToolSelection(lines)
    if no_test or len(names.encode()) > _MAX_ARGUMENT:
        cause = no_test.label if no_test else "the names are too long for one argument"
        return ToolSelection(lines, [f"{cause}: all tests of the files"])
    return ToolSelection([names, *lines], ["tests without a file: all files"] if "." in files else [])


def _is_outside_of_jest(test: SelectedTest) -> bool:
    """Return whether this is a file, or a failure is that of a file, which jest-junit states like a test."""
    return test.name in ("", _SUITE_LEVEL, test.file, test.suite) or _JEST_FAILURE.match(test.name) is not None


def _name_pattern(test: SelectedTest) -> str:
    """Return the pattern of the end of a name, and of its start if it contains the titles around the test."""
    titles = test.suite.removeprefix(test.file).removeprefix(_SEPARATOR).replace(_SEPARATOR, " ")
    start = "^" if titles and test.name.startswith(f"{titles} ") else "(^| )"
    return f"{start}{_to_regex(test.name.lstrip())}{'$' if len(test.name) < MAX_TEXT else ''}"


def _to_regex(text: str) -> str:
    """Return the pattern of a text in the syntax of JavaScript. What the service has replaced matches any text."""
    escaped = _REGEX.sub(r"\\\g<0>", text).replace("~\\/", ".*").replace("\\/tmp\\/", ".*")
    return "".join("[^]" if escape_line(each) != each or each == REPLACEMENT else each for each in escaped)


def select_go(tests: Sequence[SelectedTest]) -> ToolSelection:
    """Return two lines for each package: an option with the pattern of its tests, and its path."""
    packages: dict[str, list[str]] = {}
    if file := next((test for test in tests if not test.name), None):
        return ToolSelection(["-bench=.", "./..."], [f"{file.label}: all packages"])
    for test in tests:
        packages.setdefault(test.suite.partition(_SEPARATOR)[0], []).append(test.name)
    lines: list[str] = []
    widened: list[str] = []
    for package, names in sorted(packages.items()):
        option, is_exact = _go_option(names)
        if not (_GO_PACKAGE.fullmatch(package) and _is_exact(package)):
            return ToolSelection(["-bench=.", "./..."], [f"{package}: all packages"])
        lines += [option, package]
        widened += [] if is_exact else [f"{package}: all tests of the package"]
    return ToolSelection(lines, widened)


def _go_option(names: Sequence[str]) -> tuple[str, bool]:
    """Return the option that selects tests and subtests, and whether it is exact.

    A test fails if one of its subtests does, so only the subtest is selected.
    """
    paths = {tuple(name.split("/")) for name in names} if all(map(_is_exact, names)) else set()
    if any(path[0].startswith(_GO_BENCHMARK) for path in paths):
        return "-bench=.", False
    around = {path[:number] for path in paths for number in range(1, len(path))}
    groups: dict[tuple[str, ...], list[str]] = {}
    for path in sorted(paths - around):
        *parents, name = (_REGEX.sub(r"\\\g<0>", each) for each in path)
        groups.setdefault(tuple(parents), []).append(name)
    levels = ((*parents, "|".join(group)) for parents, group in groups.items())
    pattern = "|".join("/".join(f"^({level})$" for level in each) for each in levels)
    is_exact = bool(paths) and all(path[0] != _GO_MAIN and _GO_TEST.fullmatch(path[0]) for path in paths)
    is_exact = is_exact and len(pattern.encode()) < _MAX_ARGUMENT
    return f"-run={pattern if is_exact else '.'}", is_exact


def select_gradle(tests: Sequence[SelectedTest]) -> ToolSelection:
    """Return an option for each method. A name without parentheses can be a display name instead of a method."""
    lines: set[str] = set()
    widened: list[str] = []
    for test in tests:
        class_name, method = test.suite.rpartition(_SEPARATOR)[2], _JAVA_METHOD.fullmatch(test.name)
        if not (test.name and _JAVA_CLASS.fullmatch(class_name) and _is_exact(class_name)):
            return ToolSelection(["--tests=*"], [f"{test.label}: all tests"])
        lines.add(f"--tests={class_name}.{method[1]}" if method else f"--tests={class_name}")
        is_exact = method and not test.name.endswith("]")  # all parameters
        widened += [] if is_exact else [f"{test.label}: {class_name}{f'.{method[1]}' if method else ''}"]
    if sum(map(len, lines)) > _MAX_ARGUMENT:
        classes = {f"--tests={test.suite.rpartition(_SEPARATOR)[2]}" for test in tests}
        return ToolSelection(sorted(classes), ["the names are too long for one command: their classes"])
    return ToolSelection(sorted(lines), widened)


def _is_exact(text: str) -> bool:
    """Return whether a stored text is the original one, and can be part of a line."""
    is_original = len(text) < MAX_TEXT and REPLACEMENT not in text and not _MODIFIED.search(text)
    return is_original and escape_line(text) == text


SELECTIONS: Final[dict[str, Callable[[Sequence[SelectedTest]], ToolSelection]]] = {
    "plain": select_plain, "pytest": select_pytest, "playwright": select_playwright, "jest": select_jest,
    "go": select_go, "gradle": select_gradle,
}  # fmt: skip
