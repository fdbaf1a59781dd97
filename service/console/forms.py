"""Forms of pages: the check that a page of the console sent them, their fields and errors, and their changes.

A change is one transaction with its audit entry, then a redirect, so that a reload repeats no change.
"""

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from aiohttp import web
from multidict import MultiDict, MultiMapping

from service.console.labels import label_message, message_at_field
from service.console.sessions import SESSIONS
from service.domain.errors import Conflict, Forbidden, InvalidRequest, NotFound, UnsupportedMediaType
from service.http.authentication import get_caller
from service.http.bodies import check_content_length, read_small_body
from service.http.errors import ErrorReport, report_error
from service.http.mutations import OperationArguments
from service.http.parsing import AnyModel, parse_pairs
from service.http.process import RESOURCES
from service.http.responses import REQUEST_ID
from service.identity.keys.model import Caller
from service.identity.members.model import is_form_token
from service.mutations.model import Mutation, StoredResponse
from service.mutations.operations import Transaction, mutate

TOKEN_FIELD: Final = "form_token"  # noqa: S105 - the name of a field
_MEDIA_TYPE: Final = "application/x-www-form-urlencoded"
_MAX_BYTES: Final = 64 * 2**10
_MAX_FIELDS: Final = 200
_FORM: Final = web.RequestKey("form", MultiDict[str])
_CHANGED, _UNCHANGED = 303, 200  # distinguish the outcomes for the audit trail; both are redirects


def get_form(request: web.Request) -> MultiDict[str]:
    """Return the fields of a checked form, without its token."""
    return request[_FORM]


async def check_form(request: web.Request) -> None:
    """Read the form of the request. Raises Forbidden if it isn't from a page of the console in the same browser."""
    _check_origin(request)
    form = await _read_form(request)
    session_id = request.app[SESSIONS].read_id(request)
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
    """Return whether the origin is the origin of the public URL, or has the requested host.

    A proxy can terminate TLS, so the scheme of the request can differ from the scheme of the page.
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
        """The field to which the error belongs. The message starts with its name, or with the path of a part of it."""
        prefix = self.error.message.partition(": ")[0] if self.error else ""
        return prefix.removeprefix("filter.").partition(".")[0]  # the API has the filters of an export in an object


def state_of(form: MultiDict[str], defaults: Mapping[str, str], error: ErrorReport) -> FormState:
    """Return the state of a form that the service rejected. `defaults` has all of its fields."""
    return FormState({name: form.get(name, "") for name in defaults}, error)


def without_blanks(form: MultiDict[str]) -> MultiDict[str]:
    """Return the fields that aren't blank, which a browser sends, too. Lines end as on Unix."""
    return MultiDict((name, value.replace("\r\n", "\n")) for name, value in form.items() if value.strip())


def parse_form(fields: MultiMapping[str], model: type[AnyModel]) -> AnyModel:
    """Return the validated fields. Raises InvalidRequest."""
    return parse_pairs(fields, model, "field")


async def submit(request: web.Request, work: Coroutine[Any, Any, web.Response]) -> web.Response | ErrorReport:
    """Return the response to a form, or the error that the page shows with the form."""
    try:
        return await work
    except (InvalidRequest, Conflict, Forbidden, NotFound) as error:
        return report_error(request, error)


class Unchanged(NamedTuple):
    """The path to redirect to if nothing was changed. The audit trail gets no entry."""

    path: str


async def apply_change(
    request: web.Request,
    caller: Caller,
    change: Callable[[Transaction], Awaitable[str | Unchanged]],
    *,
    one_snapshot: bool = False,
) -> web.Response:
    """Apply the change, and redirect to the path that it returns. The audit trail has the same entries as for the API.

    With `one_snapshot`, the change reads the rows of one point in time, and is repeated after a conflict.
    """

    async def work(transaction: Transaction) -> StoredResponse:
        outcome = await change(transaction)
        if isinstance(outcome, Unchanged):
            return StoredResponse(_UNCHANGED, b"", outcome.path)
        return StoredResponse(_CHANGED, b"", outcome)

    mutation = Mutation(
        caller.org_id, caller.actor_id, request.method, request.path, request[REQUEST_ID], None, b"", _UNCHANGED
    )
    pool = request.app[RESOURCES].pool
    response, _ = await mutate(pool, mutation, work, lambda _: None, one_snapshot=one_snapshot)
    return redirect(response.location or "")


async def apply_and_show(
    request: web.Request,
    path: str,
    operation: Callable[[Transaction, *OperationArguments], Awaitable[object]],
    *arguments: *OperationArguments,
) -> web.Response:
    """Call the operation like `apply_change`, and redirect to a path that doesn't depend on its result."""

    async def change(transaction: Transaction) -> str:
        await operation(transaction, *arguments)
        return path

    return await apply_change(request, get_caller(request), change)


def redirect(path: str) -> web.Response:
    """Return a redirect to a local path, which the browser requests with GET."""
    return web.Response(status=303, headers={"Location": path})
