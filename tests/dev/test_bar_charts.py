"""Tests of the PNG files with bar charts."""

import struct
import zlib

from service.dev.demo_requests import draw_png


def test_chart_is_a_png_whose_bars_have_the_height_of_their_values() -> None:
    png = draw_png([1, 2, 4])
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", png[16:24])
    rows = _rows(png, width)
    assert len(rows) == height
    heights = [sum(row[column] != 0 for row in rows) for column in (5, 23, 41)]
    assert heights == [22, 44, 88]


def test_chart_without_values_is_empty() -> None:
    width = struct.unpack(">I", draw_png([])[16:20])[0]
    assert not any(map(any, _rows(draw_png([]), width)))


def _rows(png: bytes, width: int) -> list[bytes]:
    start = png.index(b"IDAT") + 4
    size = struct.unpack(">I", png[start - 8 : start - 4])[0]
    pixels = zlib.decompress(png[start : start + size])
    return [pixels[first + 1 : first + 1 + width] for first in range(0, len(pixels), width + 1)]
