"""The weights in the request headers Accept and Accept-Encoding."""

from aiohttp import web


def accepted(request: web.Request, header: str) -> dict[str, float]:
    """Return the weights of the values that the client names in the header; 0 means that it rejects a value."""
    if header not in request.headers:
        return {}
    values = [part for value in request.headers.getall(header) for part in value.split(",")]
    offers = (value.replace(" ", "").lower().partition(";q=") for value in values)
    return {name: _weight(weight) for name, _, weight in offers}


def _weight(text: str) -> float:
    try:
        return float(text or 1)
    except ValueError:
        return 0.0
