"""The tools for results and their files: one result with its failure, the artifacts of a run, the text of a log."""

import codecs
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from service.client.http import ClientError, JsonObject, Server, ServerError
from service.client.runs import run_path
from service.failures.model import strip_escapes
from service.mcp.arguments import GetResultArguments, ReadLogArguments, RunArtifactsArguments
from service.mcp.documents import encode, read_page, untrusted
from service.results.rows import Execution, describe_flaky, group_files

_MAX_MESSAGE: Final = 2_500  # characters of the JSON
_MAX_DETAILS: Final = 6_000
_MAX_ATTEMPTS: Final = 5
_MAX_ATTEMPT_MESSAGE: Final = 400
_ARTIFACTS: Final = 10

_WINDOW: Final = 14_000  # bytes of a file that are read
_MAX_LOG: Final = 16_000  # characters of the JSON
_NOT_TEXT: Final = ("image/", "video/", "audio/", "font/", "application/zip", "application/pdf")
_MAX_REPLACED: Final = 0.1  # of the characters; more of them mean that the file isn't UTF-8 text


def get_result(server: Server, arguments: GetResultArguments) -> JsonObject:
    """Return a result with its failure, its attempts, and its artifacts."""
    path = f"/results/{quote(arguments.result_id, safe='')}"
    result = server.get(path)
    details = result["attempt_details"]
    executions = [Execution(each["attempt"], each["status"], each["job_attempt"]) for each in details]
    artifacts = server.get(f"{path}/artifacts", {"limit": str(_ARTIFACTS)})
    files = group_files(artifacts["data"], executions)
    failure, continue_with = _failure(result["failure"] or {}, arguments)
    names = ("case", "status", "flaky", "attempts", "duration_ms", "started_at", "completed_at", "line")
    texts = untrusted(
        result, "run_id", "project_id", "environment", "branch", "case_id", "suite", "name", "variant", "file",
        "part", "logs_ref", "properties",
    )  # fmt: skip
    return {
        "result_id": result["id"],
        **{name: result[name] for name in names},
        **texts,
        "flaky_because": describe_flaky(None, executions) if result["flaky"] else None,
        "failure": failure,
        "attempt_details": [_attempt(each, files.get(each["attempt"], [])) for each in details[-_MAX_ATTEMPTS:]],
        "omitted_attempts": max(0, len(details) - _MAX_ATTEMPTS),
        "artifacts": [_artifact(artifact) for artifact in artifacts["data"]],
        "has_more_artifacts": artifacts["has_more"],
        "continue_with": continue_with,
    }


def _failure(failure: JsonObject, arguments: GetResultArguments) -> tuple[JsonObject | None, JsonObject | None]:
    """Return the requested part of the failure, and the arguments for the following part."""
    offsets = {"message": arguments.message_offset, "details": arguments.details_offset}
    limits = {"message": _MAX_MESSAGE, "details": _MAX_DETAILS}
    rest = {name: strip_escapes(failure.get(name) or "")[offset:] for name, offset in offsets.items()}
    texts = untrusted({"type": failure.get("type"), **rest}, "type", **limits)
    shortened = [name for name in offsets if name in texts.get("truncated_texts", ())]
    ends = {f"{name}_offset": offsets[name] + len(texts["untrusted"][name]) for name in shortened}
    return (texts if failure else None), ends or None


def _attempt(attempt: JsonObject, files: Sequence[Mapping[str, Any]]) -> JsonObject:
    """Return an attempt with the IDs of its output and its other files."""
    failure = attempt["failure"] or {}
    texts = untrusted({"message": failure.get("message")}, message=_MAX_ATTEMPT_MESSAGE)
    names = ("attempt", "job_attempt", "status", "duration_ms")
    return {**{name: attempt[name] for name in names}, "artifact_ids": [file["id"] for file in files], **texts}


def list_run_artifacts(server: Server, arguments: RunArtifactsArguments) -> JsonObject:
    """Return the artifacts of a run that belong to none of its results."""
    path = f"{run_path(arguments.run_id)}/artifacts"
    found = read_page(server, path, [], arguments.limit, _artifact, arguments.starting_after)
    return {"artifacts": found.rows, "continue_with": found.continue_with}


def _artifact(artifact: JsonObject) -> JsonObject:
    return {
        "artifact_id": artifact["id"],
        "kind": artifact["kind"],
        "size": artifact["size"],
        "is_stored": artifact["url"] is not None,
        **untrusted(artifact, "content_type", "uri", name=200),
    }


class _LogPart(NamedTuple):
    """Bytes of a file. `start` is the position of the first byte, and `size` the size of the file."""

    content: bytes
    start: int
    size: int


def read_log(server: Server, arguments: ReadLogArguments) -> JsonObject:
    """Return a part of a text file. Raises ClientError if the file isn't text."""
    part = _read_part(server, arguments)
    text, length = _decode(part)
    end = part.start + length
    return {
        "offset": part.start,
        "end": end,
        "size": part.size,
        "untrusted": {"text": text},
        "continue_with": {"offset": end} if end < part.size else None,
    }


def _read_part(server: Server, arguments: ReadLogArguments) -> _LogPart:
    offset = arguments.offset
    requested = f"bytes={offset}-{offset + _WINDOW - 1}" if offset >= 0 else f"bytes={offset}"
    path = f"/artifacts/{quote(arguments.artifact_id, safe='')}"
    try:
        with server.open("GET", path, headers={"Range": requested}) as response:
            _check_type(response.headers.get("Content-Type", ""))
            start, size = _position(response.headers)
            content = _read_at_most(response.iter_bytes(), _WINDOW)
            return _LogPart(content if start + len(content) == size else _without_last_line(content), start, size)
    except ServerError as error:
        if error.status != 416:
            raise
        raise ClientError("offset: is after the end of the file, or the file is empty") from error


def _check_type(content_type: str) -> None:
    """Raise ClientError for a type that isn't text. The producer chose the type, so the error shows only its start."""
    for start in _NOT_TEXT:
        if content_type.startswith(start):
            raise ClientError(f"artifact_id: the file isn't text (its type starts with {start})")


def _position(headers: Mapping[str, str]) -> tuple[int, int]:
    """Return the position of the first byte of a response in its file, and the size of the file."""
    content_range = headers.get("Content-Range")  # bytes 0-13999/48211
    if content_range is None:
        return 0, int(headers["Content-Length"])
    positions, _, size = content_range.removeprefix("bytes ").partition("/")
    return int(positions.partition("-")[0]), int(size)


def _read_at_most(chunks: Iterable[bytes], size: int) -> bytes:
    content = bytearray()
    for chunk in chunks:
        content += chunk
        if len(content) >= size:
            break
    return bytes(content[:size])


def _without_last_line(content: bytes) -> bytes:
    """Remove an incomplete line, unless most of the content is one line. A line contains complete escape sequences."""
    end = content.rfind(b"\n") + 1
    return content[:end] if end > len(content) // 2 else content


def _decode(part: _LogPart) -> tuple[str, int]:
    """Return the text, and the number of its bytes. Raises ClientError if the bytes aren't text."""
    content = part.content
    while True:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        decoded = decoder.decode(content, final=part.start + len(content) == part.size)
        if "\0" in decoded or decoded.count("\ufffd") > _MAX_REPLACED * len(decoded):
            raise ClientError("artifact_id: the file isn't UTF-8 text")
        text = strip_escapes(decoded)
        if len(encode(text)) <= _MAX_LOG:
            return text, len(content) - len(decoder.getstate()[0])
        content = _without_last_line(content[: len(content) * 3 // 4])
