"""What a request has brought, and which version of a file it's of."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from blobdir.sources.model import Stat
from blobdir.sources.retries import OtherFormError, WrongAnswerError, time_s

CONTENT_RANGE: Final = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)")
_LENGTH: Final = re.compile(r"[0-9]{1,18}")
"""Lengths that a file can have: more digits are none."""
WHOLE: Final = 200
PART: Final = 206
"""HTTP statuses of answers that hold all of what was asked for, or a part of it."""
BEYOND_END: Final = 416
"""What web servers answer who asks for bytes behind the end of a file."""
_AS_IT_IS: Final = frozenset(("", "identity", "none", "aws-chunked", "binary", "7bit", "8bit", "utf-8", "utf8"))
"""What servers write in ``Content-Encoding`` of bytes that are the file's own: perhaps a word of another header."""
_GZIP, _BZIP2 = (".gz", ".tgz", ".taz", ".tz", ".svgz", ".emz", ".wmz"), (".bz2", ".tbz2", ".tbz", ".tb2", ".bz")
_ENDS_OF_FORMS: Final[Mapping[str, tuple[str, ...]]] = {
    "gzip": _GZIP,
    "compress": (".z", ".taz", ".tz"),
    "bzip": _BZIP2,
    "bzip2": _BZIP2,
    "xz": (".txz",),
    "lzma": (".tlz",),
    "brotli": (".br",),
    "zstd": (".zst", ".tzst"),
}
"""Form, without ``x-`` before it -> how names of files end that lie in it, besides with its own name (``.xz``)."""
_WRITTEN_KEYS = (
    "mtime", "LastModified", "last_modified", "updated", "modified", "Last-Modified", "modify", "modificationTime",
    "created",
)  # fmt: skip
"""What backends call the time when a file was written last; one that says only when it was made replaces files."""
_NOT_SAID = "it doesn't say which"
_MILLISECONDS = frozenset(("modificationTime",))
_DIGITS = re.compile(r"[0-9]{14}")
_MOST_S: Final = 1 << 33
"""A time behind that, in seconds, is none: in nanoseconds it wouldn't fit 64 bits."""
_ETAG_KEYS = ("ETag", "etag", "md5Hash", "md5", "content_md5")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request has brought.

    Attributes
    ----------
    data : bytes
    version : Stat
        Of the whole file, as far as the answer tells.
    """

    data: bytes
    version: Stat


Came = Callable[[bytes, Stat], None]
"""Is told of bytes while an answer comes, and of which version they are; of none that says it by its meaning only."""


def nobody(data: bytes, version: Stat) -> None:
    """Where nobody wants to know."""


UNKNOWN = Stat("file", -1)
"""The version of bytes where nobody has asked for it."""


def bare_etag(text: str) -> str:
    """An etag without quotes and the mark of a weak one."""
    return text.strip().removeprefix("W/").strip('"')


def mtime_ns(value: object) -> int:
    """A modification time as backends say it, in nanoseconds since 1970; 0 where it says none."""
    try:
        then = _time_of(value)
    except (ValueError, OverflowError, OSError):
        return 0
    if not -_MOST_S < then < _MOST_S:  # nor is what is no number
        return 0
    if isinstance(then, int):
        return then * 1_000_000_000
    return round(then * 1e6) * 1000  # as of a datetime: backends say one time in either way


def _time_of(value: object) -> float:
    """Seconds since 1970, of which those that a text says are whole; 0 where it says none."""
    if isinstance(value, datetime.datetime):
        return value.timestamp()
    if isinstance(value, int | float):
        return value
    if not isinstance(value, str):
        return 0
    if found := _DIGITS.match(value):  # FTP's
        return int(datetime.datetime.strptime(found[0], "%Y%m%d%H%M%S").replace(tzinfo=datetime.UTC).timestamp())
    return int(time_s(value) or 0)


def length_of(headers: Mapping[str, str]) -> int | None:
    """Bytes that an answer has, as its ``Content-Length`` says; None where it says none, or what no file can have."""
    told = headers.get("Content-Length", "").strip()
    return int(told) if _LENGTH.fullmatch(told) else None


def _size(value: object) -> int:
    """Bytes of a file as backends say it; -1 where they don't."""
    try:
        size = -1 if value is None else int(value)  # type: ignore[call-overload]  # whatever it is
    except (ValueError, TypeError, OverflowError):
        return -1
    return size if 0 <= size < 10**18 else -1


def etag_of(answer: object) -> str:
    """The etag in what a backend says of something, if it says it."""
    if not isinstance(answer, Mapping):
        return ""
    return bare_etag(next((str(answer[key]) for key in _ETAG_KEYS[:2] if answer.get(key)), ""))


def _written_ns(key: str, value: object) -> int:
    return mtime_ns(value / 1000 if key in _MILLISECONDS and isinstance(value, int | float) else value)


