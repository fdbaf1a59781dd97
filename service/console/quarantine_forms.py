"""The forms that create, change, and end quarantines."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from aiohttp import web
from multidict import MultiDict
from pydantic import BeforeValidator

from service.api.http.authentication import get_caller
from service.api.http.parsing import parse_pairs
from service.console.changes import apply_change
from service.console.form_states import without_blanks
from service.contracts.quarantines import QuarantineIn, QuarantinePatch
from service.contracts.responses import Quarantine
from service.contracts.run_events import Variant
from service.domain.quarantines import DEFAULT_DURATION
from service.domain.variants import parse_pairs as parse_variant
from service.usecases.administration.mutate import Transaction
from service.usecases.quarantines import manage_quarantines

_NOUN: Final = "field"
_MATCHER_FIELDS: Final = ("project_id", "suite", "name", "variant", "case")
_DATE_CHARACTERS: Final = len("2026-05-20")


def _parse_lines(text: object) -> object:
    return parse_variant(text.splitlines()) if isinstance(text, str) else text


class QuarantineForm(QuarantineIn):
    """A quarantine to create. The variant is text with one pair per line."""

    variant: Annotated[Variant | None, BeforeValidator(_parse_lines)] = None


def new_values() -> dict[str, str]:
    """Return the initial values of the form that quarantines one case."""
    expires_at = datetime.now(UTC) + DEFAULT_DURATION
    return {"reason": "", "owner": "", "ticket_url": "", "expires_at": expires_at.date().isoformat()}


def new_matcher_values(query: Mapping[str, str]) -> dict[str, str]:
    """Return the initial values of the form that quarantines any cases. The query can set those of the matcher."""
    return {name: query.get(name, "") for name in _MATCHER_FIELDS} | new_values()


def stored_values(quarantine: Quarantine) -> dict[str, str]:
    """Return the values of the form that changes a quarantine."""
    return {
        "reason": quarantine["reason"],
        "owner": quarantine["owner"] or "",
        "ticket_url": quarantine["ticket_url"] or "",
        "expires_at": _stored_date(quarantine),
    }


async def create_quarantine(
    request: web.Request, form: MultiDict[str], target: Callable[[Quarantine], str]
) -> web.Response:
    """Create a quarantine, and redirect to the path of `target`. Raises the errors of the API."""
    caller = get_caller(request)
    requested = manage_quarantines.read_request(caller, parse_pairs(without_blanks(form), QuarantineForm, _NOUN))

    async def create(transaction: Transaction) -> str:
        return target(await manage_quarantines.create_quarantine(transaction, caller, requested))

    return await apply_change(request, caller, create)


async def change_quarantine(
    request: web.Request, form: MultiDict[str], stored: Quarantine, target: str
) -> web.Response:
    """Change a quarantine, and redirect. Raises the errors of the API."""
    caller, changes = get_caller(request), _read_changes(form, stored)
    ref = manage_quarantines.quarantine_ref(caller, stored["id"])

    async def change(transaction: Transaction) -> str:
        await manage_quarantines.change_quarantine(transaction, ref, changes)
        return target

    return await apply_change(request, caller, change)


def _read_changes(form: MultiDict[str], stored: Quarantine) -> dict[str, Any]:
    """Return the fields to change. A blank owner or ticket removes the stored one.

    The form shows only the date of the expiry. An unchanged date keeps its time.
    """
    given = without_blanks(form)
    given.setdefault("reason", "")
    if given.get("expires_at") == _stored_date(stored):
        given.popall("expires_at")
    return {"owner": None, "ticket_url": None, **parse_pairs(given, QuarantinePatch, _NOUN).changes()}


def _stored_date(quarantine: Quarantine) -> str:
    return quarantine["expires_at"][:_DATE_CHARACTERS]
