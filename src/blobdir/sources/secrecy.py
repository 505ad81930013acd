"""What may be shown of URLs and of other people's messages. Pure."""

from __future__ import annotations

import re

_QUERY = re.compile(r"\?[^\s'\"<>]*=[^\s'\"<>]*")
_USER = re.compile(r"(://)[^/\s'\"]+@")
_PAIR = re.compile(r"(?i)\b(AccountKey|SharedAccessSignature|sig)=[^;&\s'\"<>]+(&[^;\s'\"<>]*)?")


def without_secrets(text: str) -> str:
    """A URL or message without user names, passwords, query strings and account keys: signatures stand there."""
    return _PAIR.sub(r"\1=…", _QUERY.sub("?…", _USER.sub(r"\1…@", text)))
