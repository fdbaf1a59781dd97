"""The composition of the console, which is a part of the application of the API."""

from urllib.parse import urlsplit

from aiohttp import web

from service.console.errors import show_errors
from service.console.headers import add_security_headers
from service.console.pages import set_up_templates
from service.console.routes import add_routes
from service.console.sessions import SESSIONS, Sessions, session_cookie
from service.console.sign_in_cookies import SIGN_IN_COOKIE, sign_in_cookie
from service.console.static_files import STATIC_FILES, read_static_files


def add_console(app: web.Application, public_url: str | None) -> None:
    """Add the pages of the console to the application of the API."""
    is_https = urlsplit(public_url or "").scheme == "https"
    app[SESSIONS] = Sessions(session_cookie(is_https=is_https))
    app[SIGN_IN_COOKIE] = sign_in_cookie(is_https=is_https)
    app[STATIC_FILES] = read_static_files()
    app.middlewares.insert(1, show_errors)  # inside of the request ID, and around the limits
    app.on_response_prepare.append(add_security_headers)
    set_up_templates(app)
    add_routes(app)