def stat_of(info: Mapping[str, Any]) -> Stat:
    """From what a backend says of a file."""
    kind = info.get("type")
    return Stat(
        kind if kind in ("file", "directory") else "other",
        _size(info.get("size")),
        next((_written_ns(key, info[key]) for key in _WRITTEN_KEYS if info.get(key)), 0),
        etag=bare_etag(next((str(info[key]) for key in _ETAG_KEYS if info.get(key)), "")),
    )


def check_status(status: int, content_range: str | None, *, is_ranged: bool = False, reason: str | None = "") -> None:
    """Make sure that an answer holds all of what was asked for: a file, a page; or says which part, of a range.

    Anything else that isn't an error by its status is a word of the server, or of who stands before it: to wait (202),
    that there is nothing to show (204), that it was rewritten on the way (203), or that it's to be had elsewhere. One
    that says of itself that it's a part is no whole file, whatever its status is.

    Parameters
    ----------
    status : int
    content_range : str or None
        What the answer says in its headers of this name; several, with commas between them, are no range.
    is_ranged : bool
        Whether a part was asked for.
    reason : str or None
        The status in words.

    Raises
    ------
    WrongAnswerError
    """
    told = (content_range or "").strip()
    found = CONTENT_RANGE.fullmatch(told)
    is_all = found is not None and _is_all(*found.groups())
    if status == WHOLE and (is_all or not told):
        return
    if status == PART and found is not None and (is_ranged or is_all):
        return
    asked = "a range of it" if is_ranged else "all of it"
    if status == PART:
        why = f"a part of it ({told or _NOT_SAID})"
    elif status == WHOLE:
        why = f"a part of it ({told}) as if it were all"
    else:
        why = f"status {status}{f' ({reason})' if reason else ''}, which stands for something else"
    raise WrongAnswerError(f"asked for {asked}, the server sent {why}", status=status)


def check_form(encoding: str | None, name: str = "", *, understood: Collection[str] = ()) -> None:
    """Make sure that the bytes of an answer are those of the file, and not another form of it.

    Many servers say of ``a.json.gz`` that it's encoded, as a browser is to show what is in it, and send it as it is.

    Parameters
    ----------
    encoding : str or None
        What the answer says in its headers ``Content-Encoding``, with commas between several.
    name : str
        Of the file. One that ends as those do that lie in just this form says it, too: it was asked for as it is.
    understood : collection of str
        Forms, one at a time, from which the bytes are made again by who receives them.

    Raises
    ------
    OtherFormError
        It's in a form that the name doesn't say, and that isn't understood; or in several.
    """
    forms = [form for part in (encoding or "").lower().split(",") if (form := part.strip()) not in _AS_IT_IS]
    if forms and not (len(forms) == 1 and (forms[0] in understood or _says_form(name, forms[0]))):
        raise OtherFormError(
            f"asked for the file as it is, the server sent it in another form (encoded: {', '.join(forms)}); "
            "let it send such files as they are, or copy the project"
        )


def _says_form(name: str, form: str) -> bool:
    form = form.removeprefix("x-")
    return name.lower().endswith((f".{form}", *_ENDS_OF_FORMS.get(form, ())))


def _is_all(low: str, high: str, total: str) -> bool:
    return int(low) == 0 and total != "*" and int(high) + 1 == int(total)


def announced(start: int, end: int, content_range: str | None) -> tuple[int, int]:
    """What an answer says that it holds of a range, before its bytes come.

    Returns
    -------
    end, total : int
        Where it ends: perhaps before the end of what was asked for, which is to be asked for then; and the size of the
        whole file, -1 where it doesn't say.

    Raises
    ------
    WrongAnswerError
        It's of another range.
    """
    found = CONTENT_RANGE.fullmatch((content_range or "").strip())
    if found is None:
        return end, -1
    low, high = int(found[1]), int(found[2]) + 1
    total = -1 if found[3] == "*" else int(found[3])
    wanted = min(end, total) if total >= 0 else end
    if low != start or not low < high <= wanted or (high < wanted and total < 0):
        raise WrongAnswerError(f"asked for bytes {start} to {end}, the server sent bytes {low} to {high}")
    return high, total


def check_range(data: bytes, start: int | None, end: int | None, content_range: str | None) -> int:
    """Check that an answer is of the range that was asked for, and all that it announced of it.

    Returns
    -------
    int
        The size of the whole file, -1 where it doesn't say.
    """
    found = CONTENT_RANGE.fullmatch((content_range or "").strip())
    if start is None or end is None:
        if found is not None and found[3] != str(len(data)):
            raise WrongAnswerError(f"the server announced {found[3]} bytes and sent {len(data)}")
        return len(data)
    end, total = announced(start, end, content_range)
    if len(data) != end - start and (found is not None or len(data) > end - start):
        raise WrongAnswerError(f"asked for {end - start} bytes from byte {start}, the server sent {len(data)}")
    return total
