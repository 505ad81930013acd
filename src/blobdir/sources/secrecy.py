"""What may be shown of URLs and of other people's messages. Pure."""

from __future__ import annotations

import re

_QUERY = re.compile(r"\?[^\s'\"<>]*=[^\s'\"<>]*")
_USER = re.compile(r"(://)[^/\s@'\"]+@")


def without_secrets(text: str) -> str:
    """A URL or message without user names, passwords and query strings: signatures stand there."""
    return _QUERY.sub("?…", _USER.sub(r"\1…@", text))
