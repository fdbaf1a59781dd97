"""Bases of the readers of XML reports: open cases, and the elements that NUnit, xUnit.net, and TestNG share."""

from typing import Final

from service.domain.statuses import ResultStatus, states_failure
from service.ingest.contract import Failure, ResultIn
from service.reports.conversion.attachments import MAX_ATTACHMENTS, Attachment, references
from service.reports.conversion.attempts import join_failures, make_failure
from service.reports.conversion.metadata import COUNT_OF, ReportMetadata
from service.reports.conversion.output import BoundedText, OutputPart, output_text, set_output
from service.reports.streams.xml import XmlAttributes, XmlReader
from service.results.model import PropertyCollector

_MAX_FAILURES: Final = 100  # per case
_NO_DETAILS: Final = "None"  # pytest-nunit writes this stack trace without a message


class OpenCase:
    """An open case. Most cases have no child elements: defaults of the class make their creation fast."""

    properties: PropertyCollector | None = None
    attachments: list[Attachment] | None = None
    outputs: dict[str, BoundedText] | None = None

    def attach(self, attachment: Attachment) -> None:
        """Add a file of the case."""
        self.attachments = self.attachments or []
        if len(self.attachments) < MAX_ATTACHMENTS:
            self.attachments.append(attachment)

    def add_property(self, name: str, value: str) -> bool:
        """Add a named value of the case, and return False if it exceeds the limits."""
        self.properties = self.properties or PropertyCollector()
        return self.properties.add(name, value)


class _XmlFailure:
    """An open failure, or the reason of a skipped case."""

    __slots__ = ("details", "is_reason", "kind", "message")

    def __init__(self, kind: str, is_reason: bool) -> None:
        self.kind = kind
        self.is_reason = is_reason
        self.message, self.details = BoundedText(), BoundedText()

    @property
    def failure(self) -> Failure:
        """The failure, without texts that are missing."""
        message, details = self.message.details().strip(), self.details.details().rstrip()
        if details[:1] in ("\r", "\n"):  # the element is indented, and not only the first line of the stack trace
            details = details.lstrip()
        if details == _NO_DETAILS and not message:
            details = ""
        return make_failure(self.kind, message, details)


class XmlCase(OpenCase):
    """An open case, or an open suite. The class itself is an opener."""

    failures: list[_XmlFailure] | None = None
    embedded: list[OutputPart] | None = None  # files that the report contains

    def __init__(self, _tag: str, attributes: XmlAttributes) -> None:
        self.attributes = attributes

    @property
    def failure(self) -> Failure | None:
        """The texts of all failures, or None if there are none."""
        texts = [failure for each in self.failures or () if (failure := each.failure)]
        return join_failures(texts) if texts else None

    @property
    def has_failed(self) -> bool:
        """Whether the case contains a failure, which can have no text."""
        return self.failures is not None and any(not failure.is_reason for failure in self.failures)


class XmlCaseReader(XmlReader):
    """The handlers of the elements that the formats share. Elements count only directly in a case or a suite."""

    def __init__(self, metadata: ReportMetadata, encoding: str, roots: frozenset[str], title: str) -> None:
        super().__init__(metadata, encoding, roots, title)
        self._tests = 0
        self._openers = {
            "failure": self._open_failure,
            "reason": self._open_reason,
            "message": self._open_message,
            "stack-trace": self._open_details,
            "output": self._open_output,
        }
        self._closers = dict.fromkeys(("reason", "message", "stack-trace", "output"), self._pop_text_handler)

    def _open_container(self, _tag: str, _attributes: XmlAttributes) -> XmlCase | None:
        """Pass the case or suite to the children of a container."""
        parent = self._open[-1]
        return parent if isinstance(parent, XmlCase) else None

    def _open_failure(self, _tag: str, attributes: XmlAttributes) -> _XmlFailure | None:
        kind = attributes.get("exception-type") or attributes.get("class") or ""
        return self._add_failure(_XmlFailure(kind, is_reason=False))

    def _open_reason(self, _tag: str, _attributes: XmlAttributes) -> _XmlFailure | None:
        """Open the reason of a skipped case: its text, or a `message` in it."""
        reason = self._add_failure(_XmlFailure("", is_reason=True))
        if reason:
            self._push_text_handler(reason.message.add)
        return reason

    def _add_failure(self, failure: _XmlFailure) -> _XmlFailure | None:
        case = self._open[-1]
        if not isinstance(case, XmlCase) or len(case.failures or ()) >= _MAX_FAILURES:
            return None
        case.failures = [*(case.failures or ()), failure]
        return failure

    def _open_message(self, _tag: str, _attributes: XmlAttributes) -> BoundedText | None:
        failure = self._open[-1]
        return self._collect(failure.message) if isinstance(failure, _XmlFailure) else None

    def _open_details(self, _tag: str, _attributes: XmlAttributes) -> BoundedText | None:
        failure = self._open[-1]
        return self._collect(failure.details) if isinstance(failure, _XmlFailure) else None

    def _open_output(self, _tag: str, _attributes: XmlAttributes) -> BoundedText | None:
        case = self._open[-1]
        return self._collect(output_text(case, "stdout.txt")) if isinstance(case, XmlCase) else None

    def _add_property(self, case: XmlCase, name: str, value: str) -> None:
        if name:
            self._metadata.dropped_properties += not case.add_property(name, value)

    def _complete(self, result: ResultIn, case: XmlCase) -> ResultIn:
        """Add the texts, the properties, and the files of a closed case."""
        parts = case.embedded or []
        if result["status"] != "passed":
            if failure := case.failure:
                result["failure"] = failure
            if case.outputs:
                heading = f"{result['suite']} {result['name']}"
                parts = [*self._metadata.output.add(heading, case.outputs.items()), *parts]
            self._metadata.contains_failures |= states_failure(result["status"])
        if parts:
            set_output(result, parts)
        if case.properties:
            result["properties"] = case.properties.pairs
        if case.attachments:
            result["artifacts"] = references(case.attachments)
        return result

    def _count(self, status: ResultStatus) -> None:
        self._tests += 1
        if status != "passed":
            self._metadata.counted[COUNT_OF.get(status, "other")] += 1

    def finish(self) -> list[ResultIn]:
        """End the document, and return the remaining results."""
        results = super().finish()
        self._metadata.counted["tests"] = self._tests
        return results
