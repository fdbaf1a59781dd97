"""Pages as HTML that Jinja2 renders from templates, the values that every template can use, and static files."""

import gzip
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from importlib.resources import files
from pathlib import PurePath
from typing import Any, Final, NamedTuple
from urllib.parse import quote, urlencode

import aiohttp_jinja2
import jinja2
from aiohttp import web
from jinja2 import Environment

from service.console import charts, formats
from service.console.filters import active_filters
from service.console.labels import CHANGE_TITLES, draw_icon, field_label, find_label
from service.console.pages import get_session
from service.console.sessions import SESSIONS
from service.domain.code_links import code_links
from service.domain.errors import NotFound
from service.domain.texts import format_rate
from service.failures.model import strip_escapes
from service.http.responses import REQUEST_ID, accepted_encodings
from service.identity.keys.model import actor_kind, creator_of, permissions_of, roles_with
from service.identity.members.model import form_token
from service.version import NAME, describe_build

CURSOR: Final = "starting_after"
_PACKAGE: Final = "service.console"
_ESCAPE: Final = "\x1b"
_TYPES: Final = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
}
_DIGEST_DIGITS: Final = 12
_IMMUTABLE: Final = "public, max-age=31536000, immutable"


def render(request: web.Request, template: str, context: Mapping[str, Any], status: int = 200) -> web.Response:
    """Return a page. Templates get the context and the values of `_common`."""
    return aiohttp_jinja2.render_template(template, request, {**_common(request), **context}, status=status)


def _common(request: web.Request) -> dict[str, Any]:
    """Return the values for every template.

    `session` is None without a session. `permissions` are the permissions of its role. Each form contains `form_token`.
    """
    session, session_id = get_session(request), request.app[SESSIONS].read_id(request)
    return {
        "session": session,
        "permissions": permissions_of(session.caller.role) if session else frozenset(),
        "form_token": form_token(session_id) if session and session_id else "",
        "path": request.path,
        "request_id": request[REQUEST_ID],
    }


def page_url(app: web.Application, page: str, query: Mapping[str, Any] | None = None, **parts: str) -> str:
    """Return the path of a page by the name of its route, with its parts and its query parameters.

    A list in the query repeats its parameter. Parameters without a value are left out.
    """
    path = app.router[page].canonical.format_map({name: quote(part, safe="") for name, part in parts.items()})
    given = {name: value for name, value in (query or {}).items() if value not in (None, "", [])}
    return f"{path}?{urlencode(given, doseq=True)}" if given else path


def page_links(request: web.Request, next_cursor: str | None) -> dict[str, str | None]:
    """Return the URLs of the next and of the newest page of a list.

    They are None if there is no next page, or if this is the newest one.
    """
    url = request.rel_url
    return {
        "next_url": str(url.update_query({CURSOR: next_cursor})) if next_cursor else None,
        "newest_url": str(url.without_query_params(CURSOR)) if CURSOR in url.query else None,
    }


def set_up_templates(app: web.Application) -> None:
    """Load the templates of this package. An undefined value in a template is an error."""
    environment = aiohttp_jinja2.setup(
        app,
        loader=jinja2.PackageLoader(_PACKAGE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        default_helpers=False,
        finalize=_strip_escapes,
    )
    add_functions(environment)
    environment.globals["product"] = f"{NAME} {describe_build()}"
    environment.globals["static"] = lambda name: page_url(app, "static", name=app[STATIC_FILES].hashed_name(name))
    environment.globals["url"] = lambda page, query=None, **parts: page_url(app, page, query, **parts)


def add_functions(environment: Environment) -> None:
    """Add the filters and functions."""
    environment.filters.update(
        actor_kind=actor_kind,
        breakable=formats.breakable,
        count=formats.format_count,
        creator_of=creator_of,
        duration=formats.format_duration,
        exact_duration=formats.format_exact_duration,
        exact_time=formats.format_exact_time,
        first_line=formats.first_line,
        plain=strip_escapes,
        rate=format_rate,
        rfc3339=formats.format_rfc3339,
        relative_time=lambda time: formats.format_relative_time(time, datetime.now(UTC)),
        safe_url=formats.safe_url,
        short_count=formats.format_short_count,
        size=formats.format_size,
        utc=formats.format_time,
    )
    environment.globals.update(
        active_filters=active_filters,
        code_links=lambda run: code_links(run.repository_url, pipeline=run.pipeline),
        change_titles=CHANGE_TITLES,
        count_segments=charts.count_segments,
        describe_counts=charts.describe_counts,
        draw_icon=draw_icon,
        field_label=field_label,
        find_label=find_label,
        plural=formats.format_plural,
        roles_with=roles_with,
    )


def _strip_escapes(value: object) -> object:
    """Return the value of an expression in a template, a text without escape sequences.

    Names, suites, and types of failures can have the colors of a terminal.
    """
    if isinstance(value, str) and _ESCAPE in value:
        return type(value)(strip_escapes(value))  # safe HTML stays safe HTML
    return value


class StaticFile(NamedTuple):
    """A file in memory, and compressed if that is smaller."""

    content: bytes
    compressed: bytes | None
    content_type: str


class StaticFiles:
    """The files of this installation. A changed file has another name, so that caches never expire it."""

    def __init__(self, contents: Mapping[str, bytes]) -> None:
        self._names = {name: _hashed_name(name, content) for name, content in contents.items()}
        self._files = {self._names[name]: _load(name, content) for name, content in contents.items()}

    def hashed_name(self, name: str) -> str:
        """Return the name that contains the digest. Raises KeyError if the file doesn't exist."""
        return self._names[name]

    def find(self, hashed_name: str) -> StaticFile:
        """Return a file. Raises NotFound."""
        if hashed_name not in self._files:
            raise NotFound("the file doesn't exist in this version")
        return self._files[hashed_name]


STATIC_FILES: Final = web.AppKey("static_files", StaticFiles)


@cache
def read_static_files() -> StaticFiles:
    """Read the files of this package."""
    folder = files(_PACKAGE) / "static"
    return StaticFiles({file.name: file.read_bytes() for file in folder.iterdir() if PurePath(file.name).suffix})


async def get_static_file(request: web.Request) -> web.Response:
    """Return a static file, which never changes under its name."""
    file = request.app[STATIC_FILES].find(request.match_info["name"])
    response = web.Response(body=file.content, content_type=file.content_type)
    response.headers["Cache-Control"] = _IMMUTABLE
    if file.compressed is not None:
        response.headers["Vary"] = "Accept-Encoding"
        if "gzip" in accepted_encodings(request):
            response.body, response.headers["Content-Encoding"] = file.compressed, "gzip"
    return response


def _hashed_name(name: str, content: bytes) -> str:
    path = PurePath(name)
    return f"{path.stem}.{sha256(content).hexdigest()[:_DIGEST_DIGITS]}{path.suffix}"


def _load(name: str, content: bytes) -> StaticFile:
    compressed = gzip.compress(content, mtime=0)
    smaller = compressed if len(compressed) < len(content) else None
    return StaticFile(content, smaller, _TYPES[PurePath(name).suffix])
