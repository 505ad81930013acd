"""What may be shown of URLs and of other people's messages. Pure."""

from __future__ import annotations

import re

_QUERY = re.compile(r"(\blmdb:(?:(?!://)[^'\"<>?\n])*\?)|\?[^\s'\"<>]*=[^\s'\"<>]*")
"""A query; or, as a group, what stands before that of a store on this machine, which holds the name of a database."""
_USER = re.compile(r"(://)[^/\s'\"]+@")
_PAIR = re.compile(r"(?i)\b(AccountKey|SharedAccessSignature|sig)=[^;&\s'\"<>]+(&[^;\s'\"<>]*)?")


def without_secrets(text: str) -> str:
    """A URL or message without user names, passwords, query strings and account keys: signatures stand there."""
    return _PAIR.sub(r"\1=…", _QUERY.sub(lambda found: found[1] or "?…", _USER.sub(r"\1…@", text)))
