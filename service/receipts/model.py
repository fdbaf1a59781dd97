"""Texts about the receipts of a run: reports that aren't processed, that were rejected, or that replaced results.

This module runs on Python 3.10 without third-party packages because the client uses it.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple

from service.domain.texts import Quote
from service.failures.model import to_line

ReceiptStatus = Literal["queued", "processing", "stored", "partial", "rejected"]  # the last three are final

_MAX_LISTED: Final = 3  # reports, and reasons of one report
_UNFINISHED: Final = ("queued", "processing")


def is_unfinished(receipt: Mapping[str, Any]) -> bool:
    """Return whether the report isn't processed yet."""
    return receipt["status"] in _UNFINISHED


def describe_missing(receipts: Sequence[Mapping[str, Any]]) -> str | None:
    """Return which rejected reports no later report has replaced, one line for each problem, or None.

    A later report of the same part, shard, and variant replaces a rejected one. The report of another job doesn't.
    """
    missing = _find_missing(receipts)
    if not missing:
        return None
    listed = ";\n".join(map(_describe_rejected, missing[:_MAX_LISTED]))
    more = f";\nand {len(missing) - _MAX_LISTED} more" if len(missing) > _MAX_LISTED else ""
    return f"a report was rejected, and no later report of the same shard and variant was accepted:\n{listed}{more}"


def describe_replacement(receipts: Sequence[Mapping[str, Any]]) -> str:
    """Return how a later report replaces the rejected ones that `describe_missing` lists."""
    if all(map(_has_part, _find_missing(receipts))):
        return "Send an accepted report of this shard and variant"
    return (
        "Send an accepted report without shard and variant. If only the content of a report states them, a malformed"
        " report has none: state them in each upload (--shard, --variant)"
    )


def report_warnings(receipts: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield a warning for rejected reports, and one for replaced failing results."""
    if rejected := [receipt["id"] for receipt in receipts if receipt["status"] == "rejected"]:
        yield f"reports of this run were rejected, so results can be missing: {', '.join(rejected)}"
    if replaced := sum(receipt["replaced_failing"] for receipt in receipts):
        yield (
            f"later reports of this run replaced failing results: {replaced}. If several jobs run the same tests, use"
            " --variant or --shard"
        )


def describe_part(
    part: Mapping[str, Any],
    notes: Sequence[str] = (),
    unnamed: str = "no shard or variant",
    quote: Quote = str,
) -> str:
    """Return a part with its shard, variant, and notes, such as `api (python: 3.13, canceled)`, which is one job."""
    details = [f"shard {part['shard']}"] if part.get("shard") else []
    details += [quote(f"{name}: {value}") for name, value in (part.get("variant") or {}).items()]
    if part.get("part"):
        named = quote(part["part"])
    else:
        named, details = ", ".join(details) or unnamed, []
    details += notes
    return f"{named} ({', '.join(details)})" if details else named


def _find_missing(receipts: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    newest = {_part(receipt): receipt for receipt in sorted(receipts, key=_upload_order)}
    return [receipt for receipt in newest.values() if receipt["status"] == "rejected"]


def _has_part(receipt: Mapping[str, Any]) -> bool:
    return bool(receipt.get("part") or receipt.get("shard") or receipt.get("variant"))


def _part(receipt: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the part, the shard, and the variant of a report in a comparable form. Older servers lack some of them."""
    return receipt.get("part"), receipt.get("shard"), *sorted((receipt.get("variant") or {}).items())


def _upload_order(receipt: Mapping[str, Any]) -> tuple[str, str]:
    """Return a sort key that starts with the time of the last upload. A rejected receipt is reused with its ID."""
    return receipt["received_at"], receipt["id"]


def _describe_rejected(receipt: Mapping[str, Any]) -> str:
    reasons = ",\n".join(to_line(problem["reason"]) for problem in receipt["problems"][:_MAX_LISTED])
    return f"{receipt['id']} ({describe_part(receipt)}): {reasons}"


class ReceiptDetails(NamedTuple):
    """How an event or report was processed. `problems` are public objects."""

    receipt_id: str
    status: ReceiptStatus
    run_id: str | None
    pipeline: str | None
    part: str | None
    shard: int | None
    variant: Mapping[str, str]
    source: str
    event_id: str
    results: int
    replaced: int
    replaced_failing: int
    combined: int
    problems: Sequence[Mapping[str, Any]]
    received_at: datetime
    publisher_id: str | None
    publisher_name: str | None
    job: str | None

    @property
    def is_open(self) -> bool:
        """Whether the event or report isn't completely processed yet."""
        return self.status in ("queued", "processing")
