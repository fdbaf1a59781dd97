"""Base of the reader of Robot Framework: the handlers of keywords, control structures, and their messages."""

from typing import Any, Final

from service.reports.attachments import Attachment
from service.reports.bounded_text import BoundedText
from service.reports.readers.robot_keywords import FAILED, MAX_ARGUMENTS, TITLES, RobotBody, RobotKeyword, RobotLog
from service.reports.readers.robot_messages import files_of, text_of_html
from service.reports.readers.robot_teardowns import ROOTS, TITLE
from service.reports.xml_reader import XmlAttributes, XmlReader

_IS_HTML: Final = ("true", "yes")  # `yes` is that of versions before 4


class _HtmlMessage:
    """An open message in HTML. `log` is that of its keyword."""

    __slots__ = ("html", "log")

    def __init__(self, log: RobotLog) -> None:
        self.log = log
        self.html = BoundedText()


class RobotBodyReader(XmlReader):
    """Collects the failed keywords of suites and tests. The value of an element without a meaning is None."""

    def __init__(self, encoding: str) -> None:
        super().__init__(encoding, ROOTS, TITLE)
        self._openers = {
            **dict.fromkeys(TITLES, self._open_keyword),
            "arguments": self._open_list,
            "arg": self._open_argument,
            "var": self._open_variable,
            "msg": self._open_message,
        }
        self._closers = {
            **dict.fromkeys(TITLES, self._close_keyword),
            **dict.fromkeys(("arg", "var"), self._pop_text_handler),
            "msg": self._close_message,
        }

    def _attach(self, attachment: Attachment) -> None:
        """Add a file that a message shows."""
        raise NotImplementedError

    def _open_keyword(self, tag: str, attributes: XmlAttributes) -> RobotKeyword | None:
        return RobotKeyword(tag, attributes) if isinstance(self._open[-1], RobotBody) else None

    def _close_keyword(self, keyword: RobotKeyword) -> None:
        if keyword.status == FAILED:
            parent: RobotBody = self._open[-1]
            parent.add_failures(keyword.failed_keywords())

    def _open_list(self, _tag: str, _attributes: XmlAttributes) -> Any:
        """Pass the test or the keyword to the elements of a list, which versions before 4 write around them."""
        return self._open[-1]

    def _open_argument(self, _tag: str, _attributes: XmlAttributes) -> RobotKeyword | None:
        keyword = self._open[-1]
        if not isinstance(keyword, RobotKeyword) or len(keyword.arguments) >= MAX_ARGUMENTS:
            return None
        keyword.start_argument()
        self._push_text_handler(keyword.add_argument)
        return keyword

    def _open_variable(self, tag: str, attributes: XmlAttributes) -> RobotKeyword | None:
        """Collect the value of a variable in an iteration. Other variables are those that a keyword assigns."""
        parent = self._open[-1]
        if not isinstance(parent, RobotKeyword) or parent.tag != "iter":
            return None
        iteration = self._open_argument(tag, attributes)
        if iteration:
            iteration.add_argument(f"{attributes.get('name', '')} = ")
        return iteration

    def _open_message(self, _tag: str, attributes: XmlAttributes) -> RobotLog | _HtmlMessage | None:
        log = self._open[-1]
        if not isinstance(log, RobotLog):
            return None
        time = attributes.get("time") or attributes.get("timestamp", "")
        log.add_message(f"\n{time} {attributes.get('level', '')} ")
        if attributes.get("html") not in _IS_HTML:
            self._push_text_handler(log.add_message)
            return log
        message = _HtmlMessage(log)
        self._push_text_handler(message.html.add)
        return message

    def _close_message(self, opened: RobotLog | _HtmlMessage) -> None:
        self._pop_text_handler()
        if isinstance(opened, _HtmlMessage):
            html = opened.html.details()
            opened.log.add_message(text_of_html(html))
            for file in files_of(html):
                self._attach(file)
