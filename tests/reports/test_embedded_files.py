"""The files that reports contain: where they are written, their names and kinds, and their limits."""

from hashlib import sha256
from io import BytesIO
from typing import Any

import pytest

from service.reports.conversion import output
from service.reports.conversion.attempts import add_attempt, count_rows
from service.reports.conversion.output import OutputWriter, output_of, set_output
from service.reports.model import StoredPart
from service.reports.store_uploads import StoredOutput, references

PNG = b"\x89PNG\r\n\x1a\n"
STORED = StoredOutput(StoredPart("text", "name", None, 0, ""), StoredPart("embedded", "name", None, 0, ""))


def test_file_is_written_to_the_second_file() -> None:
    text, embedded = BytesIO(), BytesIO()
    writer = OutputWriter(text, embedded)

    first, second = writer.embed("cart.png", "image/png", PNG)[0], writer.embed("page", "text/html", b"<p>")[0]

    assert (text.getvalue(), embedded.getvalue()) == (b"", PNG + b"<p>")
    digest = sha256(PNG).hexdigest()
    assert first == {
        "name": "cart.png", "offset": 0, "size": 8, "sha256": digest, "kind": "screenshot", "content_type": "image/png",
    }  # fmt: skip
    assert (second["name"], second["offset"], second["kind"]) == ("page.html", 8, "report")


@pytest.mark.parametrize(
    ("name", "content_type", "stored"),
    [
        ("", "image/png", "file.png"),
        ("../../etc/pass\nwd", "text/plain; charset=utf-8", "etc/passwd.txt"),
        ("cart.jpeg", "image/png", "cart.jpeg"),
        ("version 1.5", "IMAGE/PNG", "version 1.5.png"),
        ("dump", None, "dump"),
        ("x" * 1_000, "application/x-unknown", "x" * 400),
    ],
)
def test_name_of_a_file_is_a_relative_path_with_a_suffix(name: str, content_type: str | None, stored: str) -> None:
    [part] = OutputWriter().embed(name, content_type, b"data")
    assert part["name"] == stored


def test_empty_file_is_omitted_without_a_note() -> None:
    writer = OutputWriter(BytesIO(), BytesIO())
    assert (writer.embed("empty.png", "image/png", b""), writer.notes) == ([], [])


def test_files_that_exceed_the_limits_are_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "MAX_EMBEDDED_BYTES", 10)
    monkeypatch.setattr(output, "MAX_ALL_EMBEDDED_BYTES", 25)
    embedded = BytesIO()
    writer = OutputWriter(BytesIO(), embedded)

    stored = [len(writer.embed("a.bin", None, b"x" * size)) for size in (10, 11, 10, 6, 5)]

    assert (stored, len(embedded.getvalue())) == ([1, 0, 1, 0, 1], 25)
    assert writer.notes == [
        "embedded files: 2 were not stored; at most 200 per result, 0 MiB per file, and 0 MiB per upload fit"
    ]  # fmt: skip


def test_report_that_is_read_again_replaces_its_files() -> None:
    text, embedded = BytesIO(), BytesIO()
    writer = OutputWriter(text, embedded)
    writer.embed("kept.bin", None, b"kept")
    mark = writer.mark()
    writer.embed("first.bin", None, b"of the first reading")
    writer.embedded.dropped += 1

    writer.rewind(mark)
    [part] = writer.embed("second.bin", None, b"second")

    assert (part["offset"], embedded.getvalue(), writer.notes) == (4, b"keptsecond", [])


def test_file_of_an_earlier_attempt_has_a_name_that_states_the_attempt() -> None:
    writer = OutputWriter()
    first: Any = {"name": "pays", "status": "failed"}
    second: Any = {"name": "pays", "status": "passed"}
    set_output(first, writer.embed("trace.zip", "application/zip", b"1"))
    set_output(second, writer.embed("trace.zip", "application/zip", b"2"))

    parts = output_of(add_attempt(first, second))

    assert [(part["name"], part["kind"]) for part in parts] == [
        ("attempt-1-trace.zip", "trace"),
        ("trace.zip", "trace"),
    ]


def test_files_count_as_rows_of_the_report() -> None:
    result: Any = {"name": "pays", "status": "passed"}
    set_output(result, [part for name in "abc" for part in OutputWriter().embed(name, None, b"data")])
    assert count_rows([result]) == 4


def test_artifacts_refer_to_the_stored_files_with_unique_names() -> None:
    writer = OutputWriter()
    parts = [part for data in (b"1", b"22", b"333") for part in writer.embed("cart.png", "image/png", data)]
    parts += writer.embed("page.html", "text/html", b"<p>")
    log: Any = {"name": "page.html", "offset": 7, "size": 5, "sha256": "00" * 32}

    found = list(references(STORED, [*parts, log], ["page.html"]))

    assert [(each.name, each.kind, each.path, each.byte_offset, each.content_type) for each in found] == [
        ("cart.png", "screenshot", "embedded", 0, "image/png"),
        ("2-cart.png", "screenshot", "embedded", 1, "image/png"),
        ("3-cart.png", "screenshot", "embedded", 3, "image/png"),
        ("report-page.html", "report", "embedded", 6, "text/html"),
        ("2-report-page.html", "log", "text", 7, "text/plain; charset=utf-8"),
    ]


def test_file_without_a_stored_object_has_no_artifact() -> None:
    parts = OutputWriter().embed("cart.png", "image/png", PNG)
    assert list(references(StoredOutput(text=STORED.text), parts, [])) == []
