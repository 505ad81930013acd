r"""Extended header records of POSIX.1-2001 pax: ``"%d %s=%s\n" % (length, keyword, value)``, length in decimal.

The length counts the whole record with itself, its space and the newline.
"""

from __future__ import annotations

import re
from decimal import ROUND_FLOOR, Context, Decimal
from typing import TypedDict

from .header import text_field

MTIME_MIN_NS, MTIME_MAX_NS = -(2**63), 2**63 - 1

_BILLION = 10**9
_DECIMAL = re.compile(rb"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d{1,3})?")
_DECIMAL_BYTES = 64
# More digits than a value of the permitted length and exponent can need before it is compared with the limits.
_CONTEXT = Context(prec=128)
_LENGTH_DIGITS = 8
_SIZE_DIGITS = 40


class Overrides(TypedDict, total=False):
    """What replaces the fields of a header. None stands for the header's own field (an empty value in the record).

    A size of -1 is one that isn't a number. `fault` says where records end that aren't as the standard has them;
    `kind` is the type of the header.
    """

    path: bytes | None
    linkpath: bytes | None
    size: int | None
    mtime: int | None
    sparse: bytes | None
    fault: str
    kind: int


def parse_records(payload: bytes) -> Overrides:
    """Records that matter here; all others are checked for form and dropped.

    Those before the first that isn't as it must be count, as in all known readers. NULs at the end are padding.

    Parameters
    ----------
    payload : bytes
        Data of an ``x`` or ``g`` header, without its padding.
    """
    found: Overrides = {}
    at, total = 0, len(payload)
    while at < total:
        space = payload.find(b" ", at, at + _LENGTH_DIGITS + 1)
        digits = payload[at:space]
        if space < 0 or not digits.isdigit():
            if payload.count(0, at) < total - at:
                found["fault"] = f"no length of a record at byte {at} of it"
            break
        end = at + int(digits)
        equals = payload.find(b"=", space + 1, max(end - 1, 0))
        if end > total or equals <= space + 1 or payload[end - 1] != 0x0A:
            found["fault"] = f"the record at byte {at} of it has a wrong length or no keyword"
            break
        _take(found, payload[space + 1 : equals], payload[equals + 1 : end - 1])
        at = end
    return found


def _take(found: Overrides, keyword: bytes, value: bytes) -> None:
    """Put one record into `found`, the last of several with one keyword winning."""
    if keyword == b"mtime":
        found["mtime"] = mtime_ns(value) if value else None
    elif keyword == b"path":
        found["path"] = _name(value)
    elif keyword == b"linkpath":
        found["linkpath"] = _name(value)
    elif keyword == b"size":
        is_number = value.isdigit() and len(value) <= _SIZE_DIGITS
        found["size"] = None if not value else int(value) if is_number else -1
    elif keyword.startswith(b"GNU.sparse."):
        if keyword == b"GNU.sparse.name":
            found["sparse"] = text_field(value)
        else:
            found.setdefault("sparse", b"")


def _name(value: bytes) -> bytes | None:
    return text_field(value) or None  # up to a NUL, as readers have it that are written in C


def mtime_ns(value: bytes) -> int:
    """A time in decimal seconds as nanoseconds, rounded down and clipped to 64 bits; 0 if it isn't one.

    POSIX knows digits with one period; exponents come from writers that format a binary float, such as Python's.
    """
    seconds, _, fraction = value.partition(b".")
    if seconds.isdigit() and len(seconds) <= 9 + 1 and (fraction.isdigit() or not fraction):
        nanoseconds = int(seconds) * _BILLION + int(fraction[:9].ljust(9, b"0"))
        return min(nanoseconds, MTIME_MAX_NS)
    if len(value) > _DECIMAL_BYTES or _DECIMAL.fullmatch(value) is None:
        return 0
    exact = _CONTEXT.multiply(Decimal(value.decode("ascii")), Decimal(_BILLION))
    if not MTIME_MIN_NS <= exact <= MTIME_MAX_NS:
        return MTIME_MIN_NS if exact < 0 else MTIME_MAX_NS
    return int(exact.to_integral_value(ROUND_FLOOR))
