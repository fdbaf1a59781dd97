"""Forms of pages: their fields, their token, and the check that a page of the console sent them."""

from typing import Final
from urllib.parse import parse_qsl, urlsplit

from aiohttp import web
from multidict import MultiDict

from service.api.http.bodies import read_small_body
from service.api.http.uploads import check_content_length
from service.api.resources import RESOURCES
from service.console.sessions import SESSIONS
from service.domain.errors import Forbidden, InvalidRequest, UnsupportedMediaType
from service.domain.sessions import is_form_token

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
