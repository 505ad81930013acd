"""The plain values that stand in a pickle as text or as a counted string of bytes."""

from __future__ import annotations

import re
from typing import Final

from blobdir.offsets.values import corrupt

_MAX_DIGITS: Final = 614  # of the largest integer of 255 bytes
_ESCAPES: Final = {"\\": "\\", "'": "'", '"': '"', "n": "\n", "r": "\r", "t": "\t"}


def utf8(raw: bytes) -> str:
    """Decode a string of protocol 1 and up. It may hold lone surrogates."""
    try:
        return str(raw, "utf-8", "surrogatepass")
    except UnicodeDecodeError:
        raise corrupt("a string that isn't UTF-8") from None


def ascii_text(raw: bytes) -> str:
    """Decode a string that Python 2 wrote."""
    try:
        return raw.decode("ascii")
    except UnicodeDecodeError:
        raise corrupt("a Python 2 string that isn't ASCII") from None


def raw_unicode(raw: bytes) -> str:
    """Decode a string of protocol 0."""
    try:
        return raw.decode("raw-unicode-escape")
    except UnicodeDecodeError:
        raise corrupt("a damaged \\u escape") from None


def quoted(raw: bytes) -> str:
    """Decode a string that Python 2 wrote with protocol 0: a literal in quotes."""
    text = ascii_text(raw)
    if len(text) < 2 or text[0] != text[-1] or text[0] not in "'\"":
        raise corrupt("a string without quotes")

    def unescape(match: re.Match[str]) -> str:
        code = match[1]
        if code in _ESCAPES:
            return _ESCAPES[code]
        if len(code) == 3 and code < "x8":
            return chr(int(code[1:], 16))
        raise corrupt("a string with an escape that isn't known, or isn't ASCII")

    return re.sub(r"\\(x[0-9a-fA-F]{2}|.|$)", unescape, text[1:-1], flags=re.DOTALL)


def decimal(raw: bytes) -> int:
    """Decode an integer of protocol 0."""
    if not re.fullmatch(rb"[+-]?[0-9]{1,%d}" % _MAX_DIGITS, raw):
        raise corrupt("a decimal number that isn't one, or is absurdly long")
    return int(raw)


def int_or_bool(raw: bytes) -> int:
    """Decode the argument of INT, which spells True ``01``."""
    return raw == b"01" if raw in (b"00", b"01") else decimal(raw)


def decimal_long(raw: bytes) -> int:
    """Decode the argument of LONG, which may end in L."""
    return decimal(raw.removesuffix(b"L"))


def decimal_float(raw: bytes) -> float:
    """Decode the argument of FLOAT."""
    if not re.fullmatch(rb"[-+]?[0-9.]{0,400}(?:e[-+]?[0-9]{1,5}|inf|nan)?", raw):
        raise corrupt("a decimal number that isn't one")
    try:
        return float(raw)
    except ValueError:
        raise corrupt("a decimal number that isn't one") from None


def binary_long(raw: bytes) -> int:
    """Decode an integer of any size."""
    return int.from_bytes(raw, "little", signed=True)
