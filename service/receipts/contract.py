"""The public receipt: its schema, and the function that writes it."""

from typing import Annotated, cast

from pydantic import Field, StringConstraints
from typing_extensions import TypedDict

from service.contracts.queries import Name, PageQuery
from service.contracts.responses import Time, closed
from service.contracts.validation import NO_NUL
from service.domain.timestamps import format_time
from service.ingest.contract import Identifier
from service.receipts.model import ReceiptDetails, ReceiptStatus


@closed
class ReceiptProblem(TypedDict):
    """A problem with one result of an event or report, or with all of it if `index` is null."""

    index: int | None
    name: str | None
    reason: str


@closed
class Receipt(TypedDict):
    """The record of how one incoming event or report was processed."""

    id: str
    status: ReceiptStatus
    run_id: str | None
    pipeline: Annotated[
        str | None, Field(description="Execution of the CI pipeline, or null if the event or report states none")
    ]
    part: Annotated[str | None, Field(description="Name of the CI job, or null if the event or report states none")]
    shard: Annotated[int | None, Field(description="Number of the shard, or null if the event or report states none")]
    variant: Annotated[dict[str, str], Field(description="Variant of the results that state none")]
    source: str
    event_id: str
    results: Annotated[int, Field(description="Number of stored results")]
    replaced: Annotated[int, Field(description="Number of results of the same part that these results replaced")]
    replaced_failing: Annotated[int, Field(description="Number of replaced results that were failed or error")]
    combined: Annotated[
        int, Field(description="Number of results whose case another part or attempt had already reported")
    ]
    problems: list[ReceiptProblem]
    received_at: Time
    publisher_id: Annotated[
        str | None, Field(description="Trusted publisher whose CI job sent the report, or null if it had another key")
    ]
    publisher_name: Annotated[str | None, Field(description="Name of the publisher")]
    job: Annotated[str | None, Field(description="That CI job, as its ID token states it: usually the URL of its page")]


def write_receipt(receipt: ReceiptDetails) -> Receipt:
    """Return the public object of a receipt."""
    return {
        "id": receipt.receipt_id,
        "status": receipt.status,
        "run_id": receipt.run_id,
        "pipeline": receipt.pipeline,
        "part": receipt.part,
        "shard": receipt.shard,
        "variant": dict(receipt.variant),
        "source": receipt.source,
        "event_id": receipt.event_id,
        "results": receipt.results,
        "replaced": receipt.replaced,
        "replaced_failing": receipt.replaced_failing,
        "combined": receipt.combined,
        "problems": cast("list[ReceiptProblem]", receipt.problems),
        "received_at": format_time(receipt.received_at),
        "publisher_id": receipt.publisher_id,
        "publisher_name": receipt.publisher_name,
        "job": receipt.job,
    }


class ReceiptQuery(PageQuery):
    """The filters and the page of the list of receipts."""

    run_id: Name | None = None
    pipeline: Identifier | None = None
    event_id: Annotated[str | None, StringConstraints(min_length=1, max_length=400, pattern=NO_NUL)] = None
