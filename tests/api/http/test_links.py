"""The URL of the next page is that of the request with another cursor."""

import pytest
from yarl import URL

from service.api.http.links import next_page_url

CURSORS = ("AQGV-x_9", "AZ-_" * 20)
LONG = "&".join(["status=failed"] * 100)


@pytest.mark.parametrize(
    "text",
    [
        "/v1/results",
        "/results?limit=100",
        "/v1/results?status=failed&limit=5&status=error",
        "/v1/results?starting_after=AQGV&limit=5",
        "/v1/results?limit=5&starting_after=AQGV&branch=main",
        "/v1/results?branch=a%2Bb+c%26d%3De%25&environment=%C3%A4%F0%9F%90%8D&suite=",
        "/v1/results?branch=f%69x/a:b@c?d'e!*(,;)&q=%22starting_after%3Dx%22",
        "/v1/cases/case_00c0ffee00c0ffee/history?from=2026-05-20T12:00:00+02:00",
        "/v1/runs/starting_after=%2F%20x%C3%A4/comparison?limit=5",
        f"/v1/results?{LONG}",
    ],
)
def test_only_the_cursor_changes(text: str) -> None:
    url = URL(text, encoded=True)
    for cursor in CURSORS:
        assert next_page_url(url, cursor) == str(url.update_query(starting_after=cursor))


def test_special_characters_are_escaped() -> None:
    url = URL("/v1/runs?branch=a%2Bb+c%26%C3%A4&starting_after=x", encoded=True)
    assert next_page_url(url, "A-_") == "/v1/runs?branch=a%2Bb+c%26%C3%A4&starting_after=A-_"
