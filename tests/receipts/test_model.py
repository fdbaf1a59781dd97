"""Texts about the receipts of a run."""

from typing import Any

from service.receipts.model import describe_missing


def receipt(number: int, status: str, minute: int) -> dict[str, Any]:
    problems = [{"reason": "malformed_report: no element"}] if status == "rejected" else []
    return {
        "id": f"rcp_{number:032x}", "status": status, "received_at": f"2026-05-01T12:{minute:02}:00.000Z",
        "problems": problems,
    }  # fmt: skip


def test_a_report_that_is_rejected_again_is_newer_than_a_later_one() -> None:
    """A rejected receipt is reused with its ID, so the order of the IDs isn't the order of the uploads."""
    assert "malformed_report" in (describe_missing([receipt(2, "stored", 1), receipt(1, "rejected", 2)]) or "")
    assert describe_missing([receipt(2, "rejected", 1), receipt(1, "stored", 2)]) is None
