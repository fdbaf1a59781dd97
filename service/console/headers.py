"""Security headers of all responses of the console."""

from typing import Final

from aiohttp import web

from service.console.errors import is_console

# Origin must not be "null" in forms, so the policy of the referrer is same-origin instead of no-referrer.
_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
    " connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


async def add_security_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Add the headers that the handler didn't set itself."""
    if is_console(request):
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)
