"""Puts the HTTP application together."""

from collections.abc import AsyncIterator
from typing import Final

from aiohttp import web

from service.api.handlers.documentation import DOCUMENT
from service.api.http.middleware import add_headers, answer
from service.api.openapi import document
from service.api.routes import add_routes
from service.api.server.resources import RESOURCES, open_resources
from service.settings import Settings

_MAX_BODY: Final = 10 * 2**20


def make_app(settings: Settings) -> web.Application:
    """The application; what it works with is opened when it starts and closed when it stops."""

    async def resources(app: web.Application) -> AsyncIterator[None]:
        async with open_resources(settings) as opened:
            app[RESOURCES] = opened
            yield

    app = web.Application(middlewares=[answer], client_max_size=_MAX_BODY)
    app[DOCUMENT] = document()
    app.on_response_prepare.append(add_headers)
    app.cleanup_ctx.append(resources)
    app.on_shutdown.append(_end_streams)
    add_routes(app)
    return app


async def _end_streams(app: web.Application) -> None:
    """Streams and waits would hold up the end of the process."""
    app[RESOURCES].subscriptions.disconnect_all()
    app[RESOURCES].run_watch.wake_all()
    app[RESOURCES].export_watch.wake_all()
    app[RESOURCES].receipt_watch.wake_all()
