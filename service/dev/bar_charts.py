"""Bar charts as PNG files, which show on a new stack how the console presents an image."""

import struct
import zlib
from collections.abc import Sequence
from typing import Final

_BAR_PX: Final = 14
_GAP_PX: Final = 4
_HEIGHT_PX: Final = 96
_BACKGROUND, _BAR, _LAST_BAR = 0, 1, 2
_PALETTE: Final = bytes((0xF6, 0xF7, 0xF9, 0x5B, 0x7F, 0xA6, 0xC2, 0x41, 0x3B))  # red, green, and blue of each color
_DEPTH_BITS, _INDEXED = 8, 3


def draw_png(values: Sequence[float]) -> bytes:
    """Return a PNG file with one bar for each value. The color of the last bar differs."""
    highest = max(values, default=0) or 1
    heights = [round(value / highest * (_HEIGHT_PX - 2 * _GAP_PX)) for value in values]
    rows = [_row(heights, _HEIGHT_PX - _GAP_PX - top) for top in range(_HEIGHT_PX)]
    header = struct.pack(">IIBBBBB", len(rows[0]), _HEIGHT_PX, _DEPTH_BITS, _INDEXED, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    chunks = ((b"IHDR", header), (b"PLTE", _PALETTE), (b"IDAT", pixels), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*chunk) for chunk in chunks)


def _row(heights: Sequence[int], height: int) -> bytes:
    """Return the colors of the pixels at a height above the base line."""
    gap = bytes([_BACKGROUND]) * _GAP_PX
    colors = [_LAST_BAR if bar == len(heights) - 1 else _BAR for bar in range(len(heights))]
    bars = [
        bytes([color if 0 < height <= top else _BACKGROUND]) * _BAR_PX
        for color, top in zip(colors, heights, strict=True)
    ]
    return gap + gap.join([*bars, b""])


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
