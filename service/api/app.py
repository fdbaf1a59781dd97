"""The application of the API: its middleware, resources, and routes. The console is added in service/app.py."""

from collections.abc import AsyncIterator
from typing import Final

from aiohttp import web

from service.api.documentation import DOCUMENT
from service.api.middleware import add_headers, handle_request, limit_connections
from service.api.openapi.document import document
from service.api.routes import add_routes
from service.http.process import RESOURCES, open_resources
from service.settings import Settings

_MAX_BODY_BYTES: Final = 10 * 2**20


def make_api(settings: Settings) -> web.Application:
    """Return the application, which opens its resources when it starts and closes them when it stops."""

    async def resources(app: web.Application) -> AsyncIterator[None]:
        async with open_resources(settings) as opened:
            app[RESOURCES] = opened
            yield

    app = web.Application(middlewares=[handle_request, limit_connections], client_max_size=_MAX_BODY_BYTES)
    app[DOCUMENT] = document()
    app.on_response_prepare.append(add_headers)
    app.cleanup_ctx.append(resources)
    app.on_shutdown.append(_end_waiting_requests)
    add_routes(app)
    return app


async def _end_waiting_requests(app: web.Application) -> None:
    """End event streams and long-polling requests, which would otherwise delay the shutdown."""
    app[RESOURCES].subscriptions.disconnect_all()
    app[RESOURCES].run_watch.wake_all()
    app[RESOURCES].export_watch.wake_all()
    app[RESOURCES].receipt_watch.wake_all()
