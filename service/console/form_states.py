"""The state of a form that a page shows: its values, and the error of the request that sent it."""

from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

from aiohttp import web
from multidict import MultiDict

from service.api.http.errors import ErrorReport, report_error
from service.console.labels import label_message, message_at_field
from service.domain.errors import Conflict, Forbidden, InvalidRequest, NotFound


class FormState(NamedTuple):
    """The value of each field as text, and the error, if any."""

    values: Mapping[str, str]
    error: ErrorReport | None = None

    @property
    def status(self) -> int:
        """The status of the page that shows the form."""
        return self.error.status if self.error else 200

    @property
    def other_problem(self) -> str | None:
        """The message of an error that concerns no field of the form."""
        return None if self.error is None or self._wrong_field in self.values else label_message(self.error.message)

    def problem(self, name: str) -> str | None:
        """Return the message at a field, without the name of the field."""
        return message_at_field(self.error.message) if self.error and name == self._wrong_field else None

    @property
    def _wrong_field(self) -> str:
        """The field to which the error belongs. Its message starts with the name, and that of a part with its path."""
        prefix = self.error.message.partition(": ")[0] if self.error else ""
        return prefix.removeprefix("filter.").partition(".")[0]  # the API has the filters of an export in an object


def state_of(form: MultiDict[str], defaults: Mapping[str, str], error: ErrorReport) -> FormState:
    """Return the state of a form that the service rejected. `defaults` has all of its fields."""
    return FormState({name: form.get(name, "") for name in defaults}, error)


def without_blanks(form: MultiDict[str]) -> MultiDict[str]:
    """Return the fields that aren't blank, which a browser sends, too. Lines end as on Unix."""
    return MultiDict((name, value.replace("\r\n", "\n")) for name, value in form.items() if value.strip())


async def submit(request: web.Request, work: Callable[[], Awaitable[web.Response]]) -> web.Response | ErrorReport:
    """Return the response to a form, or the error that the page shows with the form."""
    try:
        return await work()
    except (InvalidRequest, Conflict, Forbidden, NotFound) as error:
        return report_error(request, error)
