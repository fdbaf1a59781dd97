"""Tests that the colors of the console have enough contrast in both themes (WCAG 2.2, level AA)."""

import gzip
import re
from itertools import product
from pathlib import Path

import pytest

CSS = (Path(__file__).parents[2] / "service/console/static/console.css").read_text()
TONES = ("passed", "failed", "error", "flaky", "neutral", "quarantined", "info")
BACKGROUNDS = ("canvas", "surface", "raised")
TEXT_PAIRS = [
    *product(("text", "muted", "accent", *TONES), BACKGROUNDS),
    *((tone, f"{tone}-soft") for tone in TONES),
    *(("text", f"{tone}-soft") for tone in TONES),
    *(("accent", f"{tone}-soft") for tone in TONES),
    ("on-accent", "accent"),
]
GRAPHIC_PAIRS = [*((f"{tone}-fill", "surface") for tone in TONES), ("line-strong", "surface"), ("accent", "canvas")]


def read_colors(theme: str) -> dict[str, str]:
    """Return the color tokens of a theme. The dark theme replaces those of the light theme."""
    light, _, dark = CSS.partition("@media (prefers-color-scheme: dark)")
    blocks = [light, dark] if theme == "dark" else [light]
    tokens: dict[str, str] = {}
    for block in blocks:
        root = re.search(r":root \{(.*?)\}", block, re.DOTALL)
        assert root is not None
        tokens |= re.findall(r"--([\w-]+): (#[0-9a-f]{6});", root[1])
    return tokens


def luminance(color: str) -> float:
    channels = (int(color[start : start + 2], 16) / 255 for start in (1, 3, 5))
    red, green, blue = (value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(first: str, second: str) -> float:
    darker, lighter = sorted((luminance(first), luminance(second)))
    return (lighter + 0.05) / (darker + 0.05)


def too_low(theme: str, pairs: list[tuple[str, str]], minimum: float) -> dict[tuple[str, str], float]:
    colors = read_colors(theme)
    ratios = {pair: round(contrast(colors[pair[0]], colors[pair[1]]), 2) for pair in pairs}
    return {pair: ratio for pair, ratio in ratios.items() if ratio < minimum}


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_has_a_contrast_of_4_5(theme: str) -> None:
    assert too_low(theme, TEXT_PAIRS, 4.5) == {}


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_graphics_and_borders_of_controls_have_a_contrast_of_3(theme: str) -> None:
    assert too_low(theme, GRAPHIC_PAIRS, 3) == {}


def test_dark_theme_replaces_every_color() -> None:
    light, dark = read_colors("light"), read_colors("dark")
    assert {name for name, color in light.items() if dark[name] == color} == set()


def test_contrast_of_black_and_white_is_21() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)


def test_every_used_token_is_defined() -> None:
    defined = set(re.findall(r"(--[\w-]+):", CSS))
    assert set(re.findall(r"var\((--[\w-]+)", CSS)) <= defined


def test_style_sheet_is_small() -> None:
    assert len(gzip.compress(CSS.encode())) < 7_000
