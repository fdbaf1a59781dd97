"""An open result of a TRX file."""

from typing import cast

from service.contracts.run_events import Failure
from service.reports.attachments import Attachment
from service.reports.bounded_text import BoundedText
from service.reports.xml_reader import XmlAttributes


class OpenResult:
    """An open result, or the error and the output of the run.

    `outputs` contains the outputs by the name of their artifact.
    """

    __slots__ = ("attachments", "attributes", "message", "outputs", "stack")

    def __init__(self, attributes: XmlAttributes) -> None:
        self.attributes = attributes
        self.message, self.stack = BoundedText(), BoundedText()
        self.attachments: list[Attachment] = []
        self.outputs: dict[str, BoundedText] = {}

    @property
    def failure(self) -> Failure:
        """The failure, without texts that are missing."""
        texts = (("message", self.message.details().strip()), ("details", self.stack.details().strip("\r\n")))
        return cast("Failure", {name: text for name, text in texts if text})
