"""Keys and public IDs: create, parse, and format them. schema.sql formats them in the same way."""

import os
import re
import time
from hashlib import blake2b
from typing import Final, NewType
from uuid import UUID

OrgId = NewType("OrgId", int)
RunKey = NewType("RunKey", UUID)
CaseKey = NewType("CaseKey", int)  # a signed 64-bit integer, like PostgreSQL's bigint
Fingerprint = NewType("Fingerprint", int)  # of a failure; also a signed 64-bit integer

RUN_ITSELF: Final = CaseKey(0)  # the case_key of an artifact that belongs to a run

FINGERPRINT_VERSION: Final = 1  # of the rules in fingerprints.py: a new version starts new groups of failures

_NS_PER_MS: Final = 1_000_000
_MAX_MINUTE: Final = 2**31 - 1
_TIME_BITS_BELOW: Final = 80  # a run key is 48 bits of time, followed by 80 bits of hash
_OUTPUT_OF_ATTEMPT: Final = re.compile(r"attempt-(\d{1,4})-", re.ASCII)
_FIRST_KEY: Final = -(1 << 63)
_HASH_BITS: Final = 43  # of the output of an attempt: all numbers of attempts fit in 1 % of the keys
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
        "qua": 32,
        "dec": 32,
        "pub": 32,
        "fp1": 16,  # of FINGERPRINT_VERSION
        "key": 20,
        "mem": 32,
        "per": 32,
    }.items()
}


def new_id(prefix: str) -> str:
    """Return a new ID such as `rcp_` + 32 hex digits. The first 12 digits are milliseconds since 1970.

    The next 4 digits are the fraction of the millisecond, as in RFC 9562, section 6.2, method 3, so that lists sorted
    by ID are in the order of creation. The others are random.
    """
    milliseconds, ns = divmod(time.time_ns(), _NS_PER_MS)
    return f"{prefix}_{milliseconds:012x}{(ns << 16) // _NS_PER_MS:04x}{os.urandom(8).hex()}"


def first_id(prefix: str, created_ms: int) -> str:
    """Return a lower bound for the IDs that are created at this time (ms since 1970) or later."""
    return f"{prefix}_{created_ms:012x}"


def id_timestamp_ms(public_id: str) -> int:
    """Return the time at which an ID was created, in ms since 1970."""
    return int(public_id.partition("_")[2][:12], 16)


def is_id(prefix: str, text: str) -> bool:
    """Return whether the text is a well-formed ID. A malformed ID can't exist, so the API returns 404 for it."""
    return _PATTERNS[prefix].fullmatch(text) is not None


def run_key(org_id: OrgId, run_id: str, completed_ms: int) -> RunKey:
    """Return the key of a run that completed at this time (ms since 1970). Keys sort by completion time."""
    digest = blake2b(f"{org_id}\0{run_id}".encode(), digest_size=10).digest()
    return RunKey(UUID(int=completed_ms << _TIME_BITS_BELOW | int.from_bytes(digest, "big")))


def first_run_key(completed_ms: int) -> RunKey:
    """Return the smallest key of a completion time, for key ranges that represent date ranges."""
    return RunKey(UUID(int=completed_ms << _TIME_BITS_BELOW))


def completed_ms(key: RunKey) -> int:
    """Return the completion time that a run key starts with, in ms since 1970."""
    return key.int >> _TIME_BITS_BELOW


def completion_minute(key: RunKey) -> int:
    """Return the minute in which a run completed, since 1970. Must match the function of this name in schema.sql."""
    return min(completed_ms(key) // 60_000, _MAX_MINUTE)


def case_key(
    project_id: str, case_id: str | None, suite: str, name: str, occurrence: int, variant: str = ""
) -> CaseKey:
    """Return the hash of a case: of the producer's ID if it is set, or else of suite, name, and occurrence.

    A variant in its canonical form is part of the hash if it isn't empty.
    """
    identity = f"i\0{project_id}\0{case_id}" if case_id else f"n\0{project_id}\0{suite}\0{name}\0{occurrence}"
    if variant:
        identity += f"\0v\0{variant}"
    return CaseKey(_signed(blake2b(identity.encode(), digest_size=8).digest()))


def artifact_key(name: str, receipt_id: str | None = None) -> int:
    """Return the key of an artifact, which is unique within its result, and by which lists are sorted.

    `receipt_id` is the receipt of the report that names the file, so that files of the same name in several reports,
    such as the screenshots of two attempts of a job, are different artifacts. The files of attempts, such as
    `attempt-2-stdout.txt`, sort by attempt and before the other artifacts.
    """
    identity = name if receipt_id is None else f"{receipt_id}\0{name}"
    hashed = _signed(blake2b(identity.encode(), digest_size=8).digest())
    attempt = _OUTPUT_OF_ATTEMPT.match(name)
    if attempt is None:
        return hashed
    return _FIRST_KEY + (int(attempt[1]) << _HASH_BITS) + (hashed & ((1 << _HASH_BITS) - 1))


def fingerprint_hash(project_id: str, type_: str, suite: str | None, masked: str) -> Fingerprint:
    """Return the hash of a failure. `suite` is None if it isn't part of the hash, which `masked` determines."""
    identity = f"{FINGERPRINT_VERSION}\0{project_id}\0{type_}\0{suite or ''}\0{masked}"
    return Fingerprint(_signed(blake2b(identity.encode(), digest_size=8).digest()))


def fingerprint_id(fingerprint: Fingerprint) -> str:
    """Return the public ID of a group of failures."""
    return f"fp{FINGERPRINT_VERSION}_{key_digits(fingerprint)}"


def parse_fingerprint_id(text: str) -> Fingerprint | None:
    """Return the fingerprint of a group of failures, or None if the ID is malformed."""
    return Fingerprint(_signed(bytes.fromhex(text[4:]))) if is_id("fp1", text) else None


def result_id(key: RunKey, case: CaseKey) -> str:
    """Return the public ID of a result."""
    return f"res_{key.hex}{key_digits(case)}"


def parse_result_id(text: str) -> tuple[RunKey, CaseKey] | None:
    """Return the key of a result, or None if the ID is malformed."""
    if not is_id("res", text):
        return None
    return RunKey(UUID(hex=text[4:36])), _fromkey_digits(text[36:])


def case_public_id(case: CaseKey) -> str:
    """Return the public ID of a case."""
    return f"case_{key_digits(case)}"


def parse_case_id(text: str) -> CaseKey | None:
    """Return the key of a case, or None if the ID is malformed."""
    return _fromkey_digits(text[5:]) if is_id("case", text) else None


def artifact_id(key: RunKey, case: CaseKey, artifact: int) -> str:
    """Return the public ID of a stored or referenced file."""
    return f"art_{key.hex}{key_digits(case)}{key_digits(artifact)}"


def parse_artifact_id(text: str) -> tuple[RunKey, CaseKey, int] | None:
    """Return the key of an artifact, or None if the ID is malformed."""
    if not is_id("art", text):
        return None
    return RunKey(UUID(hex=text[4:36])), _fromkey_digits(text[36:52]), _fromkey_digits(text[52:])


def key_digits(signed: int) -> str:
    """Return the digits of a key in public IDs."""
    return f"{signed & 0xFFFF_FFFF_FFFF_FFFF:016x}"


def _fromkey_digits(digits: str) -> CaseKey:
    return CaseKey(_signed(bytes.fromhex(digits)))


def _signed(eight_bytes: bytes) -> int:
    return int.from_bytes(eight_bytes, "big", signed=True)
