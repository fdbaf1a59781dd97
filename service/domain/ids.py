"""Keys and public ids: minted here, taken apart here, and computed the same way in schema.sql."""

import os
import re
import time
from hashlib import blake2b
from typing import Final, NewType
from uuid import UUID

OrgId = NewType("OrgId", int)
RunKey = NewType("RunKey", UUID)
CaseKey = NewType("CaseKey", int)  # a signed 64-bit integer, as PostgreSQL's bigint

RUN_ITSELF: Final = CaseKey(0)  # the case_key of an artifact that belongs to a whole run

_TIME_BITS_BELOW: Final = 80  # a run key is 48 bits of time above 80 bits of hash
_PATTERNS: Final = {
    prefix: re.compile(rf"{prefix}_[0-9a-f]{{{digits}}}")
    for prefix, digits in {
        "res": 48,
        "case": 16,
        "art": 64,
        "rcp": 32,
        "exp": 32,
        "evt": 32,
        "whk": 32,
        "dlv": 32,
        "rec": 32,
        "key": 20,
    }.items()
}


def new_id(prefix: str) -> str:
    """A new id such as `rcp_` + 32 hex digits, of which the first 12 are milliseconds since 1970."""
    return f"{prefix}_{time.time_ns() // 1_000_000:012x}{os.urandom(10).hex()}"


def first_id(prefix: str, moment_ms: int) -> str:
    """What every minted id of that moment or later is greater than."""
    return f"{prefix}_{moment_ms:012x}"


def id_timestamp_ms(minted: str) -> int:
    """The moment at which an id was minted, in ms since 1970."""
    return int(minted.partition("_")[2][:12], 16)


def is_id(prefix: str, text: str) -> bool:
    """Whether the text has the form of such an id; a malformed one can't exist, so it is a 404."""
    return _PATTERNS[prefix].fullmatch(text) is not None


def run_key(org_id: OrgId, run_id: str, completed_ms: int) -> RunKey:
    """The key of a run that completed at this moment (ms since 1970): sorts by completion."""
    digest = blake2b(f"{org_id}\0{run_id}".encode(), digest_size=10).digest()
    return RunKey(UUID(int=completed_ms << _TIME_BITS_BELOW | int.from_bytes(digest, "big")))


def first_run_key(moment_ms: int) -> RunKey:
    """The smallest key of a moment, for key ranges that stand for date ranges."""
    return RunKey(UUID(int=moment_ms << _TIME_BITS_BELOW))


def completed_ms(key: RunKey) -> int:
    """The completion that a run key begins with, in ms since 1970."""
    return key.int >> _TIME_BITS_BELOW


def case_key(project_id: str, case_id: str | None, suite: str, name: str, occurrence: int) -> CaseKey:
    """The key of a case: by the producer's id where there is one, else by suite, name and occurrence."""
    named = f"i\0{project_id}\0{case_id}" if case_id else f"n\0{project_id}\0{suite}\0{name}\0{occurrence}"
    return _signed(blake2b(named.encode(), digest_size=8).digest())


def artifact_key(name: str) -> int:
    """The key of an artifact among those of its result."""
    return _signed(blake2b(name.encode(), digest_size=8).digest())


def result_id(key: RunKey, case: CaseKey) -> str:
    """The public id of a result."""
    return f"res_{key.hex}{_hex(case)}"


def parse_result_id(text: str) -> tuple[RunKey, CaseKey] | None:
    """The key behind a result's id, or None for what can't be one."""
    if not is_id("res", text):
        return None
    return RunKey(UUID(hex=text[4:36])), _from_hex(text[36:])


def case_public_id(case: CaseKey) -> str:
    """The public id of a case."""
    return f"case_{_hex(case)}"


def parse_case_id(text: str) -> CaseKey | None:
    """The key behind a case's public id, or None for what can't be one."""
    return _from_hex(text[5:]) if is_id("case", text) else None


def artifact_id(key: RunKey, case: CaseKey, artifact: int) -> str:
    """The public id of a stored or referenced file."""
    return f"art_{key.hex}{_hex(case)}{_hex(artifact)}"


def parse_artifact_id(text: str) -> tuple[RunKey, CaseKey, int] | None:
    """The key behind an artifact's id, or None for what can't be one."""
    if not is_id("art", text):
        return None
    return RunKey(UUID(hex=text[4:36])), _from_hex(text[36:52]), _from_hex(text[52:])


def _hex(signed: int) -> str:
    return f"{signed & 0xFFFF_FFFF_FFFF_FFFF:016x}"


def _from_hex(digits: str) -> CaseKey:
    return _signed(bytes.fromhex(digits))


def _signed(eight_bytes: bytes) -> CaseKey:
    return CaseKey(int.from_bytes(eight_bytes, "big", signed=True))
