"""Logging with structlog: console format on a terminal, otherwise JSON lines, with context such as request_id."""

import json
import logging
import sys
from collections.abc import Iterable
from types import TracebackType
from typing import Any, TextIO, cast

import orjson
import structlog

from service.domain.texts import redact_secrets
from service.tracing.spans import log_fields

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class LogStream:
    """A stream that never raises: a process must not end because its log is full or has no reader.

    It writes without a buffer, because the buffer of a full disk would be written, or fail again, with a later line.
    """

    def __init__(self, stream: TextIO) -> None:
        buffer = stream.buffer
        self._raw = getattr(buffer, "raw", buffer)
        self._lost_lines = 0

    def write(self, line: str) -> int:
        """Write a line without secrets. If that fails, the line is lost and counted."""
        data = redact_secrets(line).encode(errors="backslashreplace")
        try:
            while data:
                data = data[self._raw.write(data) or 0 :]
        except (OSError, ValueError):  # ValueError: the stream is closed
            self._lost_lines += 1
        else:
            self._lost_lines = 0
        return len(line)

    def flush(self) -> None:
        """Do nothing: there is no buffer."""

    def add_lost_lines(self, _logger: Any, _method: str, event: Any) -> Any:
        """Add the number of lines that were lost since the last written line. A processor of structlog."""
        if self._lost_lines:
            event["lost_log_lines"] = self._lost_lines
        return event


def set_up(level: str = "info") -> None:
    """Configure logging of this process. Logs go to stderr, because commands print their output to stdout."""
    stream = LogStream(sys.stderr)
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        _add_trace,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        stream.add_lost_lines,
    ]
    renderer: Any = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    if not sys.stderr.isatty():
        shared.append(structlog.processors.format_exc_info)
        renderer = structlog.processors.JSONRenderer(serializer=_to_json)
    text_stream = cast("TextIO", stream)  # the loggers only write and flush
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(text_stream),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(text_stream)
    of_libraries = [_shorten_warning, *shared]
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processor=renderer, foreign_pre_chain=of_libraries))
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    sys.excepthook = _log_crash


def _add_trace(_logger: Any, _method: str, event: Any) -> Any:
    """Add trace_id and span_id if there is a span. A processor of structlog."""
    event.update(log_fields())
    return event


def _shorten_warning(_logger: Any, _method: str, event: Any) -> Any:
    """Replace the traceback of a library's warning by the error. A processor of structlog.

    The library has handled the error, such as a lost connection, and the frames are those of the library.
    """
    if event["_record"].levelno == logging.WARNING and "exc_info" in event:
        event["error"] = repr(event.pop("exc_info")[1])
    return event


def _log_crash(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """Log the error that ends the process, because the interpreter would write it with its secrets."""
    log.critical("process_crashed", exc_info=(kind, error, traceback))


def log_unknown_settings(messages: Iterable[str]) -> None:
    """Log each message about an environment variable that isn't a setting, such as a misspelled one."""
    for message in messages:
        log.warning("unknown_setting", error=message)


def _to_json(value: Any, **_: Any) -> str:
    try:
        return orjson.dumps(value, default=str).decode()
    except TypeError:  # lone surrogates, such as those of a header that isn't UTF-8: json escapes them
        return json.dumps(value, default=str)
