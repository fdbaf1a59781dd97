"""Messages in the formats of their receivers. Tests control most texts, so no receiver may read markup in them.

Slack permits 50 blocks, 150 characters of a header, 3,000 of a section, and 10 fields of 2,000. Teams permits 28 KB.
"""

import re
from typing import Any, Final

from service.webhooks.messages import Line, Message

_MAX_FIELDS: Final = 10
_MENTION: Final = re.compile(r"<(?=/?at\b)", re.IGNORECASE)


def write_slack(message: Message) -> dict[str, Any]:
    """Return Block Kit for an incoming webhook of Slack. `text` is the text of the notification."""
    facts = [_mrkdwn(f"*{_escape(label)}*\n{_code(value)}") for label, value in message.facts]
    sections: list[dict[str, Any]] = [
        {"fields": facts[start : start + _MAX_FIELDS]} for start in range(0, len(facts), _MAX_FIELDS)
    ]
    sections += [{"text": _mrkdwn(_slack_line(line))} for line in message.lines]
    if message.omitted:
        sections.append({"text": _mrkdwn(f"and {message.omitted:,} more")})
    if message.links:
        sections.append({"text": _mrkdwn("  ·  ".join(_link(url, label) for label, url in message.links.items()))})
    header = {"type": "header", "text": {"type": "plain_text", "text": message.title, "emoji": False}}
    return {
        "text": _escape(message.headline),
        "blocks": [header, *({"type": "section"} | section for section in sections)],
        "mrkdwn": False, "parse": "none", "link_names": False, "unfurl_links": False, "unfurl_media": False,
    }  # fmt: skip


def _slack_line(line: Line) -> str:
    link = f"  {_link(line.url, 'open')}" if line.url else ""
    return _code(line.text) + link + (f"\n{_code(line.detail)}" if line.detail else "")


def _mrkdwn(text: str) -> dict[str, Any]:
    return {"type": "mrkdwn", "text": text, "verbatim": True}  # verbatim: without links and mentions of plain names


def _code(text: str) -> str:
    """Return inline code, in which Slack reads no markup. A backtick would end it."""
    return f"`{_escape(text).replace('`', 'ˋ')}`"


def _link(url: str, label: str) -> str:
    return f"<{_escape(url)}|{label}>"


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def write_teams(message: Message) -> dict[str, Any]:
    """Return an Adaptive Card for a workflow of Teams. All texts are text runs, which can't contain Markdown."""
    body = [_block(_run(message.title, size="Large", weight="Bolder"))]
    body += [_block(_run(f"{label}: ", weight="Bolder"), _run(text), spacing="Small") for label, text in message.facts]
    body += [_teams_line(line) for line in message.lines]
    if message.omitted:
        body.append(_block(_run(f"and {message.omitted:,} more", isSubtle=True)))
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json", "type": "AdaptiveCard", "version": "1.4",
        "body": body, "actions": [_open(url) | {"title": label} for label, url in message.links.items()],
    }  # fmt: skip
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "content": card}
    return {"type": "message", "attachments": [attachment]}


def _teams_line(line: Line) -> dict[str, Any]:
    link = {"selectAction": _open(line.url)} if line.url else {}
    detail = [_run(f"  {line.detail}", isSubtle=True)] if line.detail else []
    return _block(_run(line.text, fontType="Monospace", **link), *detail, separator=True)


def _open(url: str) -> dict[str, Any]:
    return {"type": "Action.OpenUrl", "url": url}


def _block(*runs: dict[str, Any], **style: Any) -> dict[str, Any]:
    return {"type": "RichTextBlock", "inlines": list(runs), **style}


def _run(text: str, **style: Any) -> dict[str, Any]:
    return {"type": "TextRun", "text": _MENTION.sub("‹", text), **style}
