"""Forms of pages: their fields, their token, and the check that a page of the console sent them."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from aiohttp import web
from multidict import MultiDict

from service.console.labels import label_message, message_at_field
from service.console.sessions import SESSIONS
from service.domain.errors import Conflict, Forbidden, InvalidRequest, NotFound, UnsupportedMediaType
from service.http.bodies import check_content_length, read_small_body
from service.http.errors import ErrorReport, report_error
from service.http.process import RESOURCES
from service.identity.members.model import is_form_token

TOKEN_FIELD: Final = "form_token"  # noqa: S105 - the name of a field
_MEDIA_TYPE: Final = "application/x-www-form-urlencoded"
_MAX_BYTES: Final = 64 * 2**10
_MAX_FIELDS: Final = 200
_FORM: Final = web.RequestKey("form", MultiDict[str])


def get_form(request: web.Request) -> MultiDict[str]:
    """Return the fields of a checked form, without its token."""
    return request[_FORM]


async def check_form(request: web.Request) -> None:
    """Read the form of the request. Raises Forbidden if it isn't from a page of the console in the same browser."""
    _check_origin(request)
    form = await _read_form(request)
    session_id = request.app[SESSIONS].cookie.read(request)
    if session_id is None or not is_form_token(form.get(TOKEN_FIELD, ""), session_id):
        raise Forbidden(f"{TOKEN_FIELD}: the form is outdated; load the page again")
    form.popall(TOKEN_FIELD)
    request[_FORM] = form


def _check_origin(request: web.Request) -> None:
    """Raise Forbidden if a page of another origin sent the form, or if the origin is unknown.

    A browser sends Sec-Fetch-Site to HTTPS and to localhost, and Origin with every POST.
    """
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    is_same = _is_own_origin(request, origin) if site is None else site == "same-origin"
    if not is_same:
        raise Forbidden("Origin: only a page of the console can send this form")


def _is_own_origin(request: web.Request, origin: str | None) -> bool:
    """Return whether the origin is that of the public URL or has the requested host.

    A proxy can terminate TLS, so the scheme of the request can differ from that of the page.
    """
    public = urlsplit(request.app[RESOURCES].settings.link_base)
    return origin in (f"https://{request.host}", f"http://{request.host}", f"{public.scheme}://{public.netloc}")


async def _read_form(request: web.Request) -> MultiDict[str]:
    """Return the fields. Raises UnsupportedMediaType, TooLarge, or InvalidRequest."""
    if request.content_type != _MEDIA_TYPE:
        raise UnsupportedMediaType(f"Content-Type: must be {_MEDIA_TYPE}")
    check_content_length(request, _MAX_BYTES)
    body = await read_small_body(request, _MAX_BYTES)
    try:
        fields = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_MAX_FIELDS, errors="strict")
    except ValueError:
        raise InvalidRequest(f"the form must be URL-encoded UTF-8 with at most {_MAX_FIELDS} fields") from None
    return MultiDict(fields)


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
