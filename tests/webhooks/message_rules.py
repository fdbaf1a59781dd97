"""The documented rules of Block Kit and of Adaptive Cards 1.4, for the elements that messages use."""

import re
from typing import Any, Final
from urllib.parse import urlsplit

import orjson

_LINK: Final = re.compile(r"<(https?://[^<>|\s]+)\|([^<>|`]+)>")
_CODE: Final = re.compile(r"`[^`\n]+`")
_ENTITY: Final = re.compile(r"&(?:amp|lt|gt);")
_SLACK_MEMBERS: Final = {"text", "blocks", "mrkdwn", "parse", "link_names", "unfurl_links", "unfurl_media"}
# Elements of a card: their members, each with its values, a type, or None for a list of elements.
_CARD: Final[dict[str, dict[str, Any]]] = {
    "AdaptiveCard": {
        "$schema": {"http://adaptivecards.io/schemas/adaptive-card.json"}, "version": {"1.4"}, "body": None,
        "actions": None,
    },
    "RichTextBlock": {"inlines": None, "spacing": {"Small"}, "separator": {True}},
    "TextRun": {
        "text": str, "size": {"Large"}, "weight": {"Bolder"}, "fontType": {"Monospace"}, "isSubtle": {True},
        "selectAction": "Action.OpenUrl",
    },
    "Action.OpenUrl": {"url": str, "title": str},
}  # fmt: skip


def check_slack(body: dict[str, Any]) -> None:
    """Check the limits, and that texts contain only the markup that messages write: bold labels, code, and links."""
    assert body.keys() <= _SLACK_MEMBERS
    assert body["text"].isprintable()
    assert 1 <= len(body["text"]) <= 4_000
    assert not re.search("[<>]", body["text"])
    header, *blocks = body["blocks"]
    assert len(blocks) < 50
    assert header.keys() == {"type", "text"}
    assert header["type"] == "header"
    assert header["text"].keys() == {"type", "text", "emoji"}
    assert (header["text"]["type"], header["text"]["emoji"]) == ("plain_text", False)
    assert 1 <= len(header["text"]["text"]) <= 150
    for block in blocks:
        assert block["type"] == "section"
        assert len(block) == 2
        fields = block.get("fields", [])
        assert len(fields) <= 10
        for text, limit in [(block["text"], 3_000)] if "text" in block else [(field, 2_000) for field in fields]:
            assert text.keys() == {"type", "text", "verbatim"}
            assert (text["type"], text["verbatim"]) == ("mrkdwn", True)
            assert 1 <= len(text["text"]) <= limit
            _check_mrkdwn(text["text"])


def _check_mrkdwn(text: str) -> None:
    for url, _ in _LINK.findall(text):
        assert urlsplit(url).hostname
    remaining = _ENTITY.sub("", _CODE.sub("", _LINK.sub("", text)))
    assert not re.search("[&<>`~_]", remaining), text
    assert re.sub(r"^\*[^*]+\*\n", "", remaining).count("*") == 0, text


def check_teams(body: dict[str, Any]) -> None:
    """Check the envelope of a workflow, the size, and that each element has only the members of the schema."""
    assert len(orjson.dumps(body)) <= 28_000
    assert body.keys() == {"type", "attachments"}
    assert body["type"] == "message"
    [attachment] = body["attachments"]
    assert attachment.keys() == {"contentType", "content"}
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    assert len(attachment["content"]["actions"]) <= 6
    _check_element(attachment["content"])


def _check_element(element: dict[str, Any]) -> None:
    rules = _CARD[element["type"]]
    for name, value in element.items():
        if name == "type":
            continue
        rule = rules[name]
        if rule is None:
            assert value or name == "actions"
            for child in value:
                _check_element(child)
        elif rule is str:
            assert isinstance(value, str)
            assert value.strip()
            assert value.isprintable()
            assert not re.search(r"</?at\b", value, re.IGNORECASE)
        elif isinstance(rule, str):
            assert value["type"] == rule
            _check_element(value)
        else:
            assert value in rule
    if "url" in element:
        assert urlsplit(element["url"]).scheme in ("http", "https")
