"""The open keywords and control structures of a Robot Framework test, and the log of those that fail."""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from service.reports.bounded_text import BoundedText
from service.reports.xml_reader import XmlAttributes

FAILED: Final = "FAIL"
MAX_ARGUMENTS: Final = 10
_MAX_ARGUMENT: Final = 200  # characters
_MAX_PATH: Final = 1_000
_MAX_LOG: Final = 32 * 1024  # of one keyword; the end of its messages, because it contains the failure
_MAX_FAILURES: Final = 20  # of one test
# The elements of control structures. The branches of IF and TRY state their kind.
TITLES: Final = {
    **dict.fromkeys(("kw", "iter", "branch", "if", "try"), ""),
    **{tag: tag.upper() for tag in ("for", "while", "group", "return", "break", "continue", "error")},
    "variable": "VAR",
}


class FailedKeyword(NamedTuple):
    """A keyword that failed, with the path of the keywords around it, and the end of its messages."""

    path: str
    log: str


class RobotBody:
    """An open element that contains keywords: a suite, a test, or a keyword."""

    failures: Sequence[FailedKeyword] = ()

    def add_failures(self, failures: Iterable[FailedKeyword]) -> None:
        """Add failed keywords. The log of further ones is omitted if the logs are large."""
        found = list(self.failures)
        size = sum(len(failure.log) for failure in found)
        for failure in failures:
            if len(found) < _MAX_FAILURES:
                found.append(failure if size < 2 * _MAX_LOG else failure._replace(log=""))
                size += len(failure.log)
        self.failures = found

    @property
    def paths(self) -> str:
        """The paths of the failed keywords in lines, such as `Keyword: Pay > Click Button(id=pay)`."""
        return "\n".join(f"Keyword: {failure.path}" for failure in self.failures)

    @property
    def log(self) -> BoundedText:
        """The messages of the failed keywords, each after the path of its keyword."""
        return BoundedText("\n".join(f"{path}\n{log}\n" for path, log in self.failures if log))


class RobotLog:
    """Collects messages, each after a line feed. Only the end of long messages is stored."""

    messages = ""

    def add_message(self, text: str) -> None:
        """Add a chunk of the messages."""
        self.messages += text
        if len(self.messages) > _MAX_LOG:
            self.messages = self.messages[-_MAX_LOG:]

    @property
    def log_text(self) -> str:
        """The messages in lines."""
        return self.messages.lstrip("\n")


class RobotKeyword(RobotBody, RobotLog):
    """An open keyword or control structure. Most of them pass: defaults of the class make their creation fast."""

    status = ""

    def __init__(self, tag: str, attributes: XmlAttributes) -> None:
        self.tag = tag
        self.arguments: list[str] = []
        self.attributes = attributes

    def start_argument(self) -> None:
        """Start an argument, or the variable of an iteration."""
        self.arguments.append("")

    def add_argument(self, text: str) -> None:
        """Add a chunk of the text of the last argument."""
        self.arguments[-1] = (self.arguments[-1] + text)[:_MAX_ARGUMENT]

    def failed_keywords(self) -> list[FailedKeyword]:
        """Return the failed keywords of a closed keyword that failed, and the keyword itself if it has messages."""
        label = self._label()[:_MAX_PATH]
        failures = [FailedKeyword(_join(label, path), log) for path, log in self.failures]
        if self.messages or not failures:
            failures.append(FailedKeyword(label or self.tag.upper(), self.log_text))
        return failures

    def _label(self) -> str:
        attributes = (self.attributes.get(name) for name in ("type", "name", "condition"))
        title = " ".join(filter(None, (TITLES[self.tag], *attributes)))
        arguments = ", ".join(self.arguments)
        return f"{title}({arguments})" if title and arguments else title or arguments


def _join(label: str, path: str) -> str:
    """Return the path below a keyword. The start of a long path is omitted."""
    return f"{label} > {path}" if label and len(label) + len(path) < _MAX_PATH else path
