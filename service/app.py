"""The composition of the HTTP application: the API and the console."""

from aiohttp import web

from service.api.app import make_api
from service.console.app import add_console
from service.settings import Settings


def make_app(settings: Settings) -> web.Application:
    """Return the application, which opens its resources when it starts and closes them when it stops."""
    app = make_api(settings)
    add_console(app, settings.public_url)
    return app
