"""Globs: `*` matches any characters, and `?` one character. Everything else is literal, and case matters."""

import re
from collections.abc import Mapping
from functools import cached_property
from typing import Final

MAX_GLOB_CHARACTERS: Final = 500
MAX_GLOB_ASTERISKS: Final = 5
ANY_TEXT: Final = "*"

_WILDCARDS: Final = re.compile(r"[*?]")


def has_wildcards(glob: str) -> bool:
    """Return whether a glob can match several texts."""
    return _WILDCARDS.search(glob) is not None


class SearchedText:
    """A text that is compared with globs."""

    def __init__(self, text: str) -> None:
        self._text = text

    def matches(self, glob: str) -> bool:
        """Return whether the glob matches the complete text: `*` matches any characters, and `?` one character.

        Bit n of `reached` is set if the part of the glob that was read matches the first n characters. All positions
        advance together, so that no glob needs backtracking. Example: for the text "aab", the glob "*ab" reaches
        0b1111 after "*", 0b0110 after "*a", and 0b1000 after "*ab", which is the end of the text.
        """
        reached, end = 1, 1 << len(self._text)
        for character in glob:
            if character == "*":
                reached = (2 * end - 1) & -(reached & -reached)  # all positions from the first one
            elif character == "?":
                reached = (reached & (end - 1)) << 1
            else:
                reached = (reached & self._positions.get(character, 0)) << 1
            if not reached:
                return False
        return reached & end != 0

    @cached_property
    def _positions(self) -> Mapping[str, int]:
        """The positions of each character, as bits."""
        positions = dict.fromkeys(self._text, 0)
        for index, character in enumerate(self._text):
            positions[character] |= 1 << index
        return positions


def check_glob(glob: str) -> str:
    """Return the glob if it's within the limits. Raises ValueError."""
    if len(glob) > MAX_GLOB_CHARACTERS:
        raise ValueError(f"must have at most {MAX_GLOB_CHARACTERS} characters")
    if glob.count("*") > MAX_GLOB_ASTERISKS:
        raise ValueError(f"must contain at most {MAX_GLOB_ASTERISKS} *")
    return glob


def longest_literal(glob: str) -> str:
    """Return the longest part of the glob without wildcards."""
    return max(_WILDCARDS.split(glob), key=len)
