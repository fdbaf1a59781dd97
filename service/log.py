"""Logging: one line per fact, for people on a terminal, as JSON elsewhere, with context such as request_id."""

import json
import logging
import sys
from typing import Any

import orjson
import structlog

log: structlog.stdlib.BoundLogger = structlog.get_logger()


def set_up(level: str = "info") -> None:
    """Configures logging of this process, once. Everything goes to stderr, stdout belongs to the commands."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: Any = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    if not sys.stderr.isatty():
        shared.append(structlog.processors.format_exc_info)
        renderer = structlog.processors.JSONRenderer(serializer=_to_json)
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processor=renderer, foreign_pre_chain=shared))
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)


def _to_json(value: Any, **_: Any) -> str:
    try:
        return orjson.dumps(value, default=str).decode()
    except TypeError:  # a text that is none, such as bytes of a header: better escaped than lost, with what it explains
        return json.dumps(value, default=str)
